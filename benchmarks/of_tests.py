"""Helpers of the tests for benchmarks that show the same in larger numbers: import this before them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))
