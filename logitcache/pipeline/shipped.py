"""The recipes that come with logitcache: found, listed, copied.

A wheel carries them as ``logitcache/_pipelines``; a checkout has them in ``pipelines/``. One in a folder there bears
the folder's name too: ``kim2021/grid``.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from logitcache.errors import InputError
from logitcache.pipeline.extending import files_of

__all__ = ["copy_recipe", "find_recipe", "shipped_recipes"]

_PACKAGE = Path(__file__).parents[1]


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of each recipe that comes with logitcache, in alphabetical order."""
    folders = (_PACKAGE / "_pipelines", _PACKAGE.parent / "pipelines")
    folder = next((each for each in folders if each.is_dir()), folders[0])
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.toml"))}


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
    near = _near(path, list(shipped))
    if near:
        advice = f"shipped recipes with a name like it: {', '.join(near)}"
    else:
        advice = f"give a .toml file, or one that comes with logitcache: {', '.join(shipped) or 'there are none'}"
    raise InputError(f"recipe {str(given)!r} {what}; {advice}")


def _near(path: Path, shipped: list[str]) -> list[str]:
    """Names like a path's last part, or its last two."""
    pairs = {name: (name.rsplit("/", 1)[-1], path.stem) for name in shipped}
    pairs |= {name: (name, f"{path.parent.name}/{path.stem}") for name in shipped if "/" in name and path.parent.name}
    likeness = {name: difflib.SequenceMatcher(None, *pair).ratio() for name, pair in pairs.items()}
    near = sorted((name for name in shipped if likeness[name] >= 0.5), key=lambda name: -likeness[name])
    return near[:3]


def copy_recipe(name: str, dest: Path) -> tuple[Path, ...]:
    """Write a shipped recipe to a file, or into a folder under its own name, and what it extends beside it.

    Returns:
        What was written, the recipe first. What it extends may be there already from another copy.

    Raises:
        InputError: no such recipe, or a file exists already; then nothing is written.
    """
    shipped = shipped_recipes()
    if name not in shipped:
        raise InputError(f"no shipped recipe is called {name!r}; there are: {', '.join(shipped) or 'none'}")
    recipe, *bases = files_of(shipped[name])
    target = dest / recipe.name if dest.is_dir() else dest
    wanted = [(recipe, target), *((base, target.with_name(base.name)) for base in bases)]
    missing = [pair for pair in wanted if pair[0] is recipe or not _is_there(*pair)]
    for _, file in missing:
        if file.exists() or [other for _, other in wanted].count(file) > 1:
            raise InputError(f"{file} exists already and is left as it is; give another file")
    for source, file in missing:
        _write(source, file)
    return tuple(file for _, file in missing)


def _is_there(source: Path, file: Path) -> bool:
    """Whether a file holds the same bytes."""
    return file.is_file() and file.read_bytes() == source.read_bytes()


def _write(source: Path, file: Path) -> None:
    """Write a copy; a file that appeared meanwhile is left."""
    try:
        with file.open("xb") as opened:
            opened.write(source.read_bytes())
    except FileExistsError:
        raise InputError(f"{file} exists already and is left as it is; give another file") from None
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}") from None
