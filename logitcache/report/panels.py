"""What all Bokeh figures of the page share: an empty panel, hover, and numbers and names as Bokeh takes them.

Colours are those of the light theme; ``page.js`` swaps them for dark pages before a figure is shown, so every colour
must be one of ``LIGHT.colours``. A panel fills the width that it is given and takes no part in scrolling or panning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.models import ColumnDataSource, FixedTicker, HoverTool
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure

from logitcache.report.charts import Axis
from logitcache.report.themes import LIGHT

__all__ = ["FONT", "INK", "TEXT", "hover", "named", "panel", "plain", "source"]

INK, TEXT = LIGHT.ink, "12px"

FONT = "system-ui, sans-serif"

_TOOLS = ":host(.bk-inner){background-color:transparent;pointer-events:none} *{pointer-events:all}"
"""Buttons without the white strip behind them, which would hide what lies below and keep the pointer from it."""


def plain(text: str) -> str:
    r"""Text that Bokeh does not take for mathematics, which it would load from elsewhere: ``$$``, ``\[`` and ``\(``."""
    for mark in ("$$", "\\[", "\\("):
        text = text.replace(mark, f"{mark[0]}\u200b{mark[1]}")
    return text


def panel(x: Axis, y: Axis, height: int, **options: Any) -> figure:
    """An empty figure that fills its place's width.

    Args:
        x: the axis below; ``y``: that on the left.
        y: see ``x``.
        height: pixels.
        options: of ``bokeh.plotting.figure``, such as ranges of names.
    """
    ranges = {f"{name}_range": axis.span for name, axis in (("x", x), ("y", y)) if axis.span is not None}
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        x_axis_type="log" if x.log else "auto",
        y_axis_type="log" if y.log else "auto",
        tools="box_zoom,reset,save",
        active_drag=None,
        toolbar_inner=True,
        outline_line_color=None,
        background_fill_alpha=0,
        border_fill_alpha=0,
        min_border=4,
        **(ranges | options),
    )
    plot.toolbar.autohide = True
    plot.toolbar.logo = None
    plot.toolbar.stylesheets = [_TOOLS]
    plot.grid.grid_line_color = LIGHT.grid
    for one, drawn in ((x, plot.xaxis), (y, plot.yaxis)):
        _style(drawn, one)
    return plot


def _style(axis: Any, told: Axis) -> None:
    """Label, ticks and type of one axis."""
    axis.axis_label = plain(told.label)
    axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = None
    axis.axis_label_text_color, axis.major_label_text_color = LIGHT.muted, INK
    axis.axis_label_text_font = axis.major_label_text_font = FONT
    axis.axis_label_text_font_size = axis.major_label_text_font_size = TEXT
    axis.axis_label_text_font_style = "normal"
    if told.whole:
        axis.ticker.min_interval = 1
    if told.ticks:
        axis.ticker = FixedTicker(ticks=list(told.ticks))
        axis.major_label_overrides = {tick: f"{tick:g}" for tick in told.ticks}


def source(columns: Mapping[str, Sequence[Any]]) -> ColumnDataSource:
    """Columns of numbers and text for a glyph."""
    return ColumnDataSource(data={name: list(values) for name, values in columns.items()})


def hover(plot: figure, renderers: Sequence[GlyphRenderer[Any]], tooltips: Any) -> None:
    """Show a tooltip over some glyphs, one each at most, without a button of its own."""
    told = HoverTool(renderers=list(renderers), tooltips=tooltips, visible=False, point_policy="snap_to_data", limit=1)
    plot.add_tools(told)


def named(columns: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Tooltip lines of (what is said, field)."""
    return [(plain(name), field) for name, field in columns]
