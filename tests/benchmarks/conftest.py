"""Benchmarks import each other by bare names, as scripts in one folder do."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
