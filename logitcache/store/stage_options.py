"""Where shards are staged, and how many bytes of them: sizes as people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["STAGE_SIZE", "StageOptions", "parse_size", "size_text"]

STAGE_SIZE = 50 * 10**9
"""Bytes of a stage whose size is not given."""

_UNITS = ("", "k", "m", "g", "t")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]?)(i?)b?)", re.IGNORECASE)


@dataclass(frozen=True)
class StageOptions:
    """A folder on a disk of this machine, and the most bytes of shards that are kept in it."""

    folder: Path
    size: int = STAGE_SIZE


def parse_size(given: object) -> int:
    """A number of bytes, as ``50GB``, ``1.5 TB``, ``20GiB`` (1024 for 1000) or a whole number.

    Raises:
        ValueError: it is none, or less than one byte.
    """
    found = None if isinstance(given, bool) else _SIZE.fullmatch(str(given).strip())
    size = 0
    if found is not None:
        number, unit, binary = found.groups()
        size = int(float(number) * (1024 if binary else 1000) ** _UNITS.index(unit.lower()))
    if size < 1:
        raise ValueError("must be a size of at least one byte, for example 50GB, 800MB or 20GiB")
    return size


def size_text(size: float) -> str:
    """A number of bytes for people, as ``1.2 GB``; units go up by 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
