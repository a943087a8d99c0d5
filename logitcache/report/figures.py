"""Figures from tables: accuracy by row, training curves, seconds an epoch, bytes a row, KL beside its bound.

Each function draws one panel about 480 pixels wide, so that two stand side by side on a wide screen and one fills a
phone without its text becoming unreadable. ``save`` writes each twice, for light and dark pages, on a transparent
background. Colours are those of Okabe and Ito, told apart with any colour vision; clean and augmented views differ
by marker and line too. No pyplot: figures are objects, nothing is global.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from logitcache.report.sources import Curve
from logitcache.report.tables import Row

__all__ = ["DARK", "LIGHT", "Bar", "Draw", "Theme", "accuracy", "bars", "bounds", "curve_span", "curves", "save"]

WIDTH, DOTS = 4.8, 100
"""Inches, and pixels an inch on the page; files have twice as many."""

_LINE = 34
"""Letters of a row's name on one line: longer names would leave a panel no room."""


@dataclass(frozen=True)
class Theme:
    """Colours of one look of the page."""

    name: str
    ink: str
    muted: str
    grid: str
    page: str
    """Behind the figure; fills hollow markers."""
    series: tuple[str, ...]


LIGHT = Theme(
    "light", "#1b1f24", "#5b6570", "#d9dee4", "#ffffff",
    ("#d55e00", "#b8860b", "#56b4e9", "#0072b2", "#8a5cc4", "#009e73", "#cc6f9f", "#4d4d4d"),
)  # fmt: skip
DARK = Theme(
    "dark", "#e8ebef", "#9aa4af", "#343b44", "#171b20",
    ("#ff8a3d", "#e6c229", "#8fd0ff", "#3d9be0", "#b596f0", "#2fcf9f", "#f0a3c8", "#b8bec5"),
)  # fmt: skip

Draw = Callable[[Theme], Figure]
"""A figure waiting for its theme."""


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its length, and what is written at its end."""

    name: str
    value: float
    text: str
    highlight: bool = False


def save(draw: Draw, folder: Path, name: str) -> tuple[Path, Path]:
    """Draw a figure for light and for dark pages; returns ``name.png`` and ``name-dark.png`` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}.png", folder / f"{name}-dark.png"
    for theme, path in zip((LIGHT, DARK), paths, strict=True):
        figure = draw(theme)
        figure.savefig(path, dpi=2 * DOTS, metadata={"Software": None})
    return paths


