"""The Bokeh server of the live explorer: on loopback only, with the page's own look, light and dark."""

from __future__ import annotations

from importlib.resources import files

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.core.templates import get_env
from bokeh.document import Document
from bokeh.server.server import Server

from logitcache.errors import InputError
from logitcache.report.explorer_live import Live, Shown

__all__ = ["HOST", "make_server"]

HOST = "127.0.0.1"

_COLOURS = """
:root { --bk-background-fill-color: transparent; --bk-border-fill-color: transparent;
  --bk-grid-line-color: var(--line); --bk-major-label-text-color: var(--ink);
  --bk-axis-label-text-color: var(--muted); --bk-label-text-color: var(--ink); }
"""
"""Bokeh takes these for axes, grids and legends from the page, which is light or dark."""

_PAGE = """{% extends base %}
{% block inner_head %}<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title | e }}</title><style>{{ style }}</style>{{ super() }}{% endblock %}
{% block contents %}<main><header><p class="kicker">logitcache view</p><h1>{{ title | e }}</h1></header>
<section>{{ super() }}</section></main>{% endblock %}"""


def make_server(shown: Shown, port: int = 0) -> Server:
    """A server that is not started yet; its ``port`` is the one it was given.

    Args:
        shown: store, students and pictures.
        port: 0 for any that is free.

    Raises:
        InputError: the store has no teacher, or the port is taken.
    """
    store = shown.store
    if not any(store.teachers(split) for split in store.splits):
        raise InputError(f"{store.url} has no teacher yet; run the cache step first")
    style = "".join(
        files("logitcache.report").joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "explorer.css")
    )

    def fill(document: Document) -> None:
        title = f"{store.record.dataset}: {store.url}"
        document.title = title
        document.template = get_env().from_string(_PAGE)
        document.template_variables.update(style=style + _COLOURS, title=title)
        Live(shown, document)

    try:
        return Server({"/": Application(FunctionHandler(fill))}, address=HOST, port=port)
    except OSError as error:
        raise InputError(f"port {port} of {HOST} cannot be used ({error.strerror}); choose another") from error
