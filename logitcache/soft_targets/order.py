"""In which order a student sees samples: a function of (seed, epoch, position), nothing to remember.

``epoch_rows`` shuffles all rows at once. Where a view does not fit in memory, ``windowed_rows`` shuffles blocks,
joins neighbours in that order into windows that do fit, and shuffles inside each window, so that every decoded
block is needed in one window only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from logitcache.keyed import shuffled
from logitcache.records import rows_of_block

__all__ = ["epoch_rows", "epoch_view", "windowed_rows"]

_ROWS, _BLOCKS, _WINDOW = range(3)
"""Streams of draws, so that no two uses share a random number."""


def epoch_view(epoch: int, views: int) -> int:
    """The view that all samples show in an epoch: 0 without augmented views, else 1, 2, ..., views, 1, ..."""
    return 1 + epoch % views if views else 0


def epoch_rows(samples: int, seed: int, epoch: int) -> Tensor:
    """All rows in keyed random order, int64 (samples,)."""
    return shuffled(samples, seed, _ROWS, epoch)


def windowed_rows(samples: int, block_rows: int, window: int, seed: int, epoch: int) -> Tensor:
    """All rows, shuffled by blocks and inside windows of ``window`` blocks, int64 (samples,)."""
    blocks = -(-samples // block_rows)
    order = shuffled(blocks, seed, _BLOCKS, epoch).tolist()
    parts = []
    for start in range(0, blocks, window):
        ranges = [rows_of_block(block, block_rows, samples) for block in order[start : start + window]]
        rows = torch.cat([torch.arange(r.start, r.stop) for r in ranges])
        parts.append(rows[shuffled(len(rows), seed, _WINDOW, epoch, start)])
    return torch.cat(parts)
