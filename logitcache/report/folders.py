"""Which folders a report is written of."""

from __future__ import annotations

from pathlib import Path

__all__ = ["run_folders"]

_EVIDENCE = ("results.csv", "store.zarr", "shared_store.json")
"""What a run leaves that a page can be made of, one of them at least."""


def run_folders(directory: Path) -> tuple[Path, ...]:
    """The run folders that are meant by a directory.

    Returns:
        The directory, or where it has no results, the run folders in it, by name, as a recipe with variants leaves
        them, after the directory itself if it has their store. Where there is nothing at all, the directory.
    """
    if (directory / "results.csv").exists() or not directory.is_dir():
        return (directory,)
    found = [folder for folder in (directory, *sorted(directory.iterdir())) if _is_run(folder)]
    return tuple(found) or (directory,)


def _is_run(folder: Path) -> bool:
    """Whether a page can be made of a folder."""
    return any((folder / name).exists() for name in _EVIDENCE)
