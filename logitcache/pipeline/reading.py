"""A recipe's file as a table, within the limits that every recipe has, whoever wrote it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from logitcache.errors import InputError

__all__ = ["DEEPEST", "is_deep", "read_toml"]

Table = dict[str, Any]

# Parsing takes seconds for a key of a million parts: its time is their number squared.
_LARGEST = 1 << 15

DEEPEST = 16
"""Levels of tables and lists that a recipe may have."""


def read_toml(path: Path) -> Table:
    """The table that a file holds.

    Raises:
        InputError: it cannot be read, is no TOML, longer than 32 KiB, or nested more than 16 levels deep.
    """
    text = _read_text(path)
    try:
        table: Table | None = tomllib.loads(text)
    except RecursionError:
        table = None
    except ValueError as error:  # also of numbers with thousands of digits
        raise InputError(f"{path} is not valid TOML: {error}") from None
    if table is None or is_deep(table):
        raise InputError(f"{path} is nested more than {DEEPEST} levels deep; no recipe is")
    return table


def is_deep(table: Table) -> bool:
    """Whether there is anything below the deepest level."""
    level: list[Any] = [table]
    for _ in range(DEEPEST):
        inner = (node.values() if isinstance(node, dict) else node for node in level)
        level = [node for nodes in inner for node in nodes if isinstance(node, dict | list)]
    return bool(level)


def _read_text(path: Path) -> str:
    """The text of a file that is no longer than a recipe may be."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise InputError(f"{path} is longer than {_LARGEST} bytes; no recipe is")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
