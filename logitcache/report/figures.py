"""The page's figures for papers, drawn by matplotlib from ``charts`` and written as PNG and SVG.

Each is one panel 4.8 inches wide on a transparent background, in the colours of the light theme. No pyplot: figures
are objects, nothing is global; the same chart gives the same bytes.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from logitcache.report import charts
from logitcache.report.charts import Axis, Bars, Chart, Cloud, DotRow, Dots, Heat, Lines, Series
from logitcache.report.themes import DARK, LIGHT, Theme

__all__ = ["DARK", "LIGHT", "Theme", "draw", "save"]

WIDTH, DOTS = 4.8, 200
"""Inches, and pixels an inch."""

_LINE = 34
"""Letters of a row's name on one line: longer names would leave a panel no room."""

_MANY = 24
"""Names on an axis above which only every other one, or fewer, are written."""


def save(chart: Chart, folder: Path, name: str) -> tuple[Path, Path]:
    """Draw a chart into a folder; returns ``name.png`` and ``name.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}.png", folder / f"{name}.svg"
    figure = draw(chart)
    with rc_context({"svg.hashsalt": "logitcache", "svg.fonttype": "none"}):
        figure.savefig(paths[0], dpi=DOTS, metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None, "Creator": None})
    return paths


def draw(chart: Chart) -> Figure:
    """The matplotlib figure of a chart."""
    if isinstance(chart, Lines):
        return _lines(chart)
    if isinstance(chart, Dots):
        return _dots(chart)
    if isinstance(chart, Bars):
        return _bars(chart)
    if isinstance(chart, Heat):
        return _heat(chart)
    return _cloud(chart)


def _lines(chart: Lines) -> Figure:
    """Lines with bands, each named at its end."""
    figure, axes = _panel(height=3.5)
    for one in chart.series:
        shade = LIGHT.shade(one.colour)
        style = "--" if one.dashed else ("-", "-.", ":")[LIGHT.turn(one.colour) % 3]
        axes.plot(one.x, one.y, style, color=shade, linewidth=1.6, marker="o" if one.marks else "", markersize=4)
        if one.low:
            axes.fill_between(one.x, one.low, one.high, color=shade, alpha=0.15, linewidth=0)
    _set(axes, chart.x, chart.y)
    _name_ends(axes, [one for one in chart.series if one.x])
    return figure


def _set(axes: Axes, x: Axis, y: Axis) -> None:
    """Labels, scales, ends and ticks of both axes; ends are fixed from here on."""
    axes.set(xlabel=x.label, ylabel=y.label)
    for one, scale, limit in ((x, axes.set_xscale, axes.set_xlim), (y, axes.set_yscale, axes.set_ylim)):
        scale("log" if one.log else "linear")
        if one.span is not None:
            limit(one.span)
    if x.ticks:
        axes.set_xticks(x.ticks, [f"{tick:g}" for tick in x.ticks])
    elif not x.log:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=x.whole))
    axes.minorticks_off()


def _name_ends(axes: Axes, lines: Sequence[Series]) -> None:
    """Name each line right of the panel; names are spread so that no two overlap."""
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [min(max(float(to_axes.transform((one.x[-1], one.y[-1]))[1]), 0.0), 1.0) for one in lines]
    order = sorted(range(len(lines)), key=lambda k: ends[k])
    names = [textwrap.fill(lines[k].name, _LINE) for k in order]
    if not names:
        return
    gap = 0.95 / max(len(lines), 13 / _most_lines(names))
    places = _spread([ends[k] for k in order], gap)
    small = 9 if len(lines) <= 14 else 6
    for k, name, place in zip(order, names, places, strict=True):
        shade, to = LIGHT.shade(lines[k].colour), axes.transAxes
        axes.plot([1.0, 1.035, 1.05], [ends[k], place, place], color=shade, linewidth=0.9, transform=to, clip_on=False)
        axes.text(1.06, place, name, transform=to, va="center", color=LIGHT.ink, fontsize=small)


def _most_lines(names: Sequence[str]) -> int:
    """The lines of the longest of some names."""
    return max((name.count("\n") for name in names), default=0) + 1


def _spread(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places moved as little as need be to lie ``gap`` apart within [0, 1], where that many fit."""
    result = list(places)
    for k in range(1, len(result)):
        result[k] = max(result[k], result[k - 1] + gap)
    ceiling = 1.0
    for k in reversed(range(len(result))):
        result[k] = min(result[k], ceiling)
        ceiling = result[k] - gap
    return result


def _dots(chart: Dots) -> Figure:
    """A dot a seed, and mean ± standard error of each row; a value to compare with as a line."""
    names = [textwrap.fill(row.name, _LINE) for row in chart.rows]
    figure, axes = _panel(height=1.0 + (0.15 + 0.15 * _most_lines(names)) * len(names))
    right = axes.get_yaxis_transform()
    for place, row in enumerate(chart.rows):
        _dot_row(axes, row, place)
        axes.text(1.01, place, f"{row.mean:.2f}", transform=right, va="center", color=LIGHT.ink, fontsize=9.5)
    if chart.line is not None:
        name, value = chart.line
        axes.axvline(value, color=LIGHT.muted, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axes.text(value, -0.75, name, color=LIGHT.muted, ha="center", va="bottom", fontsize=9)
    axes.set(xlim=chart.x.span, ylim=(len(names) - 0.4, -0.7), xlabel=chart.x.label)
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False, axis="y")
    return figure


