"""TinyViT's directory of sparse soft targets, read and written.

::

    DIR/logits_top{K}_epoch{E}/rank{R}-keys.txt      names of samples, one a line
    DIR/logits_top{K}_epoch{E}/rank{R}-values.bin    for each of them a record of 4 + 4 K bytes, little-endian:
                                                     seed int32, classes int16 (K), probabilities float16 (K)

The probabilities are softmax at temperature 1, in descending order. An epoch is a view here; epochs may be missing.
Its samplers pad, so ranks may share a few samples: the lowest rank's record counts. Read, the samples stand in the
order of :func:`~logitcache.formats.records.ordered` names. The seeds replay TinyViT's own augmentations and are not
kept. Written, names are row numbers, as TinyViT has them for data sets without names, and the seed is the view.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.errors import InputError
from logitcache.formats.records import FloatArray, Source, SourceOptions, ordered
from logitcache.formats.sparse import checked, log_of, needed_classes
from logitcache.store.encodings.topk import TopK, top_k

__all__ = ["MOST_CLASSES", "is_tinyvit", "open_tinyvit", "record_dtype", "records"]

MOST_CLASSES = 2**15
"""Class numbers are int16."""

_EPOCH = re.compile(r"logits_top([1-9]\d{0,9})_epoch(\d{1,9})")
_RANK = re.compile(r"rank(\d{1,9})-(values\.bin|keys\.txt)")


@dataclass(frozen=True)
class _Rank:
    """What one process wrote in one epoch."""

    keys: Path
    values: Path
    records: int

    def names(self) -> list[str]:
        """The samples' names in the order of records."""
        try:
            names = self.keys.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise InputError(f"{self.keys} is not text in UTF-8: {error}") from error
        if len(names) != self.records:
            raise InputError(f"{self.keys} has {len(names)} names, but {self.values.name} {self.records} records")
        if len(set(names)) != len(names) or "" in names:
            raise InputError(f"{self.keys} has a name twice, or an empty one")
        return names


def is_tinyvit(folder: Path) -> bool:
    """Whether a folder is, or holds, an epoch of TinyViT's."""
    return any(_EPOCH.fullmatch(each.name) and each.is_dir() for each in (folder, *folder.iterdir()))


def record_dtype(entries: int) -> np.dtype[Any]:
    """One sample's record in one epoch."""
    return np.dtype([("seed", "<i4"), ("classes", "<i2", (entries,)), ("probs", "<f2", (entries,))])


def open_tinyvit(path: Path, options: SourceOptions) -> Source:
    """A directory with an epoch a folder, or one such folder.

    Raises:
        InputError: no epochs, epochs of different K or samples, files that are missing, cut short or do not belong
            together, or ``classes`` was not given.
    """
    classes = needed_classes("TinyViT's format", options.classes)
    if options.tau != 1:
        raise InputError("TinyViT's probabilities are at temperature 1; leave tau out")
    entries, epochs = _epochs(path)
    if not entries <= classes <= MOST_CLASSES:
        raise InputError(f"{path}: top-{entries} of {classes} classes; TinyViT's have K <= classes <= {MOST_CLASSES}")
    order = ordered(_positions(epochs[0]))

    @lru_cache(maxsize=2)
    def positions(view: int) -> npt.NDArray[np.int64]:
        found = _positions(epochs[view])
        if len(found) != len(order) or any(name not in found for name in order):
            raise InputError(f"{epochs[view][0].keys.parent} has other samples than {epochs[0][0].keys.parent}")
        return np.fromiter((found[name] for name in order), np.int64, len(order))

    def part(view: int, rows: range) -> TopK:
        found = _gather(epochs[view], positions(view)[rows.start : rows.stop], record_dtype(entries))
        where = epochs[view][0].keys.parent.name
        return checked(found["classes"], log_of(found["probs"]), classes, lambda r: f"{where}: {order[rows[r]]!r}")

    files = tuple(file for epoch in epochs for rank in epoch for file in (rank.keys, rank.values))
    files = tuple(sorted(files, key=lambda file: file.relative_to(path).as_posix()))
    return Source(path, "tinyvit", len(epochs), len(order), classes, "float16", part, files, entries)


def records(logits: FloatArray, entries: int, view: int) -> bytes:
    """The records of some rows' finite logits or log-probabilities (rows, classes)."""
    rows = top_k(logits, entries)
    made = np.zeros(len(rows), record_dtype(entries))
    made["seed"], made["classes"], made["probs"] = view, rows.classes, np.exp(rows.log_probs)
    return made.tobytes()


def _epochs(path: Path) -> tuple[int, list[list[_Rank]]]:
    """K, and the ranks of each epoch in order of its number."""
    found = {}
    for folder in (path, *path.iterdir()):
        match = _EPOCH.fullmatch(folder.name)
        if match and folder.is_dir():
            found[int(match[2]), int(match[1])] = folder
    if len({entries for _, entries in found}) != 1:
        raise InputError(f"{path} has {'epochs of different K' if found else 'no folders logits_topK_epochE'}")
    entries = next(entries for _, entries in found)
    return entries, [_ranks(found[key], 4 + 4 * entries) for key in sorted(found)]


def _ranks(folder: Path, record_bytes: int) -> list[_Rank]:
    """The files of an epoch, a pair for each rank."""
    ranks = sorted({int(match[1]) for match in (_RANK.fullmatch(each.name) for each in folder.iterdir()) if match})
    found = []
    for rank in ranks:
        keys, values = folder / f"rank{rank}-keys.txt", folder / f"rank{rank}-values.bin"
        for file in (keys, values):
            if not file.is_file():
                raise InputError(f"{file} is missing; names and values of a rank belong together")
        count, rest = divmod(values.stat().st_size, record_bytes)
        if rest:
            raise InputError(f"{values} is cut short: {values.stat().st_size} bytes, records have {record_bytes}")
        found.append(_Rank(keys, values, count))
    if not any(rank.records for rank in found):
        raise InputError(f"{folder} has no records in files rank*-values.bin")
    return found


def _positions(epoch: list[_Rank]) -> dict[str, int]:
    """The number of each sample's record, counted through the files of an epoch; the lowest rank's where several."""
    found: dict[str, int] = {}
    start = 0
    for rank in epoch:
        for number, name in enumerate(rank.names(), start):
            found.setdefault(name, number)
        start += rank.records
    return found


def _gather(epoch: list[_Rank], numbers: npt.NDArray[np.int64], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Records by their numbers."""
    found = np.empty(len(numbers), dtype)
    start = 0
    for rank in epoch:
        here = (numbers >= start) & (numbers < start + rank.records)
        if here.any():
            found[here] = np.memmap(rank.values, dtype, "r", shape=(rank.records,))[numbers[here] - start]
        start += rank.records
    return found
