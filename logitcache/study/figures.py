"""Figures of a study from its runs: heat maps, lines, points, and curves by epoch, each drawn as SVG and as PNG.

The same runs make the same bytes with the same matplotlib. Axes have one place for each value, at equal distances,
so that τ = 1, 3, 5, 20 and ∞ stand side by side. No pyplot: figures are objects, nothing is global.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from logitcache.report.figures import LIGHT
from logitcache.study.columns import Cells, axis_text, is_points, matches, measured, ordered, value_text, where_text
from logitcache.study.curves import CurvePoint
from logitcache.study.options import FigureOptions

__all__ = ["draw_curves", "draw_figure", "figure_title", "save_figure"]

_WIDTH, _DOTS = 6.4, 100
_MARKERS = "osD^vP*X"
_MOST_ROWS = 60  # more names than that cannot be read


def draw_figure(options: FigureOptions, rows: Sequence[str], runs: Sequence[Cells]) -> Figure | None:
    """A study's figure of any kind but ``epochs``; None where no finished run has what it shows.

    Args:
        options: what is drawn.
        rows: columns that make a row, for a figure of kind points.
        runs: all runs of the study.
    """
    shown = [run for run in runs if matches(run, options.where) and measured(run, options.measure) is not None]
    if not shown:
        return None
    draw = {"heatmap": _heatmap, "lines": _lines, "points": _points}[options.kind]
    return draw(options, rows, shown)


def draw_curves(options: FigureOptions, points: Sequence[CurvePoint]) -> Figure | None:
    """A study's figure of kind ``epochs`` from its own points; None where there are none."""
    if not points:
        return None
    figure, axes = _panel(height=4.0)
    for number, name in enumerate(dict.fromkeys(point.line for point in points)):
        line = [point for point in points if point.line == name]
        epochs, means, spreads = zip(*((point.epoch, point.mean, point.std) for point in line), strict=True)
        axes.errorbar(epochs, means, spreads, label=value_text(name), **_style(number))
    axes.set(xlabel="epochs", ylabel=axis_text(options.measure))
    if options.lines is not None:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", title=axis_text(options.lines))
    return figure


def figure_title(options: FigureOptions) -> str:
    """What a figure shows, in words."""
    if options.title is not None:
        return options.title
    axes = [axis_text(column) for column in (options.x, options.y, options.lines) if column is not None]
    axes = ["epoch", *axes] if options.kind == "epochs" else axes
    by = f" by {' and '.join(axes)}" if axes else ""
    where = f" ({where_text(options.where)})" if options.where else ""
    return f"{axis_text(options.measure)}{by}{where}"


