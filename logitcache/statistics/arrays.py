"""The store as Dask arrays: float32 (views, samples, classes), one task a block, nothing read before it is computed.

A block is one view of ``block_rows`` consecutive samples, so its Dask chunk is ``(1, block_rows, classes)`` and
reading one chunk reads one shard of the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from logitcache.records import rows_of_block

__all__ = ["MOST_TASKS", "LogitReader", "LogitStore", "array", "task_blocks"]

MOST_TASKS = 4096
"""Tasks that measure blocks of one teacher in one split; where there are more blocks, a task measures several, one
after another. Dask holds a few kilobytes of each task from the first to the last."""

# Dask's own function has no types.
_map_blocks: Callable[..., da.Array] = da.map_blocks


class LogitReader(Protocol):
    """What statistics need of one teacher's logits in one split."""

    @property
    def views(self) -> int:
        """Number of views; view 0 is the clean one."""

    @property
    def samples(self) -> int:
        """Rows of the split."""

    @property
    def classes(self) -> int:
        """Logits a row."""

    @property
    def block_rows(self) -> int:
        """Rows of every block but the last, which may have fewer."""

    @property
    def blocks(self) -> int:
        """Blocks a view."""

    def read(self, view: int, block: int) -> NDArray[np.float32]:
        """The logits (rows, classes) of one block; ``MissingError`` where it was never committed."""


class LogitStore(Protocol):
    """What statistics need of a store."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits; empty where nobody named them."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""

    def teachers(self, split: str) -> tuple[str, ...]:
        """Names of the teachers that are cached for a split."""

    def labels(self, split: str) -> NDArray[np.int64]:
        """The true class of every row (samples,); -1 where nobody knows it."""

    def logits(self, teacher: str, split: str) -> LogitReader:
        """The reader of one teacher's logits in one split."""


def array(store: LogitStore, teacher: str, split: str = "train") -> da.Array:
    """The logits of one teacher in one split, lazily: float32 (views, samples, classes).

    Computing a chunk reads its block; ``MissingError`` and ``DamageError`` of the reader come through.
    """
    reader = store.logits(teacher, split)
    rows = tuple(len(rows_of_block(block, reader.block_rows, reader.samples)) for block in range(reader.blocks))
    return _map_blocks(
        _read,
        reader=reader,
        chunks=((1,) * reader.views, rows, (reader.classes,)),
        dtype=np.float32,
        meta=np.empty((0, 0, 0), dtype=np.float32),
    )


def task_blocks(blocks: int) -> list[range]:
    """The blocks of each task that measures them: one, or where there are very many, as many in a row."""
    size = max(1, -(-blocks // MOST_TASKS))
    return [range(first, min(first + size, blocks)) for first in range(0, blocks, size)]


def _read(reader: LogitReader, block_id: tuple[int, ...]) -> NDArray[Any]:
    """One chunk (1, rows, classes); Dask passes its position in the grid of chunks as ``block_id``."""
    view, block, _ = block_id
    return reader.read(view, block)[np.newaxis]
