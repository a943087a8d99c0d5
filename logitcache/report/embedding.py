"""Bokeh models inside a page that loads nothing: their JSON, and the scripts that show it.

A page has ``placed(model, name)`` where a figure stands, and ``scripts(...)`` once at its end. ``page.js`` reads the
JSON of every figure, swaps the light theme's colours where the reader's page is dark, and shows it; when the reader
turns the page dark or light it does so again.
"""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files

from bokeh.embed import json_item
from bokeh.model import Model
from bokeh.resources import Resources

from logitcache.report.themes import DARK, LIGHT

__all__ = ["placed", "scripts"]

_IDS = re.compile(r'("(?:root_)?id": ?)"(p\d+)"')
"""Where a model's id stands in Bokeh's JSON."""


def placed(model: Model, name: str, spoken: str = "") -> str:
    """HTML in which ``page.js`` shows a model; the same model gives the same text, in any process.

    Args:
        model: a figure, or a layout of figures and widgets; colours of the light theme are swapped for dark pages.
        name: unlike all others on the page; letters, digits and hyphens.
        spoken: what is seen, in words, for those who do not see it.
    """
    text = _renumbered(json.dumps(json_item(model)), name)
    height = getattr(model, "height", None)
    room = f' style="min-height:{height}px"' if isinstance(height, int) else ""
    label = f' role="group" aria-label="{escape(spoken)}"' if spoken else ""
    return (
        f'<div class="chart" id="chart-{name}"{room}{label}></div>'
        f'<script type="application/json" class="chart-data" data-for="chart-{name}">{_inside(text)}</script>'
    )


def _renumbered(text: str, name: str) -> str:
    """The JSON with its models counted from 1 in the order they appear; Bokeh counts on through a process."""
    found: dict[str, str] = {}

    def new(match: re.Match[str]) -> str:
        return f'{match[1]}"{found.setdefault(match[2], f"{name}-{len(found) + 1}")}"'

    return _IDS.sub(new, text)


def _inside(text: str) -> str:
    """JSON that may stand in an HTML script: no name in it can end the script or begin a comment."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def scripts(*, widgets: bool = False) -> str:
    """Bokeh itself and ``page.js``, inlined; to stand after all figures.

    Args:
        widgets: whether sliders and menus are on the page; they take 0.4 MB more.
    """
    raw = Resources(mode="inline", components=["bokeh", "bokeh-widgets"] if widgets else ["bokeh"]).js_raw
    swap = json.dumps(dict(zip(LIGHT.colours, DARK.colours, strict=True)))
    own = files("logitcache.report").joinpath("page.js").read_text(encoding="utf-8").replace("COLOURS_OF_DARK", swap)
    return "".join(f"<script>{text}</script>" for text in (*raw, own))
