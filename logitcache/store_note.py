"""A note in a run folder on the store that it shares with other runs: where it is, and whose teachers are the run's."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logitcache.address import Address, as_address, is_remote
from logitcache.errors import InputError
from logitcache.files import write_text

__all__ = ["StoreNote", "of_teachers", "read_note", "write_note"]

_FILE = "shared_store.json"


@dataclass(frozen=True)
class StoreNote:
    """Where the shared store is, and which of its teachers belong to the run."""

    store: Address
    teachers: tuple[str, ...]


def write_note(directory: Path, note: StoreNote) -> None:
    """Leave the note in a run folder; a path is kept relative, so that all runs can be moved together."""
    place = str(note.store) if is_remote(note.store) else os.path.relpath(note.store, directory)
    record = {"store": place, "teachers": list(note.teachers)}
    text = json.dumps(record, indent=1) + "\n"
    path = directory / _FILE
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def read_note(directory: Path) -> StoreNote | None:
    """The note in a run folder; None where there is none, for the run has a store of its own.

    Raises:
        InputError: it is not what :func:`write_note` writes.
    """
    path = directory / _FILE
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        place = str(record["store"])
        store = as_address(place) if is_remote(place) else directory / place
        return StoreNote(store, tuple(map(str, record["teachers"])))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged; delete it and run the recipe again, which writes it anew") from error


def of_teachers(info: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """What a store says about itself, as if it had these teachers alone."""
    splits = [
        {**split, "teachers": [teacher for teacher in split["teachers"] if teacher["teacher"] in names]}
        for split in info["splits"]
    ]
    return {**info, "splits": splits}
