"""Stores made of logits in memory, timed: the encoding chosen first, then all blocks written, as an import does it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from logitcache.keyed import choose
from logitcache.store import (
    UNKNOWN,
    Choice,
    EncodingOptions,
    Sample,
    SplitContent,
    SplitRecord,
    StoreRecord,
    TeacherContent,
    TeacherRecord,
    TeacherWriter,
    choose_encoding,
    create_store,
    open_store,
)
from logitcache.store.choices import sample_rows
from logitcache.store.encodings import TAUS
from logitcache.store.layout import block_shape
from logitcache.threads import cores, single_threaded_pool
from logitcache.transfer.blocks import write_blocks

__all__ = ["BLOCK", "Figure", "Logits", "Made", "disk_bytes", "load_logits", "make_store", "new_writer", "read_store"]

BLOCK = 8192
TEACHER, SPLIT = "teacher", "train"
Logits = npt.NDArray[np.float32]

_TRANSFORM = ("basis", "mean", "spread")
_NOT_LOGITS = ("labels", "index")


@dataclass(frozen=True)
class Figure:
    """What one measurement gave: a line or more for people, a record for the file, and whether a promise broke."""

    text: str
    record: Mapping[str, Any] = field(default_factory=dict)
    broken: bool = False


@dataclass(frozen=True)
class Made:
    """A store, how long its encoding took to choose and its blocks to write, in seconds."""

    path: Path
    choosing: float
    writing: float


def make_store(path: Path, logits: Logits, options: EncodingOptions, block: int = BLOCK) -> Made:
    """Write logits (rows, classes) into a new store, blocks side by side on all cores."""
    started = time.perf_counter()
    rows = choose(len(logits), sample_rows(*logits.shape), 0).numpy()
    choice = choose_encoding(options, Sample(torch.from_numpy(logits[rows]), len(logits)))
    chosen = time.perf_counter()
    writer = new_writer(path, choice, logits.shape, block)
    write_blocks(writer, writer.pending(), lambda _, number: (_rows(logits, writer, number), None))
    writer.finish()
    return Made(path, chosen - started, time.perf_counter() - chosen)


def new_writer(path: Path, choice: Choice, shape: tuple[int, ...], block: int = BLOCK) -> TeacherWriter:
    """A new store of one teacher, of whom nothing is known, and its writer."""
    samples, classes = shape
    block_rows, chunk_rows = block_shape(samples, classes, block)
    split = SplitContent(
        SplitRecord(SPLIT, samples, UNKNOWN), np.full(samples, -1, np.int64), np.arange(samples, dtype=np.int64)
    )
    record = TeacherRecord(
        name=TEACHER,
        model=UNKNOWN,
        weights=UNKNOWN,
        precision="float32",
        provenance="benchmark",
        encoding=choice.encoding,
        views=1,
        samples=samples,
        classes=classes,
        block_rows=block_rows,
        chunk_rows=chunk_rows,
        taus=TAUS,
    )
    root = StoreRecord(UNKNOWN, tuple(map(str, range(classes))), {"kind": UNKNOWN})
    [writer] = create_store(path, root, [split], [TeacherContent(SPLIT, record, choice.wholes)])
    return writer


def read_store(path: Path) -> Logits:
    """All rows of the clean view, opened afresh, blocks side by side on all cores."""
    reader = open_store(path).logits(TEACHER, SPLIT)
    decoded = np.empty((reader.samples, reader.classes), np.float32)

    def read(block: int) -> None:
        rows = reader.rows(block)
        decoded[rows.start : rows.stop] = reader.read(0, block)

    with single_threaded_pool(cores(), "read") as pool:
        list(pool.map(read, range(reader.blocks)))
    return decoded


def disk_bytes(store: Path) -> tuple[int, int]:
    """Bytes of all files of a store but labels and indices: without the transform, and of the transform alone."""
    sizes = {"rows": 0, "transform": 0}
    for file in store.rglob("*"):
        folders = file.relative_to(store).parts[:-1]
        if file.is_file() and not set(folders).intersection(_NOT_LOGITS):
            sizes["transform" if set(folders).intersection(_TRANSFORM) else "rows"] += file.stat().st_size
    return sizes["rows"], sizes["transform"]


def load_logits(path: Path, rows: int | None = None) -> Logits:
    """Float32 logits (rows, classes) of an ``.npz`` file."""
    with np.load(path) as archive:
        logits: Logits = archive["logits"].astype(np.float32)
    return logits[:rows]


def best_rate(rows: int, work: Callable[[], object], rounds: int = 3) -> float:
    """Rows a second of the fastest of some rounds."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return rows / min(seconds)


def _rows(logits: Logits, writer: TeacherWriter, block: int) -> Logits:
    """A block's logits."""
    rows = writer.rows(block)
    return logits[rows.start : rows.stop]
