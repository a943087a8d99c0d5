"""Figures of the page, drawn by Bokeh from ``charts``: they zoom, and tell numbers where one points.

Names of rows stand inside the panel, above what they name, so that a phone's width is left to the numbers. Lines are
named in a legend below; a click on a name mutes its line.
"""

from __future__ import annotations

from typing import Any

from bokeh.core.properties import value
from bokeh.models.annotations import Legend, LegendItem, Span
from bokeh.plotting import figure

from logitcache.report import charts
from logitcache.report.charts import Axis, Bars, Chart, Cloud, Dots, Heat, Lines, Series
from logitcache.report.panels import FONT, INK, TEXT, hover, named, panel, plain, source
from logitcache.report.themes import LIGHT

__all__ = ["draw"]

_DASHES: tuple[Any, ...] = ("solid", "dotdash", "dotted")
_MARKERS: tuple[Any, ...] = ("circle", "triangle", "square")

_BRIEF = 16
"""Letters of the longest name that leaves room for two columns of a legend on a phone."""


def draw(chart: Chart) -> figure:
    """The Bokeh figure of a chart."""
    if isinstance(chart, Lines):
        return _lines(chart)
    if isinstance(chart, Dots):
        return _dots(chart)
    if isinstance(chart, Bars):
        return _bars(chart)
    if isinstance(chart, Heat):
        return _heat(chart)
    return _cloud(chart)


