"""``--set key=value``: changes to a recipe's table before it is checked.

Keys are dotted. Where a key meets a list of tables, a number names one entry and a word goes into all of them:
``students.objectives=[...]`` sets every group, ``students.0.seeds=[1]`` the first. Values are TOML
(``3``, ``0.5``, ``true``, ``[1, 2]``, ``{loss = "kl"}``); what is not TOML is text, so quotes may be left out.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Sequence
from typing import Any

from logitcache.errors import Fault

__all__ = ["apply_overrides", "parse_value", "put_value"]

Table = dict[str, Any]
_TOML_TYPES = (bool, int, float, str, list, dict)


def apply_overrides(table: Table, overrides: Sequence[str]) -> tuple[Table, list[Fault]]:
    """A copy of the table with the overrides applied in order, and the faults of those that do not apply.

    Whether a key exists at all is not looked at here: the recipe's check does that for file and override alike.
    """
    table = copy.deepcopy(table)
    faults: list[Fault] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            faults.append(Fault("--set", repr(override), "must be KEY=VALUE, for example data.samples=0.03"))
            continue
        trouble = put_value(table, parts, parse_value(text.strip()))
        if trouble:
            faults.append(Fault(f"--set {key.strip()}", text.strip(), trouble))
    return table, faults


def parse_value(text: str) -> Any:
    """A TOML value, or the text itself where it is not one (dates count as text)."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed.get("value")
    # a line break in the text could smuggle in further keys; then it is no single value
    return value if len(parsed) == 1 and isinstance(value, _TOML_TYPES) else text


def put_value(node: Any, parts: Sequence[str], value: Any) -> str:
    """Set a value at a key below a table or list, in place; returns why it cannot be done, or nothing."""
    head, rest = parts[0], parts[1:]
    if isinstance(node, list):
        return _in_list(node, parts, value)
    if not isinstance(node, dict):
        return f"{head!r} would be inside of a value that is no table"
    if not rest:
        node[head] = copy.deepcopy(value)
        return ""
    return put_value(node.setdefault(head, {}), rest, value)


def _in_list(node: list[Any], parts: Sequence[str], value: Any) -> str:
    """Set a value in one entry of a list, by number, or in all of them."""
    head, rest = parts[0], parts[1:]
    if not head.isdecimal():
        if not all(isinstance(entry, dict) for entry in node):
            return f"{head!r} would be inside of a list; its entries are counted from 0, and [...] replaces them all"
        return next((trouble for entry in node if (trouble := put_value(entry, parts, value))), "")
    position = int(head)
    if position >= len(node):
        return f"there is no entry {position}; the list has {len(node)}, counted from 0"
    if rest:
        return put_value(node[position], rest, value)
    node[position] = copy.deepcopy(value)
    return ""
