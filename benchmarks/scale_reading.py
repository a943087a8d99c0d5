"""Shuffled epochs of a store that does not fit in memory: rows a second, and whether each row is the one asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from logitcache.data import Split
from logitcache.errors import CheckError
from logitcache.soft_targets import CachedStream, open_store
from logitcache.store.encodings.kl import kl_rows
from logitcache.teacher import Teacher
from logitcache.views import ViewOptions

__all__ = ["RowsSeen", "largest_kl", "read_epochs"]

_BATCH = 1024
_EVERY = 32
"""One batch of so many is compared with the teacher's logits of the same inputs."""
_TAUS = (1.0, 2.0, 4.0, 8.0)


class RowsSeen:
    """Which of so many rows an epoch has given."""

    def __init__(self, rows: int) -> None:
        self._seen = torch.zeros(rows, dtype=torch.bool)

    def add(self, rows: Tensor) -> None:
        """Rows of a batch, int64 (B,); :class:`CheckError` where one of them came before."""
        if bool(self._seen[rows].any()) or len(rows.unique()) < len(rows):
            raise CheckError(f"a row came twice in one epoch, in the batch that begins with row {int(rows[0])}")
        self._seen[rows] = True

    def finish(self) -> None:
        """:class:`CheckError` where a row is missing."""
        missing = torch.nonzero(~self._seen).flatten()
        if len(missing):
            raise CheckError(f"{len(missing)} rows never came in an epoch, the first of them row {int(missing[0])}")


def largest_kl(wanted: Tensor, read: Tensor) -> float:
    """The largest KL of logits (B, classes) that were read from those of the teacher, at four temperatures."""
    return float(kl_rows(wanted, read - wanted, _TAUS).max())


def read_epochs(
    path: Path, split: Split, views: ViewOptions, teacher: Teacher, *, epochs: int, memory: int, max_kl: float
) -> dict[str, Any]:
    """Read whole epochs in keyed order with inputs and logits, window by window; what is compared is not timed.

    Raises:
        CheckError: a row comes twice or never in an epoch, a view fits in memory, or logits are not within the promise
            of the teacher's for the inputs that came with them.
    """
    soft = open_store(path).soft_targets([teacher.name], split.name, memory=memory)
    if soft.window is None:
        raise CheckError(f"a view fits in {memory} bytes; this is to measure what does not")
    rows = torch.arange(len(split))  # in place of labels, so that each batch says which rows it has
    stream = CachedStream(split, soft, views, batch=_BATCH, labels=rows)
    seconds, worst, compared = 0.0, 0.0, 0
    for epoch in range(epochs):
        seen, started = RowsSeen(len(split)), time.perf_counter()
        stream.set_epoch(epoch)
        seconds += time.perf_counter() - started
        for step, (took, (inputs, batch, logits)) in enumerate(_timed(iter(stream))):
            seconds += took
            seen.add(batch)
            if step % _EVERY == 0:
                worst, compared = max(worst, largest_kl(teacher(inputs)[0], logits)), compared + len(batch)
        seen.finish()
    if not worst <= max_kl:
        raise CheckError(f"a row that was read has a KL of {worst:.3g} from the teacher's, promised is {max_kl:g}")
    return {
        "rows": epochs * len(split),
        "seconds": seconds,
        "epochs": epochs,
        "memory_bytes": memory,
        "block_rows": soft.window[0],
        "window_blocks": soft.window[1],
        "compared_rows": compared,
        "largest_kl": worst,
    }


def _timed(batches: Iterator[Any]) -> Iterator[tuple[float, Any]]:
    """Each batch with the seconds that it took."""
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield time.perf_counter() - started, batch
