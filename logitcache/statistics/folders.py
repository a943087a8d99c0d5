"""Where results go, and which runs stand beside a store, unless they are named."""

from __future__ import annotations

from pathlib import Path

from logitcache.address import Address, is_remote, local_path
from logitcache.errors import InputError

__all__ = ["results_folder", "student_runs"]

_STUDENTS = "students"


def results_folder(store_path: Address) -> Path:
    """The folder of a store's results: ``statistics`` beside ``store.zarr``, beside any other one named after it.

    So those of ``students.zarr`` are in ``students_statistics``, beside those of its teachers.

    Raises:
        InputError: the store is in an object store, beside which no results are written.
    """
    if is_remote(store_path):
        raise InputError(f"{store_path} is in an object store; say into which folder results go: --out DIR")
    place = _named(store_path)
    return place.parent / ("statistics" if place.name == "store.zarr" else f"{place.stem}_statistics")


def student_runs(store_path: Address) -> Path | None:
    """The folder of students beside a store of teachers; None without, or where the store is of these very students."""
    if is_remote(store_path):
        return None
    place = _named(store_path)
    folder = place.parent / _STUDENTS
    return folder if folder.is_dir() and place.stem != _STUDENTS else None


def _named(address: Address) -> Path:
    """The path, with a name at its end: ``.`` has none."""
    path = local_path(address)
    return path.resolve() if path.name in ("", "..") else path