def _dot_row(axes: Axes, row: DotRow, place: int) -> None:
    """Dots of one row's seeds, its mean as a bar, its standard error as a line."""
    shade = LIGHT.shade(row.colour)
    fill = LIGHT.page if row.hollow else shade
    if not math.isnan(row.stderr):
        error = [row.mean - row.stderr, row.mean + row.stderr]
        axes.plot(error, [place, place], color=shade, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot([row.mean] * 2, [place - 0.3, place + 0.3], color=shade, linewidth=2)
    dots = [place] * len(row.values)
    axes.plot(row.values, dots, "o", markersize=5.5, markerfacecolor=fill, markeredgecolor=shade)


def _bars(chart: Bars) -> Figure:
    """Horizontal bars from zero, the first on top, each with its number at its end."""
    items, places = chart.items, range(len(chart.items))
    figure, axes = _panel(height=0.8 + 0.42 * len(items))
    shades = [LIGHT.series[3] if item.highlight else LIGHT.muted for item in items]
    axes.barh(places, [item.value for item in items], color=shades, height=0.62)
    for place, item in zip(places, items, strict=True):
        end = (item.value, place)
        axes.annotate(item.text, end, (5, 0), textcoords="offset points", va="center", color=LIGHT.ink)
    axes.set_yticks(places, [item.name for item in items])
    longest = 1.38 * max(item.value for item in items)
    axes.set(ylim=(len(items) - 0.4, -0.6), xlim=(0, longest), xlabel=chart.x.label)
    axes.grid(visible=False, axis="y")
    return figure


def _heat(chart: Heat) -> Figure:
    """Cells of one colour, the stronger the larger the number, written in where there is room."""
    rows, columns = len(chart.rows), len(chart.columns)
    figure, axes = _panel(height=1.3 + (0.36 if rows <= _MANY else 6 / rows) * rows)
    for down, values in enumerate(chart.values):
        for across, value in enumerate(values):
            if math.isfinite(value):
                _cell(axes, chart, (across, down), value, written=columns <= 12)
    for names, ticks in ((chart.columns, axes.set_xticks), (chart.rows, axes.set_yticks)):
        step = -(-len(names) // _MANY)
        ticks(range(0, len(names), step), names[::step])
    long = max(map(len, chart.columns)) > 4
    axes.tick_params(axis="x", rotation=45 if long else 0)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xlabel=chart.x, ylabel=chart.y)
    axes.set_title(chart.value, fontsize=9.5, color=LIGHT.muted, loc="left")
    axes.grid(visible=False)
    return figure


def _cell(axes: Axes, chart: Heat, place: tuple[int, int], value: float, *, written: bool) -> None:
    """One cell of a matrix at (column, row)."""
    shade = chart.shade(value)
    across, down = place
    alpha = 0.04 + 0.96 * shade
    axes.fill_between([across - 0.5, across + 0.5], down - 0.5, down + 0.5, color=LIGHT.series[3], alpha=alpha, lw=0)
    if written and value >= chart.floor:
        ink = LIGHT.page if shade > 0.55 else LIGHT.ink
        axes.text(across, down, f"{value:.{chart.digits}f}", ha="center", va="center", color=ink, fontsize=7.5)


def _cloud(chart: Cloud) -> Figure:
    """Points in the plane with a legend above."""
    figure, axes = _panel(height=4.2)
    for group in chart.groups:
        _points(axes, group)
    _set(axes, chart.x, chart.y)
    axes.set_aspect("equal", adjustable="datalim")
    figure.legend(loc="outside upper left", ncols=3, fontsize=8, frameon=False, labelcolor=LIGHT.ink)
    return figure


def _points(axes: Axes, group: charts.Points) -> None:
    """Points of one kind."""
    shade, marker = LIGHT.shade(group.colour), "o^s"[LIGHT.turn(group.colour) % 3]
    style: dict[str, Any] = {"linestyle": "", "alpha": 0.6, "markersize": 3.5, "mew": 0}
    axes.plot(group.x, group.y, marker=marker, color=shade, label=group.name, **style)


def _panel(height: float) -> tuple[Figure, Axes]:
    """An empty panel; ``height`` in inches."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=LIGHT.grid, linewidth=0.8)
    axes.tick_params(length=0, labelcolor=LIGHT.ink, labelsize=9.5, pad=5)
    axes.xaxis.label.set(color=LIGHT.muted, fontsize=9.5)
    axes.yaxis.label.set(color=LIGHT.muted, fontsize=9.5)
    axes.spines[:].set_visible(False)
    return figure, axes
