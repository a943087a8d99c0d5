"""A few real samples of a store with the logits of its teachers and of the best students, for the explorer.

Samples are chosen by the **margin** of the first teacher on the clean view: its logit of the true class less the
largest other logit. Negative: the teacher contradicts the label; near 0: hard; large: easy; the median of a class:
typical. The choice has no randomness. ``DIR/samples.json`` keeps them, written by the pipeline, which has the store
and the data; the page reads it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logitcache.errors import InputError
from logitcache.files import write_text
from logitcache.store import LogitsReader, Store

__all__ = [
    "FILE",
    "KINDS",
    "Sample",
    "Samples",
    "Source",
    "choose",
    "gather",
    "margins",
    "read_rows",
    "read_samples",
    "write_samples",
]

FILE = "samples.json"

KINDS = {
    "contradicting": "the teacher contradicts the label",
    "hard": "hard: the true class is barely ahead",
    "easy": "easy: the true class is far ahead",
    "typical": "typical of their class",
}
"""Why a sample was chosen, in the order they are chosen and shown."""

COUNTS = {"contradicting": 14, "hard": 14, "easy": 10, "typical": 22}
BYTES = 3_000_000
"""What all logits of the samples may take in the page, so that it stays small with many classes."""

FEWEST = 8


@dataclass(frozen=True)
class Sample:
    """One chosen sample."""

    row: int
    """Its row in the split."""
    sample: int
    """Its index in the full data set."""
    label: int
    """Its true class; -1 where nobody knows it."""
    kind: str
    """One of ``KINDS``."""


@dataclass(frozen=True)
class Source:
    """Where logits of the split come from: a teacher in the store, or a student's file."""

    name: str
    teacher: bool
    logits: LogitsReader | NDArray[np.float32]
    """The reader, or all rows of the clean view (rows, classes), mostly memory-mapped."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Chosen samples of one split."""

    split: str
    classes: tuple[str, ...]
    names: tuple[str, ...]
    """Teachers first, then students."""
    teachers: int
    """How many of the names are teachers."""
    samples: tuple[Sample, ...]
    logits: NDArray[np.float32]
    """(samples, names, classes) of the clean view."""


