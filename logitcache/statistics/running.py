"""From paths to files: the tables of a run, and what was measured."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

from logitcache.errors import InputError
from logitcache.statistics.labels import labels_of, read_choice
from logitcache.statistics.measuring import TAUS, compute
from logitcache.statistics.run_tables import tables, write
from logitcache.statistics.stores import Other
from logitcache.statistics.watching import Watch
from logitcache.statistics.writing import write_tree
from logitcache.store import open_store

__all__ = ["open_other", "run"]


def run(
    store_path: Path | str,
    out: Path,
    students: Path | None = None,
    teachers: Collection[str] | None = None,
    *,
    measures: Sequence[str] | None = None,
    taus: Sequence[float] = TAUS,
    against: Sequence[str] = (),
    views: Literal["clean", "all"] = "clean",
    labels: Sequence[str] = (),
    plane: Sequence[str] | None = None,
    scheduler: Any = "threads",
    watch: Watch | None = None,
) -> tuple[Path, ...]:
    """Measure a store and write ``statistics.zarr`` and tables; returns what was written to ``out``.

    Args:
        store_path: folder or address of the store.
        out: a folder, made where there is none.
        students: a folder of student runs, compared with teachers in the table of students; None for none.
        teachers: names of those that are measured; None for all.
        measures: names of measures, and no tables of the run; None for the tables and all whose needs are met.
        taus: temperatures of the measures.
        against: what to compare with, ``STORE:TEACHER``, or ``TEACHER`` of the same store.
        views: as in :func:`logitcache.statistics.compute`, as are errors.
        labels: which labels count: "auto", "clean", "noisy", or ``SPLIT=FILE.npy`` for each split that has a file.
        plane: three classes of the measure ``plane``, by name or number.
        scheduler: as in :func:`logitcache.statistics.compute`; the tables of the run are made in this process.
        watch: who looks on, likewise.
    """
    store = open_store(store_path)
    others = [open_other(word, store_path) for word in against]
    choice = read_choice(labels, store)
    tree = compute(
        store,
        measures,
        teachers=teachers,
        taus=taus,
        against=others,
        views=views,
        labels=choice,
        plane=plane,
        scheduler=scheduler,
        watch=watch,
    )
    paths: tuple[Path, ...] = ()
    if measures is None:
        true = {split: labels_of(store, split, choice).true for split in store.splits}
        paths = write(tables(store, students=students, teachers=teachers, labels=true, watch=watch), out)
    return (*paths, *write_tree(tree, out))


def open_other(word: str, store_path: Path | str) -> Other:
    """What ``--against`` names: a teacher of another store, ``STORE:TEACHER``, or of the same one, ``TEACHER``."""
    place, _, teacher = word.rpartition(":")
    if not teacher:
        raise InputError(f"--against {word}: say STORE:TEACHER, or TEACHER of the same store")
    return Other(open_store(place or store_path), teacher)
