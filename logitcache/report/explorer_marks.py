"""The explorer as a Bokeh layout: a card, the tau slider, bars and marks, and a table; ``explorer.js`` fills them.

The same layout stands in the page, with all its samples inside, and is served live, one sample at a time: everything
that is shown follows from ``samples`` (one row a sample, the selected one is shown) and the slider, in the browser.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, CustomJS, CustomJSTickFormatter, FactorRange, Range1d
from bokeh.models.annotations.legends import Legend, LegendItem
from bokeh.models.layouts import Column
from bokeh.models.widgets.markups import Div
from bokeh.models.widgets.sliders import Slider
from bokeh.plotting import figure
from bokeh.transform import dodge
from numpy.typing import NDArray

from logitcache.report.charts import Axis
from logitcache.report.panels import FONT, INK, TEXT, hover, named, panel, plain
from logitcache.report.themes import LIGHT

__all__ = ["SHOWN", "START", "WIDGET", "Explorer", "build", "row_of", "temperature"]

SHOWN = 12
"""Classes up to which all have a bar; of more, the first network's largest, and one bar for all others."""

START = 4.0
"""The temperature that is shown first: enough for the second likeliest classes to be seen."""

_LOW, _HIGH, _STEP = -1.0, 1.7, 0.01
"""Ends and steps of the slider, log10 of the temperature."""

_ROUND = (0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 8, 10, 20, 30, 40, 50)
"""Temperatures that the slider's nearest step stands for."""

_MARKED = (0.1, 0.5, 1, 2, 4, 10, 20, 50)
"""Temperatures that are written below the slider."""

_TEMPERATURE = (
    f"const temperature_at = (place) => {json.dumps(_ROUND)}"
    f".find((tau) => Math.abs(Math.log10(tau) - place) < {_STEP / 2}) ?? 10 ** place\n"
)
"""What :func:`temperature` says, in the browser."""

_BRIEF = 18
"""Letters of the longest name that leaves room for two columns of a legend on a phone."""

_SERIES = (0, 5, 4, 6, 2, 1)
"""Colours of the marks; the bars have the remaining blue."""

_MARKS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "star")

WIDGET = """
:host { --color: var(--ink, #1b1f24); --background-color: var(--card, #fff); --border-color: var(--line, #d9dee4);
  --active-bg: var(--line, #d9dee4); font-size: 14px; color: var(--ink, #1b1f24); }
.bk-input { color: inherit; }
select.bk-input.bk-input.bk-input { background-image: url('data:image/svg+xml;utf8,<svg version="1.1" \
viewBox="0 0 25 20" xmlns="http://www.w3.org/2000/svg"><path d="M 0,0 25,0 12.5,20 Z" fill="gray" /></svg>'); }
.noUi-target { background: var(--line, #d9dee4); border-color: var(--line, #d9dee4); box-shadow: none; }
.noUi-handle { background: var(--card, #fff); border-color: var(--muted, #5b6570); box-shadow: none; }
.noUi-handle:focus-visible { outline: 3px solid var(--accent, #0072b2); }
.noUi-connect { background: var(--line, #d9dee4) !important; }
"""
"""Style of sliders, menus and buttons: the page's own colours, light or dark."""

_TEXT = """
:host { color: var(--ink, #1b1f24); font-size: 14px; overflow-x: auto; max-width: 100%; }
.card { display: flex; gap: 1rem; align-items: center; min-height: 112px; }
.card img { width: 112px; height: 112px; object-fit: contain; image-rendering: pixelated; border-radius: 8px;
  background: var(--page, #f6f7f9); flex: none; }
.card p { margin: 0; font-size: 1rem; line-height: 1.5; min-width: 0; overflow-wrap: anywhere; }
.card span { color: var(--muted, #5b6570); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line, #d9dee4); white-space: nowrap; }
thead th { color: var(--muted, #5b6570); font-weight: 500; white-space: normal; vertical-align: bottom; }
th:first-child { text-align: left; padding-left: 0; font-weight: 500; }
tr:last-child > * { border-bottom: 0; }
.bk-clearfix { width: 100%; }
:host(.scale) { overflow: visible; }
.ticks { position: relative; height: 1.4em; font-size: 12px; color: var(--muted, #5b6570); }
.ticks span { position: absolute; transform: translateX(-50%); }
"""


