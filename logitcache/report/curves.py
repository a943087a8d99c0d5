"""Charts of runs: accuracy by row, learning curves, and the heat map of temperatures and weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from logitcache.report.charts import Axis, DotRow, Dots, Heat, Lines, Series, limits
from logitcache.report.sources import Curve
from logitcache.report.tables import Row

__all__ = ["accuracy_dots", "curve_span", "learning_curves", "sweep_heat"]


def accuracy_dots(rows: Sequence[Row], colours: Mapping[str, int], baseline: Row | None, teacher: float | None) -> Dots:
    """A dot a seed, and mean ± standard error of each row; the best hard-label mean as a line.

    Args:
        rows: finished rows of one group, the first on top.
        colours: number of the colour of each objective.
        baseline: the row whose mean is drawn as a line.
        teacher: test accuracy of the teacher, percent; only told on the axis: as a line it would squeeze the students.
    """
    told = "" if teacher is None else f"   (teacher {teacher:.2f})"
    span = limits([value for row in rows for value in row.accuracies.values()], room=0.1)
    return Dots(
        Axis(f"test accuracy, %{told}", span=span),
        "objective",
        tuple(_dot_row(row, colours[row.setting.label]) for row in rows),
        None if baseline is None else ("best hard labels", baseline.mean),
    )


def _dot_row(row: Row, colour: int) -> DotRow:
    """One row's seeds; hollow where they saw the clean view alone."""
    return DotRow(
        name=row.name,
        values=tuple(row.accuracies.values()),
        mean=row.mean,
        stderr=row.stderr,
        colour=colour,
        hollow=row.setting.views == "0",
        seeds=tuple(row.accuracies),
    )


def learning_curves(
    rows: Sequence[Row], found: Mapping[str, Curve], colours: Mapping[str, int], span: tuple[float, float]
) -> Lines:
    """Mean test accuracy over seeds by epoch, lowest to highest seed as a band.

    Args:
        rows: finished rows of one group with a curve for every run.
        found: curves by run_id.
        colours: number of the colour of each objective.
        span: ends of the accuracy axis, percent, the same in all figures that are to be compared.
    """
    series = tuple(_curve(row, found, colours[row.setting.label]) for row in rows)
    last = max((one.x[-1] for one in series if one.x), default=1.0)
    return Lines(Axis("epoch", span=(0.0, last), whole=True), Axis("test accuracy, %", span=span), series)


def _curve(row: Row, found: Mapping[str, Curve], colour: int) -> Series:
    """Mean, lowest and highest seed of a row by epoch."""
    epochs, values = _gather(row, found)
    middle, low, high = (_floats(each) for each in (values.mean(axis=0), values.min(axis=0), values.max(axis=0)))
    return Series(row.brief, _floats(epochs), middle, colour, low, high)


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    """Numbers as Python's own, rounded to what a figure can show."""
    return tuple(round(float(value), 4) for value in values)


def curve_span(rows: Sequence[Row], found: Mapping[str, Curve]) -> tuple[float, float]:
    """Ends of accuracy that show the last three quarters of all curves; the climb before would flatten the rest."""
    late: list[float] = []
    for row in rows:
        epochs, values = _gather(row, found)
        late.extend(values[:, len(epochs) // 4 :].ravel())
    return limits(late, room=0.04)


def _gather(row: Row, found: Mapping[str, Curve]) -> tuple[list[int], NDArray[np.float64]]:
    """Epochs that all runs of a row evaluated, and their accuracies (runs, epochs)."""
    runs = [dict(found[run_id]) for run_id in row.run_ids]
    epochs = sorted(set.intersection(*(set(run) for run in runs)))
    return epochs, np.array([[run[epoch] for epoch in epochs] for run in runs])


def sweep_heat(rows: Sequence[Row]) -> Heat | None:
    """Mean accuracy by weight and temperature of the distilled rows; None where there are not two of each.

    Rows of losses that have no temperature (tau is ∞ for ``kl_inf``, 0 for ``kl_zero``) take its place; where several
    rows meet in a cell, such as those of other views, the cell is their best.
    """
    known: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        place = _tau(row), row.setting.alpha
        if row.n and all(place):
            known.setdefault(place, []).append(row.mean)
    taus = sorted({tau for tau, _ in known}, key=_ordered)
    alphas = sorted({alpha for _, alpha in known}, key=_ordered, reverse=True)
    if len(taus) < 2 or len(alphas) < 2:
        return None
    values = tuple(tuple(max(known.get((tau, alpha), [math.nan])) for tau in taus) for alpha in alphas)
    names = tuple(_short(tau) for tau in taus), tuple(_short(alpha) for alpha in alphas)
    return Heat("temperature τ", "weight α of the teacher's part", "test accuracy, %", *names, values)


def _tau(row: Row) -> str:
    """The temperature of a Kullback-Leibler row as text; '' for other losses."""
    known = {"kl": row.setting.tau, "kl_inf": "inf", "kl_zero": "0"}
    return known.get(row.setting.objective, "")


def _ordered(text: str) -> float:
    """The number of a text."""
    return float(text)


def _short(text: str) -> str:
    """A number as briefly as it can be written."""
    return "∞" if math.isinf(float(text)) else f"{float(text):g}"