def _lines(chart: Lines) -> figure:
    """Lines with bands; hover tells the nearest value's line, place and number."""
    names = [one.name for one in chart.series]
    columns = 2 if max(map(len, names), default=0) <= _BRIEF else 1
    legend_rows = -(-len(names) // columns)
    plot = panel(chart.x, chart.y, height=280 + 20 * legend_rows)
    items: list[LegendItem] = []
    targets: list[Any] = []
    for one in chart.series:
        glyphs, target = _line(plot, one, band=0.15 if len(names) <= 6 else 0.05)
        items.append(LegendItem(label=plain(one.name), renderers=glyphs))
        targets.append(target)
    lines = [("", "@name"), (chart.x.label, "@x{0,0.[00]}"), (chart.y.label, "@y{0,0.[0000]}")]
    hover(plot, targets, named(lines))
    _legend(plot, items, columns)
    return plot


def _line(plot: figure, one: Series, band: float) -> tuple[list[Any], Any]:
    """The glyphs of one line with a band so strong, and those that answer to the pointer."""
    shade = LIGHT.shade(one.colour)
    data = source({"x": one.x, "y": one.y, "name": [one.name] * len(one.x)})
    dash = "dashed" if one.dashed else _DASHES[LIGHT.turn(one.colour) % len(_DASHES)]
    glyphs: list[Any] = [
        plot.line("x", "y", source=data, line_color=shade, line_width=2, line_dash=dash, muted_alpha=0.08)
    ]
    target = plot.scatter(
        "x", "y", source=data, size=6 if one.marks else 10, color=shade, alpha=float(one.marks), muted_alpha=0.08
    )
    if one.low:
        edges = source({"x": one.x, "low": one.low, "high": one.high})
        edge: dict[str, Any] = {"fill_color": shade, "fill_alpha": band, "muted_fill_alpha": 0.02}
        glyphs.append(plot.varea("x", "low", "high", source=edges, **edge))
    return [*glyphs, target] if one.marks else glyphs, target


def _legend(plot: figure, items: list[LegendItem], columns: int) -> None:
    """Names below the panel; a click mutes a line."""
    legend = Legend(items=items, ncols=columns, click_policy="mute", label_text_color=INK, label_text_font_size=TEXT)
    legend.background_fill_alpha = 0
    legend.label_text_font = FONT
    legend.border_line_color = None
    legend.inactive_fill_alpha = 0
    legend.location = "left"
    legend.spacing, legend.margin, legend.glyph_height = 6, 0, 14
    legend.padding = 4  # type: ignore[assignment]
    plot.add_layout(legend, "below")


def _dots(chart: Dots) -> figure:
    """A dot a seed, the mean as a stroke, its standard error as a pale bar."""
    count = len(chart.rows)
    plot = _rows(chart.x, chart.y, [row.name for row in chart.rows], [f"{row.mean:.2f}" for row in chart.rows])
    places = [count - 1 - place for place in range(count)]
    shades = [LIGHT.shade(row.colour) for row in chart.rows]
    spread = [
        (row, place, shade) for row, place, shade in zip(chart.rows, places, shades, strict=True) if row.stderr > 0
    ]
    errors = source(
        {
            "y": [place for _, place, _ in spread],
            "left": [row.mean - row.stderr for row, _, _ in spread],
            "right": [row.mean + row.stderr for row, _, _ in spread],
            "shade": [shade for _, _, shade in spread],
        }
    )
    plot.hbar("y", 0.18, "right", left="left", source=errors, color="shade", alpha=0.35, line_width=0)
    means = source({"x": [row.mean for row in chart.rows], "y": places, "shade": shades})
    plot.scatter("x", "y", source=means, marker="dash", size=16, angle=1.5708, line_color="shade", line_width=2)
    hover(plot, [_seeds(plot, chart, places)], named([("", "@name"), ("seed", "@seed"), (chart.x.label, "@x{0.00}")]))
    if chart.line is not None:
        _reference(plot, *chart.line)
    return plot


def _seeds(plot: figure, chart: Dots, places: list[int]) -> Any:
    """The dots of all rows as one glyph."""
    data: dict[str, list[Any]] = {name: [] for name in ("x", "y", "name", "seed", "shade", "fill")}
    for row, place in zip(chart.rows, places, strict=True):
        shade, many = LIGHT.shade(row.colour), len(row.values)
        data["x"] += row.values
        data["y"] += [place] * many
        data["name"] += [row.name] * many
        data["seed"] += row.seeds or [""] * many
        data["shade"] += [shade] * many
        data["fill"] += [LIGHT.page if row.hollow else shade] * many
    return plot.scatter("x", "y", source=source(data), size=8, line_color="shade", fill_color="fill", line_width=1.5)


def _reference(plot: figure, name: str, place: float) -> None:
    """A named value across all rows."""
    span = Span(location=place, dimension="height", line_color=LIGHT.muted, line_dash="dashed", line_width=1)
    plot.add_layout(span)
    top = plot.y_range.end  # type: ignore[attr-defined]
    style: dict[str, Any] = {"text_font": value(FONT), "text_font_size": "11px", "text_color": LIGHT.muted}
    style |= {"text_baseline": "top", "background_fill_color": LIGHT.page}
    plot.text([place], [top], [f" {plain(name)}"], **style)


def _rows(x: Axis, y: str, names: list[str], values: list[str], each: int = 38) -> figure:
    """A panel of rows, the first on top, each with its name above it on the left and a number on the right."""
    count = len(names)
    plot = panel(x, Axis(y, span=(-0.6, count - 0.1)), height=64 + each * count)
    plot.ygrid.visible = False
    plot.yaxis.ticker = []
    low, high = x.span if x.span is not None else (0.0, 1.0)
    places = [count - 1 - place for place in range(count)]
    for align, start, texts in (("left", low, names), ("right", high, values)):
        data = source({"x": [start] * count, "y": [place + 0.37 for place in places], "text": list(map(plain, texts))})
        style: dict[str, Any] = {
            "text_align": align,
            "text_baseline": "middle",
            "text_color": INK,
            "text_font": value(FONT),
            "text_font_size": TEXT,
            "background_fill_color": LIGHT.page,  # no line of the grid goes through a name
        }
        plot.text("x", "y", "text", source=data, **style)
    return plot


def _bars(chart: Bars) -> figure:
    """Bars from zero, each with its name above and its text on the right."""
    items = chart.items
    x = Axis(chart.x.label, span=(0.0, 1.02 * max(item.value for item in items)))
    plot = _rows(x, chart.y, [item.name for item in items], [item.text for item in items], each=44)
    data = source(
        {
            "y": [len(items) - 1 - place for place in range(len(items))],
            "right": [item.value for item in items],
            "name": [item.name for item in items],
            "text": [item.text for item in items],
            "shade": [LIGHT.series[3] if item.highlight else LIGHT.muted for item in items],
        }
    )
    bars = plot.hbar("y", 0.36, "right", source=data, color="shade", line_width=0)
    hover(plot, [bars], named([("", "@name"), (chart.x.label, "@text")]))
    return plot


def _heat(chart: Heat) -> figure:
    """Cells of one colour, the stronger the larger the number; small tables have their numbers written in."""
    rows, columns = _distinct(chart.rows), _distinct(chart.columns)
    across, down = Axis(chart.x), Axis(chart.y)
    height = 110 + max(14, min(34, 700 // len(rows))) * len(rows)
    plot = panel(across, down, height, x_range=list(columns), y_range=list(reversed(rows)))
    plot.grid.visible = False
    plot.xaxis.major_label_orientation = 0.9 if max(map(len, columns)) > 4 else "horizontal"
    data = _cells(chart, rows, columns)
    cells = plot.rect("x", "y", 1, 1, source=source(data), fill_color=LIGHT.series[3], fill_alpha="shade", line_width=0)
    if len(columns) <= 12:
        style: dict[str, Any] = {"text_align": "center", "text_baseline": "middle", "text_font": value(FONT)}
        plot.text("x", "y", "text", source=cells.data_source, text_color="ink", text_font_size="11px", **style)
    spoken = [(chart.y, "@y"), (chart.x, "@x"), (chart.value, f"@value{{0.{'0' * chart.digits}}}")]
    hover(plot, [cells], named(spoken))
    return plot


def _cells(chart: Heat, rows: tuple[str, ...], columns: tuple[str, ...]) -> dict[str, list[Any]]:
    """The finite cells of a matrix by column of a glyph."""
    data: dict[str, list[Any]] = {name: [] for name in ("x", "y", "value", "text", "shade", "ink")}
    for name, values in zip(rows, chart.values, strict=True):
        for column, number in zip(columns, values, strict=True):
            if number == number:  # noqa: PLR0124 - NaN is not equal to itself: an empty cell
                shade = chart.shade(number)
                data["x"].append(column)
                data["y"].append(name)
                data["value"].append(number)
                data["text"].append(f"{number:.{chart.digits}f}" if number >= chart.floor else "")
                data["shade"].append(round(0.04 + 0.96 * shade, 4))
                data["ink"].append(LIGHT.page if shade > 0.55 else INK)
    return data


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names for an axis, on which no two may be the same."""
    seen: dict[str, int] = {}
    result = []
    for name in map(plain, names):
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(result)


def _cloud(chart: Cloud) -> figure:
    """Points in the plane; hover shows a point's text, and its picture where there is one."""
    names = [group.name for group in chart.groups]
    columns = 2 if max(map(len, names), default=0) <= _BRIEF else 1
    plot = panel(chart.x, chart.y, height=340 + 20 * -(-len(names) // columns), match_aspect=True)
    items, targets = [], []
    for group in chart.groups:
        target = _points(plot, group)
        items.append(LegendItem(label=plain(group.name), renderers=[target]))
        targets.append(target)
    pictures = any(picture for group in chart.groups for picture in group.pictures)
    shown = '<img src="@picture" alt="" width="56" style="image-rendering:pixelated;display:block">' if pictures else ""
    hover(plot, targets, f"<div>{shown}<b>@name</b><br>@text</div>")
    _legend(plot, items, columns)
    return plot


def _points(plot: figure, group: charts.Points) -> Any:
    """The glyph of one kind of points."""
    many = len(group.x)
    data = {"x": group.x, "y": group.y, "name": [group.name] * many, "text": group.texts or [""] * many}
    if group.pictures:
        data["picture"] = group.pictures
    marker = _MARKERS[LIGHT.turn(group.colour) % len(_MARKERS)]
    style: dict[str, Any] = {
        "size": 7,
        "marker": marker,
        "color": LIGHT.shade(group.colour),
        "alpha": 0.6,
        "muted_alpha": 0.05,
    }
    return plot.scatter("x", "y", source=source(data), **style)
