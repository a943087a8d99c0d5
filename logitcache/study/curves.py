"""What runs measured epoch by epoch, for figures of kind ``epochs``: from ``metrics.jsonl`` to ``curves.csv``.

A curve is the mean over the runs that share a value of the figure's column, with their spread. Only the means are
kept, so that a page can be drawn from small files.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from logitcache.errors import InputError
from logitcache.study.columns import Cells, matches, ordered
from logitcache.study.options import FigureOptions
from logitcache.study.runs import read_table, write_table

__all__ = ["BY_EPOCH", "CURVES_FILE", "CurvePoint", "make_curves", "read_curves", "write_curves"]

CURVES_FILE = "curves.csv"

BY_EPOCH = (
    *("loss", "test_accuracy", "train_accuracy"),
    *("logit_mean", "teacher_logit_mean", "logit_distance", "mean_share"),
)
"""Measures that a training logs by epoch."""


class CurvePoint(NamedTuple):
    """A point of a curve."""

    figure: int
    """The figure's number in the study, from 1."""
    line: str
    """The value of the figure's column ``lines`` that the runs share; '' without."""
    epoch: int
    mean: float
    std: float
    """Over runs, with n - 1; 0 of one run."""
    n: int


def make_curves(
    figures: Sequence[FigureOptions], runs: Sequence[Cells], students: Mapping[str, Path]
) -> tuple[CurvePoint, ...]:
    """The curves of all figures of kind ``epochs``.

    Args:
        figures: those of a study.
        runs: its runs, with ``run_id`` and ``variant``.
        students: the folder of run folders by variant.

    Raises:
        InputError: a run's ``metrics.jsonl`` is damaged.
    """
    found: list[CurvePoint] = []
    for number, options in enumerate(figures, 1):
        if options.kind == "epochs":
            shown = [run for run in runs if run.get("status") == "done" and matches(run, options.where)]
            for line in [""] if options.lines is None else ordered(run.get(options.lines, "") for run in shown):
                members = [run for run in shown if options.lines is None or run.get(options.lines, "") == line]
                found += _curve(number, line, [_measured(run, students, options.measure) for run in members])
    return tuple(found)


def write_curves(path: Path, points: Iterable[CurvePoint]) -> Path:
    """Write points as CSV, means and spreads to six digits."""
    lines = [
        {key: f"{value:.6g}" if isinstance(value, float) else str(value) for key, value in point._asdict().items()}
        for point in points
    ]
    return write_table(path, lines, CurvePoint._fields)


def read_curves(path: Path) -> tuple[CurvePoint, ...]:
    """The points in a file that :func:`write_curves` wrote.

    Raises:
        InputError: the file is not there, or is not of this form.
    """
    return tuple(_point(path, line) for line in read_table(path, needed=CurvePoint._fields))


def _curve(figure: int, line: str, members: Sequence[Mapping[int, float]]) -> list[CurvePoint]:
    """Means by epoch of the runs of one line."""
    points = []
    for epoch in sorted({epoch for member in members for epoch in member}):
        values = [member[epoch] for member in members if epoch in member]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        points.append(CurvePoint(figure, line, epoch, statistics.fmean(values), spread, len(values)))
    return points


def _measured(run: Cells, students: Mapping[str, Path], measure: str) -> dict[int, float]:
    """A run's values of a measure by epoch; none where its metrics are gone."""
    path = students[run.get("variant", "")] / run["run_id"] / "metrics.jsonl"
    if not path.is_file():
        return {}
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        values = {int(record["epoch"]): record.get(measure) for record in records}
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged ({error}); delete {path.parent} to train the run again") from error
    return {epoch: float(value) for epoch, value in values.items() if value is not None}


def _point(path: Path, line: Cells) -> CurvePoint:
    """One line as a point."""
    try:
        numbers = float(line["mean"]), float(line["std"])
        point = CurvePoint(int(line["figure"]), line["line"], int(line["epoch"]), *numbers, int(line["n"]))
    except ValueError as error:
        raise InputError(f"{path} has a line that is no point of a curve ({error}); make the study again") from error
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"{path} has a number that is not finite; make the study again")
    return point
