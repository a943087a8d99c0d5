"""The live explorer of a store, with pictures where a recipe says where the data are, and students of its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np

from logitcache.address import Address, is_remote, local_path
from logitcache.errors import InputError
from logitcache.pipeline.context import RunContext, open_contexts
from logitcache.pipeline.picturing import Pictures
from logitcache.report.explorer_live import Shown
from logitcache.report.explorer_server import HOST, make_server
from logitcache.report.samples import Source
from logitcache.report.samples_students import beside, best
from logitcache.store import LogitsReader, Store, open_store
from logitcache.sweep import entry_name, open_students, whole_entries

__all__ = ["prepare", "view"]


def prepare(
    store_path: Address, recipe: str | None = None, run: Path | None = None, overrides: Sequence[str] = ()
) -> Shown:
    """What the explorer shows.

    Args:
        store_path: the store; nothing is written to it.
        recipe: whose data set and views give the pictures; without there are none.
        run: the run folder whose students stand beside the teacher; by default that of a store on disk. Its
            ``students.zarr`` has them in every split, without one ``test_logits.npy`` has them in the test split.
        overrides: ``key=value`` each, of the recipe.

    Raises:
        InputError: no such store or recipe, or the recipe's data are not those of the store.
    """
    store = open_store(store_path)
    folder = run or (None if is_remote(store_path) else local_path(store_path).parent)
    students = {} if folder is None else _students(folder, store)
    return Shown(store, students, None if recipe is None else _pictures(store, recipe, overrides))


def _students(folder: Path, store: Store) -> Mapping[str, Sequence[Source]]:
    """The students of a run folder by split, the same ones in each."""
    kept = _kept_students(folder, store)
    if kept or "test" not in store.splits:
        return kept
    return {"test": beside(folder, (store.split("test").samples, len(store.classes)))}


def _kept_students(folder: Path, store: Store) -> Mapping[str, Sequence[Source]]:
    """Those of ``students.zarr`` in the splits that it shares with a store, all of whose logits are there."""
    students = open_students(folder)
    if students is None:
        return {}
    splits = [name for name in store.splits if name in students.splits and _same_samples(store, students, name)]
    names = whole_entries(students).intersection(*(students.teachers(split) for split in splits))
    readers = {split: {name: students.logits(name, split) for name in names} for split in splits}
    found = {split: best(folder, partial(_reader, readers[split])) for split in splits}
    return {split: sources for split, sources in found.items() if sources}


def _reader(readers: Mapping[str, LogitsReader], run_id: str) -> LogitsReader | None:
    """The logits of a run."""
    return readers.get(entry_name(run_id))


def _same_samples(store: Store, students: Store, split: str) -> bool:
    """Whether students saw a store's classes and the samples of its split."""
    same = store.classes == students.classes
    return same and np.array_equal(store.index(split), students.index(split))


def _pictures(store: Store, recipe: str, overrides: Sequence[str]) -> Pictures:
    """Views of the data of the first of a recipe's variants that are the store's."""
    contexts = open_contexts(recipe, overrides, None, "cpu")
    fitting = next((context for context in contexts if _fits(store, context)), None)
    if fitting is None:
        raise InputError(
            f"the data of {recipe} are not those that {store.url} was made from; "
            "give the recipe of the store, with the same --set as when it was cached"
        )
    return Pictures(fitting.splits, fitting.recipe.views)


def _fits(store: Store, context: RunContext) -> bool:
    """Whether a recipe's data have the samples of every split of the store."""
    splits = context.splits
    return all(name in splits and splits[name].fingerprint == store.split(name).fingerprint for name in store.splits)


def view(shown: Shown, port: int, *, browse: bool, say: Callable[[str], None] = click.echo) -> None:
    """Serve the explorer until interrupted.

    Args:
        shown: what :func:`prepare` gives.
        port: 0 for any that is free.
        browse: whether to open it in a browser.
        say: takes the line with the address.

    Raises:
        InputError: the port is taken.
    """
    server = make_server(shown, port)
    server.start()
    say(f"http://{HOST}:{server.port}/  (interrupt with Ctrl-C)")
    if browse:
        server.io_loop.add_callback(server.show, "/")
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        say("stopped")
    finally:
        server.stop()
