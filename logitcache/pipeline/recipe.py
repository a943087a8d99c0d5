"""Recipes: a TOML file and overrides, read into frozen records or refused with all of its faults.

::

    find_recipe      a path, or the name of a recipe that comes with logitcache     shipped.py
    read_extended    text to table, within limits, over the recipe that it extends  extending.py, reading.py
    apply_profile    the changes that a profile of the recipe names                 profiles.py
    apply_variants   the changes of each of its variants: a table each              variants.py
    apply_overrides  --set key=value                                                overrides.py
    check            table to record, or faults in plain words                      faults.py
    cross_faults     faults between the parts                                       crosschecks.py

A recipe may come from anyone: text and table have limits, and nothing in them is executed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logitcache.errors import Fault, InputError, RecipeError
from logitcache.pipeline.crosschecks import cross_faults
from logitcache.pipeline.extending import files_of, read_extended
from logitcache.pipeline.faults import check
from logitcache.pipeline.overrides import apply_overrides
from logitcache.pipeline.profiles import apply_profile
from logitcache.pipeline.reading import DEEPEST, is_deep
from logitcache.pipeline.schema import Recipe, ShareOptions, TeacherRecipe, TeachOptions
from logitcache.pipeline.shipped import copy_recipe, find_recipe, shipped_recipes
from logitcache.pipeline.variants import apply_variants, join_faults

__all__ = [
    "Recipe",
    "ShareOptions",
    "TeachOptions",
    "TeacherRecipe",
    "copy_recipe",
    "find_recipe",
    "read_recipe",
    "read_recipes",
    "shipped_recipes",
]

Table = dict[str, Any]


def read_recipe(given: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The one recipe of :func:`read_recipes`.

    Raises:
        InputError: likewise; or it has several variants, and none is chosen.
        RecipeError: likewise.
    """
    first, *others = read_recipes(given, overrides)
    if others:
        names = ", ".join(str(recipe.variant) for recipe in (first, *others))
        raise InputError(f"{given} has several variants; choose one by --set variant=NAME: {names}")
    return first


def read_recipes(given: str | Path, overrides: Sequence[str] = ()) -> tuple[Recipe, ...]:
    """The recipe in a file, or the one of that name that comes with logitcache, with ``key=value`` overrides.

    Returns:
        One of each variant in the order of the file; one where there are no variants, or one of them is chosen.

    Raises:
        InputError: no such recipe, no TOML, more than 32 KiB of it, or nested more than 16 levels deep.
        RecipeError: the recipe has faults; the error has all of them, of all variants.
    """
    path = find_recipe(given)
    tables, faults = _changed({"name": path.stem, **read_extended(path)}, overrides)
    recipes: list[Recipe] = []
    found: dict[str | None, list[Fault]] = {}
    for variant, (table, wrong) in tables.items():
        recipe, faulty = check(Recipe, table)
        found[variant] = [*wrong, *faulty, *cross_faults(table)]
        if recipe is not None:
            recipes.append(recipe)
    faults += join_faults(found)
    if faults:
        raise RecipeError(_source(path), faults)
    return tuple(recipes)


def _changed(
    table: Table, overrides: Sequence[str]
) -> tuple[Mapping[str | None, tuple[Table, list[Fault]]], list[Fault]]:
    """The table of each variant with profile and overrides, and the faults of those that do not apply."""
    try:
        profiled, faults = apply_profile(table, overrides)
        variants, found = apply_variants(profiled, overrides)
        changed: dict[str | None, tuple[Table, list[Fault]]] | None = {
            name: apply_overrides(variant, overrides) for name, variant in variants.items()
        }
    except RecursionError:
        changed = None
    except ValueError as error:  # numbers with thousands of digits
        raise InputError(f"a value of --set is not valid TOML: {error}") from None
    if changed is None or any(is_deep(variant) for variant, _ in changed.values()):
        raise InputError(
            f"--set, a profile or a variant makes a recipe that is nested more than {DEEPEST} levels deep; no recipe is"
        )
    return changed, [*faults, *found]


def _source(path: Path) -> str:
    """The file, and those that it extends: a fault may stand in any of them."""
    bases = [file.name for file in files_of(path)[1:]]
    return f"{path}, which extends {' and '.join(bases)}" if bases else str(path)
