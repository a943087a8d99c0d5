"""A user's own code by name: ``module:factory``, from the current directory or installed.

Data sets, networks and views take such names where the built-in ones do not reach. Importing a module runs it,
so only names that the user wrote are ever imported.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from logitcache.errors import InputError

__all__ = ["is_factory_name", "load_factory", "nearest"]


def is_factory_name(name: str) -> bool:
    """Whether a name has the form ``module:factory``, dotted module and identifier."""
    module, colon, factory = name.partition(":")
    return bool(colon) and factory.isidentifier() and all(part.isidentifier() for part in module.split("."))


def load_factory(name: str) -> Callable[..., Any]:
    """The callable that ``module:factory`` names.

    Raises:
        InputError: the module is not found, fails when imported, lacks the name, or the name is not callable.
    """
    if not is_factory_name(name):
        raise InputError(f"{name!r} is not of the form module:factory, for example mypackage.mymodule:make")
    module_name, _, attribute = name.partition(":")
    module = _import(module_name, name)
    if not hasattr(module, attribute):
        public = [key for key in vars(module) if not key.startswith("_")]
        raise InputError(f"{name!r}: module {module_name!r} has no {attribute!r}{nearest(attribute, public)}")
    factory = getattr(module, attribute)
    if not callable(factory):
        raise InputError(f"{name!r} is a {type(factory).__name__}; it must be a function or class that can be called")
    return factory  # type: ignore[no-any-return]  # callable() has narrowed Any to "(...) -> object"


def nearest(given: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the known name nearest to the given one, empty where none is near."""
    names = list(known)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    near = near or difflib.get_close_matches(given.lower(), names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _import(module_name: str, name: str) -> Any:
    """Import a module, looking in the current directory after the installed ones."""
    here = str(Path.cwd())
    if here not in sys.path:
        # it stays there: worker processes and pickled objects need the module again
        sys.path.append(here)
        importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise InputError(
                f"{name!r}: no module {error.name!r} in {here} or among the installed ones; "
                "run from the folder that holds it, or install it"
            ) from None
        raise InputError(f"{name!r}: importing {module_name!r} failed: {error}") from error
    except (ImportError, SyntaxError) as error:
        raise InputError(f"{name!r}: importing {module_name!r} failed: {error}") from error