def margins(reader: LogitsReader, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """The margin of each row of the clean view, float32 (rows,); one block in memory at a time.

    Where the label is unknown, the largest logit less the second: as hard as it is to tell the two apart.

    Raises:
        MissingError: a block of the clean view was never committed.
    """
    return np.concatenate(
        [_margins(reader.read(0, block), labels[reader.rows(block)]) for block in range(reader.blocks)]
    )


def _margins(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """The margins of one block."""
    if logits.shape[1] < 2:
        return np.zeros(len(logits), np.float32)
    rows = np.arange(len(logits))
    known = (labels >= 0) & (labels < logits.shape[1])
    truth = np.where(known, labels, logits.argmax(axis=1))
    others = logits.copy()
    others[rows, truth] = -np.inf
    return np.asarray(logits[rows, truth] - others.max(axis=1), np.float32)


def choose(
    margin: NDArray[np.float32], labels: NDArray[np.int64], most: int = sum(COUNTS.values())
) -> list[tuple[int, str]]:
    """Rows and why they were chosen, by kind and most telling first; no row twice, ``most`` at the most.

    Args:
        margin: of each row (rows,), as :func:`margins` gives it.
        labels: true classes (rows,).
        most: how many rows; the shares of the kinds stay those of ``COUNTS``.
    """
    share = most / sum(COUNTS.values())
    ascending = np.argsort(margin, kind="stable")
    right = ascending[margin[ascending] >= 0]
    candidates = {
        "contradicting": ascending[margin[ascending] < 0],
        "hard": right,
        "easy": _first_of_each(right[::-1], labels),
        "typical": _typical(margin, labels, round(COUNTS["typical"] * share)),
    }
    taken: dict[int, str] = {}
    for kind, rows in candidates.items():
        fresh = [int(row) for row in rows if int(row) not in taken]
        taken |= dict.fromkeys(fresh[: max(1, round(COUNTS[kind] * share))], kind)
    return list(taken.items())[:most]


def _first_of_each(rows: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows with the first one of each class in front: else all easy samples would be of one class."""
    _, first = np.unique(labels[rows], return_index=True)
    front = np.sort(first)
    return np.concatenate([rows[front], np.delete(rows, front)])


def _typical(margin: NDArray[np.float32], labels: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """The row of the median margin of each class, of evenly spread classes where there are many."""
    classes = np.unique(labels[labels >= 0])
    picked = classes[np.unique(np.linspace(0, len(classes) - 1, min(most, len(classes))).astype(int))]
    rows = (np.flatnonzero(labels == one) for one in picked)
    return np.array([own[np.argsort(margin[own], kind="stable")[len(own) // 2]] for own in rows], np.int64)


def gather(store: Store, split: str, sources: Sequence[Source]) -> Samples:
    """Choose samples of a split and read their logits from all sources; the first one's margins decide.

    With many classes there are fewer samples, so that the page stays small (``BYTES``), but at least ``FEWEST``.

    Raises:
        InputError: there is no source, or the first one is no teacher.
        MissingError: a block of a clean view was never committed.
    """
    if not sources or not isinstance(sources[0].logits, LogitsReader):
        raise InputError(f"samples of split {split!r} need a teacher in {store.url}, whose margins choose them")
    labels, index = store.labels(split), store.index(split)
    first = sources[0].logits
    room = BYTES // (4 * first.classes * len(sources))
    chosen = choose(margins(first, labels), labels, max(FEWEST, min(sum(COUNTS.values()), room)))
    rows = np.array([row for row, _ in chosen], np.int64)
    return Samples(
        split=split,
        classes=store.classes,
        names=tuple(source.name for source in sources),
        teachers=sum(source.teacher for source in sources),
        samples=tuple(Sample(row, int(index[row]), int(labels[row]), kind) for row, kind in chosen),
        logits=np.stack([read_rows(source.logits, rows) for source in sources], axis=1),
    )


def read_rows(
    logits: LogitsReader | NDArray[np.float32], rows: NDArray[np.int64], view: int = 0
) -> NDArray[np.float32]:
    """The logits of some rows of one view, float32 (rows, classes); each block is read once."""
    if not isinstance(logits, LogitsReader):
        return np.asarray(logits[rows], np.float32)
    found = np.empty((len(rows), logits.classes), np.float32)
    blocks = rows // logits.block_rows
    for block in np.unique(blocks):
        here = blocks == block
        found[here] = logits.read(view, int(block))[rows[here] - int(block) * logits.block_rows]
    return found


def write_samples(directory: Path, samples: Samples) -> Path:
    """Write ``DIR/samples.json``; logits are base64 of little-endian float32."""
    record = {
        "split": samples.split,
        "classes": samples.classes,
        "names": samples.names,
        "teachers": samples.teachers,
        "samples": [vars(one) for one in samples.samples],
        "logits": base64.b64encode(samples.logits.astype("<f4").tobytes()).decode("ascii"),
    }
    path = directory / FILE
    write_text(path, json.dumps(record) + "\n")
    return path


def read_samples(directory: Path) -> Samples | None:
    """The samples of a run folder; None where nobody wrote them.

    Raises:
        InputError: the file is not what :func:`write_samples` writes.
    """
    path = directory / FILE
    if not path.is_file():
        return None
    try:
        return _parse(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it and run the recipe again") from error


def _parse(record: Mapping[str, Any]) -> Samples:
    """The record of a file."""
    names, classes = tuple(map(str, record["names"])), tuple(map(str, record["classes"]))
    samples = tuple(
        Sample(int(one["row"]), int(one["sample"]), int(one["label"]), str(one["kind"])) for one in record["samples"]
    )
    values = np.frombuffer(base64.b64decode(record["logits"], validate=True), "<f4").astype(np.float32)
    logits = values.reshape(len(samples), len(names), len(classes))
    if not all(-1 <= one.label < len(classes) and one.kind in KINDS for one in samples):
        raise ValueError("a label or kind that does not exist")
    return Samples(str(record["split"]), classes, names, int(record["teachers"]), samples, logits)
