"""Recipes: a TOML file and overrides, read into a frozen record or refused with all of its faults.

::

    find_recipe      a path, or the name of a recipe that comes with logitcache     shipped.py
    tomllib          text to table
    apply_overrides  --set key=value                                                overrides.py
    check            table to record, or faults in plain words                      faults.py
    cross_faults     faults between the parts                                       crosschecks.py
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from logitcache.errors import InputError, RecipeError
from logitcache.pipeline.crosschecks import cross_faults
from logitcache.pipeline.faults import check
from logitcache.pipeline.overrides import apply_overrides
from logitcache.pipeline.schema import Recipe, TeacherRecipe, TeachOptions
from logitcache.pipeline.shipped import copy_recipe, find_recipe, shipped_recipes

__all__ = ["Recipe", "TeachOptions", "TeacherRecipe", "copy_recipe", "find_recipe", "read_recipe", "shipped_recipes"]


def read_recipe(given: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a file, or the one of that name that comes with logitcache, with ``key=value`` overrides.

    Raises:
        InputError: no such recipe, or no TOML.
        RecipeError: the recipe has faults; the error has all of them.
    """
    path = find_recipe(given)
    table, faults = apply_overrides({"name": path.stem, **_read_toml(path)}, overrides)
    recipe, found = check(Recipe, table)
    faults += [*found, *cross_faults(table)]
    if recipe is None or faults:
        raise RecipeError(str(path), faults)
    return recipe


def _read_toml(path: Path) -> dict[str, Any]:
    """The table that a file holds."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
