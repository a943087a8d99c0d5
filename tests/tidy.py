"""Writes the tidy tables of statistics as ``logitcache stats`` does, from made-up values."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Table = Mapping[tuple[str, ...], Mapping[str, Any]]
"""Variables by place."""


def write_tidy(path: Path, dimensions: Sequence[str], keys: Iterable[tuple[str, str]], table: Table) -> None:
    """The same values for each (teacher, split)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for values in table.values() for name in values))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["teacher", "split", *dimensions, *names])
        for key in keys:
            for place, values in table.items():
                writer.writerow([*key, *place, *(values.get(name, "") for name in names)])
