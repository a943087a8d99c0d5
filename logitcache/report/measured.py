"""The tidy tables of ``logitcache stats``: a variable by its dimensions, whatever files it is spread over.

A measure's variables stand in ``MEASURE.csv``, and in files ``MEASURE_by_*.csv`` by their dimensions. A line has
``teacher``, ``split``, the dimensions as text, and the variables; where a variable does not have all dimensions of its
file, its cells elsewhere are empty or the same.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from logitcache.errors import InputError

__all__ = ["Key", "Measured", "Values"]

Key = tuple[str, str]
"""Teacher and split."""

Values = Mapping[tuple[str, ...], float]
"""A finite number for each place, that is the text of each dimension, in the order of the file."""


@dataclass(frozen=True)
class Measured:
    """Folders of statistics; one that is not there is empty."""

    folders: tuple[Path, ...]

    def find(self, measure: str, variable: str, dimensions: Sequence[str] = ()) -> dict[Key, Values]:
        """The values of a variable by teacher and split, each in the order of the file; empty where it is nowhere.

        Raises:
            InputError: a cell is not a number.
        """
        found: dict[Key, dict[tuple[str, ...], float]] = {}
        for path in self._files(measure):
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file, restval="")
                if not {"teacher", "split", variable, *dimensions} <= set(reader.fieldnames or ()):
                    continue
                for line in reader:
                    place = tuple(line[name] for name in dimensions)
                    value = _number(line[variable], variable, path)
                    if value is not None and all(place):
                        found.setdefault((line["teacher"], line["split"]), {}).setdefault(place, value)
        return dict(found)

    def one(self, measure: str, variable: str) -> dict[Key, float]:
        """A variable without dimensions by teacher and split."""
        return {key: values[()] for key, values in self.find(measure, variable).items()}

    def _files(self, measure: str) -> list[Path]:
        """The files of a measure, by name."""
        name = re.compile(rf"{re.escape(measure)}(_by_.*)?\.csv")
        return [path for folder in self.folders for path in sorted(folder.glob("*.csv")) if name.fullmatch(path.name)]


def _number(text: str, variable: str, path: Path) -> float | None:
    """The finite number of a cell; None where there is none. True and False are 1 and 0."""
    words = {"": math.nan, "True": 1.0, "False": 0.0}
    try:
        value = words[text] if text in words else float(text)
    except ValueError as error:
        raise InputError(f"{path}: column {variable} has {text!r}, which is not a number; write it again") from error
    return value if math.isfinite(value) else None
