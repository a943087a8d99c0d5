"""``extends = "setting.toml"``: a recipe that starts from the tables of another one in the same folder.

Tables are merged key by key; lists and single values are replaced whole, and an empty table empties. The changes of
``[profiles.NAME]`` and ``[variants.NAME]`` are merged likewise and come after those of the base. A base's ``name``
stays its own.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from logitcache.errors import Fault, RecipeError
from logitcache.factories import nearest
from logitcache.pipeline.changes import flat
from logitcache.pipeline.faults import show
from logitcache.pipeline.reading import read_toml

__all__ = ["files_of", "read_extended"]

Table = dict[str, Any]

_MOST = 4
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.toml")
_NAMED_CHANGES = ("profiles", "variants")


def read_extended(path: Path) -> Table:
    """The table of a recipe, merged with those that it extends.

    Raises:
        InputError: one of the files is no recipe at all.
        RecipeError: ``extends`` is no plain file name, names a file that is not there or the recipe itself, or the
            chain of bases is longer than 4.
    """
    *bases, own = (table for _, table in reversed(_chain(path)))
    merged: Table = {}
    for base in bases:
        base.pop("name", None)
        merged = _merge_recipes(merged, base)
    return _merge_recipes(merged, own)


def files_of(path: Path) -> tuple[Path, ...]:
    """The file of a recipe, and after it those that it extends.

    Raises:
        InputError, RecipeError: see :func:`read_extended`.
    """
    return tuple(file for file, _ in _chain(path))


def _chain(path: Path) -> list[tuple[Path, Table]]:
    """Files and their tables without ``extends``, from a recipe to its last base."""
    chain: list[tuple[Path, Table]] = []
    while True:
        table = read_toml(path)
        base = table.pop("extends", None)
        chain.append((path, table))
        if base is None:
            return chain
        trouble = _trouble(base, [file for file, _ in chain])
        if trouble:
            raise RecipeError(str(path), [Fault("extends", show(base), trouble)])
        path = path.with_name(base)


def _trouble(base: Any, files: list[Path]) -> str:
    """Why the last of the files cannot extend a base, or nothing."""
    if not isinstance(base, str) or not _FILE.fullmatch(base):
        return 'must be the name of a .toml file in the same folder, for example "setting.toml"'
    target = files[-1].with_name(base)
    if not target.is_file():
        others = [path.name for path in sorted(files[-1].parent.glob("*.toml")) if path.name != files[-1].name]
        return f"there is no such file beside the recipe{nearest(base, others)}"
    if any(target.samefile(file) for file in files):
        circle = " -> ".join([*(file.name for file in files), base])
        return f"no recipe may extend itself: {circle}"
    if len(files) > _MOST:
        return f"a recipe may have {_MOST} others below it, one extending the next; put some of them together"
    return ""


def _merge_recipes(base: Table, own: Table) -> Table:
    """The recipe's table over its base's, named changes key by key too."""
    merged = _merge(base, own)
    for kind in _NAMED_CHANGES:
        mine, theirs = own.get(kind), base.get(kind)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            both = [name for name in mine if isinstance(mine[name], dict) and isinstance(theirs.get(name), dict)]
            merged[kind] |= {name: _merge_changes(theirs[name], mine[name]) for name in both}
    return merged


def _merge(base: Table, own: Table) -> Table:
    """A copy of ``base`` with what ``own`` holds: tables within tables, all else replaced, also by an empty table."""
    merged = copy.deepcopy(base)
    for key, value in own.items():
        there = merged.get(key)
        if value and isinstance(value, dict) and isinstance(there, dict):
            merged[key] = _merge(there, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _merge_changes(base: Table, own: Table) -> Table:
    """Changes one after another: the base's that stay, then the recipe's, whichever way their keys are written."""
    theirs, mine = flat(base), flat(own)
    return {key: value for key, value in theirs.items() if key not in mine} | mine
