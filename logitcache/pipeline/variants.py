"""Variants: the settings of one study that need runs of their own, such as one for each rate of noise.

::

    [variants.noise-20]
    data.noise.rate = 0.2            # the same form as a profile

``variant = "noise-20"`` in the file, or ``--set variant=noise-20``, chooses one; else all of them are run, one after
another, each in a folder of its own in the recipe's run folder. A profile's changes come before, ``--set`` after.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from logitcache.errors import Fault
from logitcache.factories import nearest
from logitcache.pipeline.changes import apply_changes, asked_for, flat, take_tables
from logitcache.pipeline.faults import show

__all__ = ["apply_variants", "join_faults"]

Table = dict[str, Any]

_MOST = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# what a run folder holds itself
_TAKEN = {"students", "students_statistics", "teachers", "statistics", "figures", "groups", "study"}
# what is said of all variants together
_FIXED = {"name", "profile", "profiles", "variant", "variants", "extends", "study"}


def apply_variants(table: Table, overrides: Sequence[str]) -> tuple[dict[str | None, Table], list[Fault]]:
    """The table of each variant that is asked for, by name, and the faults of that; of None without variants.

    Args:
        table: a recipe's, after its profile; it stays as it is.
        overrides: those of the command line, of which ``variant=NAME`` is heeded here.
    """
    table = copy.deepcopy(table)
    variants, faults = take_tables(table, "variants")
    faults += _faults(variants)
    chosen = asked_for(table, overrides, "variant")
    if chosen is not None and (not isinstance(chosen, str) or chosen not in variants):
        known = ", ".join(variants) or "none"
        allowed = f"must be one of the recipe's variants: {known}{nearest(str(chosen), list(variants))}"
        faults.append(Fault("variant", show(chosen), allowed))
        table.pop("variant", None)  # said once
    if faults or not variants:
        return {None: table}, faults
    names = variants if chosen is None else [chosen]
    tables: dict[str | None, Table] = {}
    for name in names:
        tables[name] = {**copy.deepcopy(table), "variant": name}
        faults += apply_changes(tables[name], variants[name], f"variants.{name}")
    return tables, faults


def join_faults(found: Mapping[str | None, Sequence[Fault]]) -> list[Fault]:
    """The faults of all variants, each told once; of which variants, where it is not of all."""
    names: dict[Fault, list[str]] = {}
    for variant, faults in found.items():
        for fault in faults:
            names.setdefault(fault, []).append(str(variant))
    return [_of(fault, which if len(which) < len(found) else []) for fault, which in names.items()]


def _of(fault: Fault, variants: Sequence[str]) -> Fault:
    """The fault, said to be of these variants."""
    if not variants:
        return fault
    where = f"variant{'s' if len(variants) > 1 else ''} {', '.join(variants)}"
    return Fault(f"{fault.key} ({where})", fault.value, fault.allowed)


def _faults(variants: Mapping[str, Table]) -> list[Fault]:
    """Too many of them, names that cannot name a folder, and keys that are not a variant's to change."""
    if len(variants) > _MOST:
        return [Fault("variants", f"{len(variants)} tables", f"must be at most {_MOST}")]
    faults = []
    for name, changes in variants.items():
        if not _NAME.fullmatch(name):
            allowed = "must be letters, digits, '-' and '_', the first a letter or digit"
            faults.append(Fault(f"variants.{name}", show(name), allowed))
        elif name.lower() in _TAKEN:
            allowed = f"names a folder, and a run folder has others of these names: {', '.join(sorted(_TAKEN))}"
            faults.append(Fault(f"variants.{name}", show(name), allowed))
        for key, value in flat(changes).items():
            if key.split(".")[0] in _FIXED:
                faults.append(Fault(f"variants.{name}.{key}", show(value), "is the same for all variants of a recipe"))
    return faults