def save_figure(figure: Figure, folder: Path, name: str, kinds: Sequence[str] = ("svg", "png")) -> list[Path]:
    """Write a figure as ``name.svg`` and ``name.png``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for kind in kinds]
    with rc_context({"svg.hashsalt": "logitcache", "svg.fonttype": "none", "svg.id": None}):
        for path in paths:
            metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
            figure.savefig(path, dpi=_DOTS, metadata=metadata)
    return paths


def _heatmap(options: FigureOptions, _: Sequence[str], runs: Sequence[Cells]) -> Figure:
    """Means by two columns, each written into its cell."""
    across, up = options.x or "", options.y or ""
    xs, ys = (ordered(run.get(column, "") for run in runs) for column in (across, up))
    cells = np.array([[_mean(runs, options.measure, {across: x, up: y}) for x in xs] for y in ys])
    figure, axes = _panel(height=1.5 + 0.42 * len(ys))
    low, high = float(np.nanmin(cells)), float(np.nanmax(cells))
    image = axes.imshow(cells, origin="lower", aspect="auto", cmap="cividis")
    for place, value in np.ndenumerate(cells):
        if not math.isnan(value):
            shade = "white" if 2 * value < low + high else "black"
            axes.text(place[1], place[0], _number_text(options.measure, value), ha="center", va="center", color=shade)
    axes.set_xticks(range(len(xs)), [value_text(x) for x in xs])
    axes.set_yticks(range(len(ys)), [value_text(y) for y in ys])
    axes.set(xlabel=axis_text(across), ylabel=axis_text(up))
    axes.grid(visible=False)
    figure.colorbar(image, label=axis_text(options.measure))
    return figure


def _lines(options: FigureOptions, _: Sequence[str], runs: Sequence[Cells]) -> Figure:
    """Means by one column with their standard deviations; one line a value of another."""
    along = options.x or ""
    xs = ordered(run.get(along, "") for run in runs)
    names = [""] if options.lines is None else ordered(run.get(options.lines, "") for run in runs)
    figure, axes = _panel(height=4.0)
    for number, name in enumerate(names):
        members = [run for run in runs if options.lines is None or run.get(options.lines, "") == name]
        groups = {place: _values(members, options.measure, {along: x}) for place, x in enumerate(xs)}
        known = {place: values for place, values in groups.items() if values}
        axes.errorbar(
            list(known),
            [statistics.fmean(values) for values in known.values()],
            [_spread(values) for values in known.values()],
            label=value_text(name),
            **_style(number),
        )
    axes.set_xticks(range(len(xs)), [value_text(x) for x in xs])
    axes.set(xlabel=axis_text(along), ylabel=axis_text(options.measure))
    if options.lines is not None:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", title=axis_text(options.lines))
    return figure


def _points(options: FigureOptions, rows: Sequence[str], runs: Sequence[Cells]) -> Figure:
    """A dot a run, mean and standard deviation of each row; rows that share their first value share a colour."""
    groups: dict[tuple[str, ...], list[float]] = {}
    for run in runs:
        value = measured(run, options.measure)
        if value is not None:
            groups.setdefault(tuple(run.get(column, "") for column in rows), []).append(value)
    shown = dict(list(groups.items())[:_MOST_ROWS])
    shades = {first: number for number, first in enumerate(dict.fromkeys(key[0] for key in shown))}
    figure, axes = _panel(height=1.0 + 0.28 * len(shown))
    for place, (key, values) in enumerate(shown.items()):
        shade = LIGHT.series[(shades[key[0]] + 3) % len(LIGHT.series)]
        axes.plot(values, [place] * len(values), "o", markersize=4, markerfacecolor="none", markeredgecolor=shade)
        axes.errorbar(statistics.fmean(values), place, xerr=_spread(values), color=shade, marker="|", markersize=12)
    varied = [place for place in range(len(rows)) if len({key[place] for key in shown}) > 1] or [0]
    names = [" · ".join(value_text(key[place]) for place in varied if key[place]) or "–" for key in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.set(xlabel=axis_text(options.measure), ylim=(len(shown) - 0.4, -0.6))
    if len(shown) < len(groups):
        axes.set_title(f"the first {len(shown)} of {len(groups)} rows", fontsize=9, color=LIGHT.muted)
    return figure


def _style(number: int) -> dict[str, Any]:
    """How a line is drawn, by its number."""
    return {
        "color": LIGHT.series[number % len(LIGHT.series)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": "-" if number < len(LIGHT.series) else "--",
        "markersize": 5,
        "linewidth": 1.5,
        "capsize": 3,
    }


def _panel(height: float) -> tuple[Figure, Axes]:
    """An empty light panel; ``height`` in inches."""
    figure = Figure(figsize=(_WIDTH, height), dpi=_DOTS, layout="constrained")
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=LIGHT.grid, linewidth=0.8)
    axes.tick_params(length=0, labelcolor=LIGHT.ink, labelsize=9)
    axes.spines[:].set_visible(False)
    return figure, axes


def _values(runs: Sequence[Cells], measure: str, where: dict[str, str]) -> list[float]:
    """The values of the runs that have exactly these cells."""
    kept = (run for run in runs if all(run.get(column, "") == value for column, value in where.items()))
    return [value for run in kept if (value := measured(run, measure)) is not None]


def _mean(runs: Sequence[Cells], measure: str, where: dict[str, str]) -> float:
    """Their mean; NaN of none."""
    values = _values(runs, measure, where)
    return statistics.fmean(values) if values else math.nan


def _spread(values: Sequence[float]) -> float:
    """Standard deviation with n - 1; 0 of one value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _number_text(measure: str, value: float) -> str:
    """A mean as it is written into a cell."""
    return f"{value:.1f}" if is_points(measure) else f"{value:.3g}"