@dataclass(frozen=True)
class Explorer:
    """The layout, and the parts that others listen to or change."""

    layout: Column
    samples: ColumnDataSource
    """One row a sample, of :func:`row_of`."""
    tau: Slider
    """Its value is log10 of the temperature."""
    show: CustomJS
    """Fills the figures; to be run when the document is ready, for only changes run it by themselves."""


def row_of(
    sample: int, label: int, names: Sequence[str], logits: NDArray[np.float32], *, picture: str = "", remark: str = ""
) -> dict[str, Any]:
    """One row of ``Explorer.samples``.

    Args:
        sample: index in the full data set.
        label: its true class, -1 where nobody knows it.
        names: networks that have logits of it, the teacher first.
        logits: float32 (names, classes); empty where they cannot be read, and then the remark says why.
        picture: PNG data URL, '' without.
        remark: why it is shown.
    """
    flat = np.ascontiguousarray(logits, np.float32).ravel()
    known = {"sample": sample, "label": label, "names": list(names), "logits": flat}
    return {**known, "picture": picture, "remark": remark}


def build(classes: Sequence[str], names: Sequence[str], rows: Sequence[dict[str, Any]]) -> Explorer:
    """The explorer's models, in no document yet.

    Args:
        classes: names of the classes, in the order of the logits.
        names: networks as the legend has them; the first one has bars, the others marks beside them.
        rows: of :func:`row_of`; the first one is shown first.
    """
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    samples = ColumnDataSource(data=columns, name="explorer-samples")
    tau = _slider()
    distinct = _distinct(classes)
    places = FactorRange(factors=distinct[:SHOWN], range_padding=0.02)
    plot, sources = _figure(len(classes), list(map(plain, names)), places)
    card, readout = _text(), _text()
    code = _TEMPERATURE + files("logitcache.report").joinpath("explorer.js").read_text(encoding="utf-8")
    inputs = {"samples": samples, "tau": tau, "classes": distinct, "shown": SHOWN}
    outputs = {"places": places, "span": plot.x_range, "card": card, "readout": readout, **sources}
    show = CustomJS(args=inputs | outputs, code=code)
    tau.js_on_change("value", show)
    samples.js_on_change("data", show)
    samples.selected.js_on_change("indices", show)
    layout = column(card, tau, _ticks(), plot, readout, sizing_mode="stretch_width", name="explorer")
    return Explorer(layout, samples, tau, show)


def temperature(place: float) -> float:
    """The temperature at a place of the slider: 10 to its power, or the round number that is nearest to that step."""
    near = (tau for tau in _ROUND if abs(math.log10(tau) - place) < _STEP / 2)
    return float(next(near, 10**place))


def _text(**options: Any) -> Div:
    """A piece of HTML that is filled later."""
    return Div(stylesheets=[_TEXT], sizing_mode="stretch_width", disable_math=True, **options)


def _slider() -> Slider:
    """Temperatures from 0.1 to 50, evenly spaced by their logarithm."""
    shown = CustomJSTickFormatter(code=f"{_TEMPERATURE}return String(Number(temperature_at(tick).toPrecision(3)))")
    return Slider(
        start=_LOW,
        end=_HIGH,
        step=_STEP,
        value=round(math.log10(START), 2),
        title="temperature τ",
        format=shown,
        stylesheets=[WIDGET],
        sizing_mode="stretch_width",
        margin=(12, 18, 2, 18),
        name="explorer-tau",
    )


