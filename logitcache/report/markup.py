"""Small pieces of HTML, each from plain text that is escaped here and nowhere else, and numbers as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = [
    "bytes_text",
    "captioned",
    "details",
    "fixed",
    "grid",
    "note",
    "paragraph",
    "power",
    "section",
    "short",
    "table",
    "tile",
]


def fixed(value: float | None, digits: int = 2) -> str:
    """A number with so many digits after the point; a dash for None and NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def short(value: float | None) -> str:
    """A number with three significant digits; a dash for None and NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:#.3g}".removesuffix(".")


def power(value: float) -> str:
    """A small number with three significant digits and its power of ten, so that columns compare at a glance."""
    return f"{value:.2e}"


def bytes_text(count: float) -> str:
    """A count of bytes in decimal units with three significant digits."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def paragraph(text: str) -> str:
    """Plain text as a paragraph."""
    return f"<p>{escape(text)}</p>"


def note(text: str) -> str:
    """Plain text as a remark below what it explains."""
    return f'<p class="note">{escape(text)}</p>'


def tile(name: str, value: str, remark: str) -> str:
    """A figure worth seeing first: what it is, its value, and what it is to be measured against."""
    return (
        f'<div class="tile"><span class="name">{escape(name)}</span>'
        f'<span class="value">{escape(value)}</span><span class="remark">{escape(remark)}</span></div>'
    )


def grid(parts: Sequence[str], kind: str = "figures") -> str:
    """HTML pieces side by side where there is room."""
    return f'<div class="{escape(kind)}">{"".join(parts)}</div>'


def section(title: str, *parts: str) -> str:
    """A section of HTML pieces with its heading."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def details(summary: str, *parts: str) -> str:
    """HTML pieces that are folded away until asked for."""
    return f"<details><summary>{escape(summary)}</summary>{''.join(parts)}</details>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    texts: int = 1,
    caption: str = "",
    marks: Mapping[int, str] | None = None,
) -> str:
    """A table of plain text.

    Args:
        head: names of the columns, with units.
        rows: cells, one for each column.
        texts: how many columns from the left hold text; the others hold numbers.
        caption: what the table shows.
        marks: class of some rows by number, "best" or "baseline".
    """
    kinds = [' class="text"' if k < texts else "" for k in range(len(head))]
    names = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(head, kinds, strict=True))
    lines = []
    for count, row in enumerate(rows):
        cells = "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        mark = (marks or {}).get(count, "")
        lines.append(f'<tr class="{escape(mark)}">{cells}</tr>' if mark else f"<tr>{cells}</tr>")
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = f"<thead><tr>{names}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="scroll"><table>{title}{body}</table></div>'


def captioned(title: str, body: str) -> str:
    """A figure's HTML below its title."""
    return f"<figure><figcaption>{escape(title)}</figcaption>{body}</figure>"
