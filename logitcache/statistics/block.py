"""What measures look at: one view of consecutive rows of one teacher and split, decoded once.

What several measures derive from the same logits is made once and kept with the block. Elementwise work is float32
as the logits are; sums over rows belong to the measures and are float64. A block is at most ``BLOCK_BYTES`` of
logits, so what it keeps stays small too; :meth:`Block.parts` cuts it further, so that temporaries stay in a core's
cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from logitcache.statistics.softmax_rows import SoftmaxRows, softmax_rows

__all__ = ["BLOCK_BYTES", "PART_BYTES", "Block", "log_softmax"]

BLOCK_BYTES = 48 << 20
"""A block has no more bytes of logits, one row at least; longer blocks of a store are measured in several runs."""

PART_BYTES = 1 << 20
"""What a part of a block has at most: it and a few temporaries of its size stay in a core's second-level cache."""

Floats = NDArray[np.float32]


def log_softmax(logits: Floats, tau: float) -> Floats:
    """The log of softmax(logits / tau) over the last axis, float32, stable for finite logits of any size."""
    below = torch.from_numpy(np.ascontiguousarray(logits - logits.max(axis=-1, keepdims=True)))
    below *= 1.0 / tau
    log_p: Floats = torch.log_softmax(below, dim=-1).numpy()
    return log_p


def _bounded(labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Labels, -1 for what is no class."""
    return np.where((labels >= 0) & (labels < classes), labels, -1)


class Block:
    """One view of consecutive rows of one teacher and split.

    Nothing in it may be changed by a measure: the others see the same arrays.

    Args:
        logits: float32 (rows, classes), finite.
        labels: int64 (rows,), the true class; anything outside [0, classes) says that nobody knows it.
        view: number of the view; 0 is the clean one.
        first: the row number, in the split, of the first row.
        features: float32 (rows, features), given where a measure needs them.
        other: the same rows of another teacher, maybe of another store; given where a measure compares.
        taus: temperatures asked for, at which ``softmax`` looks.
        given: int64 (rows,), labels that may be wrong, where they are others than ``labels``; outside as there.
    """

    def __init__(
        self,
        logits: Floats,
        labels: NDArray[np.int64],
        *,
        view: int = 0,
        first: int = 0,
        features: Floats | None = None,
        other: Block | None = None,
        taus: tuple[float, ...] = (1.0,),
        given: NDArray[np.int64] | None = None,
    ) -> None:
        self.logits, self.view, self.first = logits, view, first
        self.features, self.other, self.taus = features, other, taus
        self.labels = _bounded(labels, self.classes)
        self.given = self.labels if given is None else _bounded(given, self.classes)
        self._log_p: dict[float, Floats] = {}
        self._p: dict[float, Floats] = {}

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.logits)

    @property
    def classes(self) -> int:
        """Logits a row."""
        return int(self.logits.shape[1])

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Whether the true class is known, bool (rows,)."""
        return self.labels >= 0

    @cached_property
    def top(self) -> NDArray[np.int64]:
        """The class of the largest logit, the first of equal ones, int64 (rows,)."""
        top: NDArray[np.int64] = self.logits.argmax(axis=1)
        return top

    @cached_property
    def largest(self) -> Floats:
        """The largest logit, float32 (rows,)."""
        return np.take_along_axis(self.logits, self.top[:, None], axis=1)[:, 0]

    @cached_property
    def own(self) -> Floats:
        """The logit of the true class, float32 (rows,); NaN where nobody knows it."""
        own = np.take_along_axis(self.logits, np.maximum(self.labels, 0)[:, None], axis=1)[:, 0]
        return np.where(self.known, own, np.float32(np.nan))

    def log_p(self, tau: float) -> Floats:
        """Log softmax(logits / tau), float32 (rows, classes), kept."""
        if tau not in self._log_p:
            self._log_p[tau] = log_softmax(self.logits, tau)
        return self._log_p[tau]

    def p(self, tau: float) -> Floats:
        """Softmax(logits / tau), float32 (rows, classes), kept."""
        if tau not in self._p:
            self._p[tau] = np.exp(self.log_p(tau))
        return self._p[tau]

    @cached_property
    def softmax(self) -> SoftmaxRows:
        """The largest logits of each row and the sums of softmax at ``taus``."""
        return softmax_rows(self.logits, self.taus)

    @cached_property
    def margin(self) -> Floats:
        """The logit of the true class above the largest other, float32 (rows,); NaN where nobody knows it."""
        leading = self.softmax.leading
        second = leading[:, 1] if self.classes > 1 else np.full(self.rows, np.nan, np.float32)
        margin: Floats = self.own - np.where(self.top == self.labels, second, leading[:, 0])
        return margin

    def cut(self, rows: slice) -> Block:
        """Some of the rows as a block of their own, which shares the arrays given and keeps its own derived ones."""
        start = rows.indices(self.rows)[0]
        return Block(
            self.logits[rows],
            self.labels[rows],
            view=self.view,
            first=self.first + start,
            features=None if self.features is None else self.features[rows],
            other=None if self.other is None else self.other.cut(rows),
            taus=self.taus,
            given=None if self.given is self.labels else self.given[rows],
        )

    def parts(self, size: int = PART_BYTES) -> Iterator[Block]:
        """The block in runs of rows with at most ``size`` bytes of logits, in order; derived arrays go with each."""
        step = max(1, size // (4 * self.classes))
        for start in range(0, self.rows, step):
            yield self.cut(slice(start, start + step))
