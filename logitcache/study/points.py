"""Points of the penultimate figure: lines of ``penultimate-points.csv``, one a sample and network."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from logitcache.errors import InputError
from logitcache.files import write_text

__all__ = ["POINTS_FILE", "Point", "read_points", "rounded", "write_points"]

POINTS_FILE = "penultimate-points.csv"

_COLUMNS = ("panel", "class", "x", "y")


class Point(NamedTuple):
    """A sample's features in the plane through three templates."""

    panel: str
    """The network."""
    class_name: str
    x: float
    """Along the second template from the first."""
    y: float
    """Across it, towards the third."""


def rounded(value: float) -> float:
    """A coordinate to four digits, as it stands in the file."""
    return float(f"{value:.4g}")


def write_points(path: Path, points: Iterable[Point]) -> None:
    """Write points as CSV, coordinates to four digits."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((point.panel, point.class_name, f"{point.x:.4g}", f"{point.y:.4g}") for point in points)
    write_text(path, table.getvalue())


def read_points(path: Path) -> tuple[Point, ...]:
    """The points in a file that :func:`write_points` wrote.

    Raises:
        InputError: the file is not there, or is not of this form.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there; run the study of a recipe with study.penultimate first")
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    if not lines or tuple(lines[0]) != _COLUMNS:
        raise InputError(f"{path} must begin with the columns {', '.join(_COLUMNS)}; run the study again")
    return tuple(_point(path, number, cells) for number, cells in enumerate(lines[1:], 2))


def _point(path: Path, number: int, cells: list[str]) -> Point:
    """One line as a point."""
    try:
        panel, class_name, x, y = cells
        point = Point(panel, class_name, float(x), float(y))
    except ValueError as error:
        raise InputError(f"{path}, line {number} is not panel, class, x, y ({error}); run the study again") from error
    if not (math.isfinite(point.x) and math.isfinite(point.y)):
        raise InputError(f"{path}, line {number} has a coordinate that is not finite; run the study again")
    return point
