"""The penultimate figure: a panel a network, points by class, axes named after the templates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from logitcache.errors import InputError
from logitcache.report.figures import LIGHT
from logitcache.study.figures import save_figure
from logitcache.study.points import Point

__all__ = ["draw_penultimate"]

_PANEL, _ACROSS = 2.4, 4
"""Inches of a panel's side, panels in a line."""

_LOOKS = ((LIGHT.series[0], "o"), (LIGHT.series[3], "^"), (LIGHT.series[5], "s"))
"""Colour and marker of each class: told apart with any colour vision, and without colours."""


def draw_penultimate(points: Sequence[Point], path: Path) -> None:
    """Draw points to a file, ``.svg`` or ``.png``; the same points give the same bytes.

    Every panel has its own scale: features of different networks have no common one. Both axes of a panel share it.

    Args:
        points: in the order of :func:`logitcache.study.penultimate.measure_penultimate`: panels as they come, the
            first three class names are the templates' in order.
        path: the file; its folder is made where it is missing.

    Raises:
        InputError: there are no points, or not those of three classes.
    """
    panels = list(dict.fromkeys(point.panel for point in points))
    names = list(dict.fromkeys(point.class_name for point in points))
    if len(names) != len(_LOOKS):
        raise InputError(f"{path} would show points of {len(names)} classes; needed are three: run the study again")
    columns = min(len(panels), _ACROSS)
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(_PANEL * columns, _PANEL * lines + 0.7), layout="constrained", facecolor=LIGHT.page)
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _panel(axes, panel, [point for point in points if point.panel == panel], names)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel(f"along the template of {names[1]} from that of {names[0]}", color=LIGHT.ink, fontsize=9)
    figure.supylabel(f"across it, towards {names[2]}", color=LIGHT.ink, fontsize=9)
    handles, texts = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside upper center", ncols=len(names), frameon=False, fontsize=9)
    save_figure(figure, path.parent, path.stem, (path.suffix.removeprefix("."),))


def _panel(axes: Axes, title: str, points: Sequence[Point], names: Sequence[str]) -> None:
    """One network's points."""
    for name, (colour, marker) in zip(names, _LOOKS, strict=True):
        own = [point for point in points if point.class_name == name]
        x, y = [point.x for point in own], [point.y for point in own]
        axes.scatter(x, y, s=9, c=colour, marker=marker, alpha=0.6, linewidths=0, label=name)
    axes.set_title(title, fontsize=9, color=LIGHT.ink)
    axes.set_aspect("equal", adjustable="datalim")
    axes.tick_params(labelsize=7, colors=LIGHT.muted)
    axes.grid(visible=True, color=LIGHT.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(LIGHT.grid)