def accuracy(rows: Sequence[Row], colours: Mapping[str, int], baseline: Row | None, teacher: float | None) -> Draw:
    """A dot a seed, and mean ± standard error of each row; the best hard-label mean and the teacher as lines.

    Args:
        rows: finished rows of one group, the first on top.
        colours: index of the colour of each objective.
        baseline: the row whose mean is drawn as a line.
        teacher: test accuracy of the teacher, percent; only pointed at where it lies far off.
    """

    def draw(theme: Theme) -> Figure:
        names = [textwrap.fill(row.name, _LINE) for row in rows]
        figure, axes = _panel(theme, height=1.0 + (0.15 + 0.15 * _lines(names)) * len(rows))
        low, high = _limits([value for row in rows for value in row.accuracies.values()], room=0.1)
        for place, row in enumerate(rows):
            _accuracy_row(axes, row, place, theme, colours[row.setting.label])
            axes.text(
                1.01,
                place,
                f"{row.mean:.2f}",
                transform=axes.get_yaxis_transform(),
                va="center",
                color=theme.ink,
                fontsize=9.5,
            )
        if baseline is not None:
            axes.axvline(baseline.mean, color=theme.muted, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
            axes.text(baseline.mean, -0.75, "best hard labels", color=theme.muted, ha="center", va="bottom", fontsize=9)
        axes.set(xlim=(low, high), ylim=(len(rows) - 0.4, -0.7))
        axes.set_yticks(range(len(rows)), names)
        axes.set_xlabel("test accuracy, %" + _teacher_note(teacher))
        axes.grid(visible=False, axis="y")
        return figure

    return draw


def _accuracy_row(axes: Axes, row: Row, place: int, theme: Theme, colour: int) -> None:
    """Dots of one row's seeds, its mean as a bar, its standard error as a line."""
    shade = theme.series[colour % len(theme.series)]
    values = list(row.accuracies.values())
    fill = theme.page if row.setting.views == "0" else shade
    if row.n > 1:
        error = [row.mean - row.stderr, row.mean + row.stderr]
        axes.plot(error, [place, place], color=shade, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot([row.mean] * 2, [place - 0.3, place + 0.3], color=shade, linewidth=2)
    axes.plot(values, [place] * row.n, "o", markersize=5.5, markerfacecolor=fill, markeredgecolor=shade)


def _teacher_note(teacher: float | None) -> str:
    """The teacher's accuracy, for the axis: as a line it would squeeze the students together."""
    return "" if teacher is None else f"   (teacher {teacher:.2f})"


def curves(
    rows: Sequence[Row], found: Mapping[str, Curve], colours: Mapping[str, int], span: tuple[float, float]
) -> Draw:
    """Mean test accuracy over seeds by epoch, lowest to highest seed as a band, each line named at its end.

    Args:
        rows: finished rows of one group with a curve for every run.
        found: curves by run_id.
        colours: index of the colour of each objective.
        span: limits of the accuracy axis, percent, the same in all panels that are to be compared.
    """

    def draw(theme: Theme) -> Figure:
        figure, axes = _panel(theme, height=3.5)
        ends, last = [], 1
        for row in rows:
            epochs, values = _gather(row, found)
            shade = theme.series[colours[row.setting.label] % len(theme.series)]
            middle = values.mean(axis=0)
            axes.plot(epochs, middle, color=shade, linewidth=1.6)
            axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=shade, alpha=0.15, linewidth=0)
            ends.append((row, float(middle[-1])))
            last = max(last, epochs[-1])
        axes.set(xlim=(0, last), ylim=span, xlabel="epoch", ylabel="test accuracy, %")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _name_ends(axes, ends, theme, colours)
        return figure

    return draw


def curve_span(rows: Sequence[Row], found: Mapping[str, Curve]) -> tuple[float, float]:
    """Limits of accuracy that show the last three quarters of all curves; the climb before would flatten the rest."""
    late: list[float] = []
    for row in rows:
        epochs, values = _gather(row, found)
        late.extend(values[:, len(epochs) // 4 :].ravel())
    return _limits(late, room=0.04)


def _gather(row: Row, found: Mapping[str, Curve]) -> tuple[list[int], NDArray[np.float64]]:
    """Epochs that all runs of a row evaluated, and their accuracies (runs, epochs)."""
    runs = [dict(found[run_id]) for run_id in row.run_ids]
    epochs = sorted(set.intersection(*(set(run) for run in runs)))
    return epochs, np.array([[run[epoch] for epoch in epochs] for run in runs])


def _name_ends(axes: Axes, ends: list[tuple[Row, float]], theme: Theme, colours: Mapping[str, int]) -> None:
    """Name each line, without its views, right of the panel; names are spread so that no two overlap."""
    low, high = axes.get_ylim()
    ordered = sorted(ends, key=lambda end: end[1])
    names = [textwrap.fill(row.brief, _LINE) for row, _ in ordered]
    gap = 0.95 / max(len(ends), 13 / _lines(names))
    places = _spread([(value - low) / (high - low) for _, value in ordered], gap)
    for (row, value), name, place in zip(ordered, names, places, strict=True):
        shade = theme.series[colours[row.setting.label] % len(theme.series)]
        to = axes.transAxes
        end = (value - low) / (high - low)
        axes.plot([1.0, 1.035, 1.05], [end, place, place], color=shade, linewidth=0.9, transform=to, clip_on=False)
        axes.text(1.06, place, name, transform=to, va="center", color=theme.ink, fontsize=9)


def _lines(names: Sequence[str]) -> int:
    """The lines of the longest of some names."""
    return max(name.count("\n") for name in names) + 1


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


def bars(items: Sequence[Bar], unit: str) -> Draw:
    """Horizontal bars from zero, the first on top, each with its number at its end."""

    def draw(theme: Theme) -> Figure:
        figure, axes = _panel(theme, height=0.8 + 0.42 * len(items))
        shades = [theme.series[3] if item.highlight else theme.muted for item in items]
        places = range(len(items))
        axes.barh(places, [item.value for item in items], color=shades, height=0.62)
        for place, item in zip(places, items, strict=True):
            axes.annotate(
                item.text, (item.value, place), (5, 0), textcoords="offset points", va="center", color=theme.ink
            )
        axes.set_yticks(places, [item.name for item in items])
        axes.set(ylim=(len(items) - 0.4, -0.6), xlim=(0, 1.38 * max(item.value for item in items)), xlabel=unit)
        axes.grid(visible=False, axis="y")
        return figure

    return draw


def bounds(taus: Sequence[float], bound: Sequence[float], largest: Sequence[float], mean: Sequence[float]) -> Draw:
    """KL of the stored logits by temperature on logarithmic axes: bound, largest and mean measured.

    All four have one entry a temperature; KL in nats, zeros are left out.
    """

    def draw(theme: Theme) -> Figure:
        figure, axes = _panel(theme, height=3.2)
        lines = (
            ("bound", bound, theme.muted, "--", ""),
            ("largest row", largest, theme.series[0], "-", "o"),
            ("mean row", mean, theme.series[3], "-", "s"),
        )
        for name, values, shade, style, marker in lines:
            kept = [(tau, value) for tau, value in zip(taus, values, strict=True) if value > 0]
            if not kept:
                continue
            axes.plot(*zip(*kept, strict=True), style, color=shade, marker=marker, markersize=5, linewidth=1.6)
            axes.annotate(name, kept[-1], (8, 0), textcoords="offset points", va="center", color=theme.ink)
        axes.set(xscale="log", yscale="log", xlabel="temperature τ", ylabel="KL(teacher || stored), nats")
        axes.set_xticks(taus, [f"{tau:g}" for tau in taus])
        axes.minorticks_off()
        axes.set_xlim(min(taus) / 1.3, max(taus) * 4)
        return figure

    return draw


def _panel(theme: Theme, height: float) -> tuple[Figure, Axes]:
    """An empty panel in a theme; ``height`` in inches."""
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS, layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=theme.grid, linewidth=0.8)
    axes.tick_params(length=0, labelcolor=theme.ink, labelsize=9.5, pad=5)
    axes.xaxis.label.set(color=theme.muted, fontsize=9.5)
    axes.yaxis.label.set(color=theme.muted, fontsize=9.5)
    axes.spines[:].set_visible(False)
    return figure, axes


def _limits(values: Sequence[float], room: float) -> tuple[float, float]:
    """Limits of an axis around values in percent, with a share of their range left free on both sides."""
    low, high = min(values), max(values)
    free = max(room * (high - low), 0.3)
    return max(math.floor(low - free), 0.0), min(high + free, 100.0)
