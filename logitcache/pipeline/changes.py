"""Changes that a recipe carries under a name, in ``[profiles.NAME]`` and ``[variants.NAME]``, made to its table.

A key goes where ``--set`` would put it: a word goes into all entries of a list, a number into one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from logitcache.errors import Fault
from logitcache.pipeline.faults import show
from logitcache.pipeline.overrides import parse_value, put_value

__all__ = ["apply_changes", "asked_for", "flat", "take_tables"]

Table = dict[str, Any]


def take_tables(table: Table, key: str) -> tuple[dict[str, Table], list[Fault]]:
    """Take the tables of changes out of a recipe's table: by name, and the fault of those that are none."""
    found = table.pop(key, {})
    if not isinstance(found, dict) or not all(isinstance(changes, dict) for changes in found.values()):
        return {}, [Fault(key, show(found), f"must be tables, [{key}.NAME], of keys to change")]
    return found, []


def asked_for(table: Mapping[str, Any], overrides: Sequence[str], key: str) -> Any:
    """The name that is asked for: by the last override of the key, else by the table; None without."""
    named = [text for name, _, text in (override.partition("=") for override in overrides) if name.strip() == key]
    return parse_value(named[-1].strip()) if named else table.get(key)


def apply_changes(table: Table, changes: Mapping[str, Any], key: str) -> list[Fault]:
    """Change a table in place; returns the faults of changes that do not apply, their keys below ``key``."""
    faults = []
    for dotted, value in flat(changes).items():
        trouble = put_value(table, dotted.split("."), value)
        if trouble:
            faults.append(Fault(f"{key}.{dotted}", show(value), trouble))
    return faults


def flat(changes: Mapping[str, Any]) -> Table:
    """All that tables in tables hold by dotted key, in order; dots in a quoted key part it too."""
    found: Table = {}
    for key, value in _leaves(changes, ""):
        found.pop(key, None)  # said twice, the later one comes after what lies between
        found[key] = value
    return found


def _leaves(changes: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of all leaves."""
    for key, value in changes.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
