"""The recipes that come with logitcache: found, listed, copied.

A wheel carries them as ``logitcache/_pipelines``; a checkout has them in ``pipelines/``.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from logitcache.errors import InputError

__all__ = ["copy_recipe", "find_recipe", "shipped_recipes"]

_PACKAGE = Path(__file__).parents[1]


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of each recipe that comes with logitcache, in alphabetical order."""
    folders = (_PACKAGE / "_pipelines", _PACKAGE.parent / "pipelines")
    folder = next((each for each in folders if each.is_dir()), folders[0])
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_recipe(given: str | Path) -> Path:
    """The file of a recipe: a path, or the name of one that comes with logitcache. A file goes before a name.

    Raises:
        InputError: neither; the message names the shipped recipes that are near.
    """
    path = Path(given)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if str(given) in shipped:
        return shipped[str(given)]
    what = "is a folder, not a recipe" if path.is_dir() else "does not exist"
    near = difflib.get_close_matches(path.stem, shipped, n=3, cutoff=0.5)
    if near:
        advice = f"shipped recipes with a name like it: {', '.join(near)}"
    else:
        advice = f"give a .toml file, or one that comes with logitcache: {', '.join(shipped) or 'there are none'}"
    raise InputError(f"recipe {str(given)!r} {what}; {advice}")


def copy_recipe(name: str, dest: Path) -> Path:
    """Write a shipped recipe to a file, or into a folder under its own name; returns where it went.

    Raises:
        InputError: no such recipe, or the file exists already (it is left as it is).
    """
    shipped = shipped_recipes()
    if name not in shipped:
        raise InputError(f"no shipped recipe is called {name!r}; there are: {', '.join(shipped) or 'none'}")
    target = dest / shipped[name].name if dest.is_dir() else dest
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(shipped[name].read_text(encoding="utf-8"))
    except FileExistsError:
        raise InputError(f"{target} exists already and is left as it is; give another file") from None
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}") from None
    return target