def _ticks() -> Div:
    """Temperatures below the slider, where they stand on it."""
    places = [100 * (math.log10(tau) - _LOW) / (_HIGH - _LOW) for tau in _MARKED]
    marks = (f'<span style="left:{place:.2f}%">{tau:g}</span>' for tau, place in zip(_MARKED, places, strict=True))
    return _text(text=f'<div class="ticks">{"".join(marks)}</div>', margin=(0, 18, 8, 18), css_classes=["scale"])


def _distinct(classes: Sequence[str]) -> list[str]:
    """Names for an axis, on which no two may be the same: those that come twice get their number."""
    texts = [plain(name) for name in classes]
    counts = Counter(texts)
    return [text if counts[text] == 1 else f"{text} ({number})" for number, text in enumerate(texts)]


def _figure(count: int, names: list[str], places: FactorRange) -> tuple[figure, dict[str, Any]]:
    """Bars of the first network, a hollow bar for the hard label, marks of the others; and their sources."""
    few = min(count, SHOWN) + (count > SHOWN)
    plot = panel(
        Axis("probability, softmax(logits / τ)"),
        Axis("class"),
        height=110 + 27 * max(few, 4) + 22 * -(-(len(names) + 1) // _columns(names)),
        y_range=places,
        x_range=Range1d(start=-0.012, end=1.02),
    )
    plot.ygrid.visible = False
    plot.min_border_right = 16
    bars, truth, *dots = (_empty() for _ in range(len(names) + 1))
    bar = plot.hbar("place", 0.62, "p", source=bars, color=LIGHT.series[3], line_width=0, name="explorer-bars")
    style: dict[str, Any] = {"fill_alpha": 0, "line_color": LIGHT.muted, "line_dash": "dashed", "line_width": 1.5}
    label = plot.hbar("place", 0.86, "p", source=truth, name="explorer-label", **style)
    marks = [_mark(plot, source, number, len(dots)) for number, source in enumerate(dots)]
    for glyph, name in zip((bar, *marks), names, strict=True):
        tips = [("", name), ("class", "@place"), ("probability", "@p{0.0000}"), ("logit", "@logit")]
        hover(plot, [glyph], named(tips))
    entries = [(names[0], bar), ("hard label", label), *zip(names[1:], marks, strict=True)]
    items = [LegendItem(label=name, renderers=[glyph]) for name, glyph in entries]
    plot.add_layout(_legend(items, _columns(names)), "below")
    return plot, {"bars": bars, "truth": truth, "dots": dots}


def _empty() -> ColumnDataSource:
    """The source of one glyph, filled in the browser."""
    return ColumnDataSource(data={"place": [], "p": [], "logit": []})


def _mark(plot: figure, source: ColumnDataSource, number: int, count: int) -> Any:
    """Marks of one network, moved up or down a little so that none hides another."""
    shift = 0.26 - 0.52 * number / (count - 1) if count > 1 else 0.0
    shade = LIGHT.series[_SERIES[number % len(_SERIES)]]
    return plot.scatter(
        "p",
        dodge("place", shift, range=plot.y_range),
        source=source,
        size=10,
        marker=_MARKS[number % len(_MARKS)],
        fill_color=shade,
        line_color=LIGHT.page,
        name=f"explorer-mark-{number}",
    )


def _columns(names: Sequence[str]) -> int:
    """Columns of the legend: two of short names fit on a phone."""
    return 2 if max(map(len, names)) <= _BRIEF else 1


def _legend(items: list[LegendItem], columns: int) -> Legend:
    """Names below the panel; a click hides a network."""
    legend = Legend(items=items, ncols=columns, click_policy="hide", label_text_color=INK, location="left")
    legend.label_text_font_size = TEXT
    legend.stylesheets = [".bk-label { color: var(--ink, #1b1f24) !important; }"]  # it does not take the page's own
    legend.background_fill_alpha, legend.inactive_fill_alpha, legend.border_line_color = 0, 0, None
    legend.label_text_font = FONT
    legend.update(spacing=0, padding=4, margin=0, glyph_height=16)
    return legend
