"""Profiles: sets of changes that a recipe carries under a name, for another machine or another size of the same run.

::

    [profiles.small]
    data.samples = 6000
    students.training.epochs = 5     # a word goes into all entries of a list, a number into one, as with --set

``profile = "small"`` in the file, or ``--set profile=small``, chooses one; whatever else is set comes after it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from logitcache.errors import Fault
from logitcache.factories import nearest
from logitcache.pipeline.changes import apply_changes, asked_for, take_tables
from logitcache.pipeline.faults import show

__all__ = ["apply_profile"]

Table = dict[str, Any]


def apply_profile(table: Table, overrides: Sequence[str]) -> tuple[Table, list[Fault]]:
    """A copy of the table with the chosen profile's changes and without the profiles, and the faults of that.

    Args:
        table: a recipe's.
        overrides: those of the command line, of which ``profile=NAME`` is heeded here.
    """
    table = copy.deepcopy(table)
    profiles, faults = take_tables(table, "profiles")
    chosen = asked_for(table, overrides, "profile")
    if chosen is None or faults:
        return table, faults
    if not isinstance(chosen, str) or chosen not in profiles:
        known = ", ".join(profiles) or "none"
        allowed = f"must be one of the recipe's profiles: {known}{nearest(str(chosen), list(profiles))}"
        return table, [Fault("profile", show(chosen), allowed)]
    return table, apply_changes(table, profiles[chosen], f"profiles.{chosen}")
