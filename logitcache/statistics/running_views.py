"""What is kept of the views of the same rows while one goes by after another: arithmetic of the measure ``views``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logitcache.statistics.block import PART_BYTES, Block
from logitcache.statistics.divergence import probabilities
from logitcache.statistics.sums import count, total_of

__all__ = ["Answers", "RunningMean"]

_LEAST = -1.0 + 2.0**-50
"""What stands for -1, where 0 log 0 would not be a number."""


class Answers:
    """The first answers of the views, counted for each row."""

    def __init__(self, clean: Block) -> None:
        rows = np.arange(clean.rows)
        self.labels, self._clean = clean.labels, clean.top
        self._known = clean.known
        self._counts = np.zeros((clean.rows, clean.classes), dtype=np.uint16)
        self._counts[rows, clean.top] = 1
        self._agreed, self._fresh, self._right = [clean.rows], [clean.rows], [self._correct(clean)]

    def add(self, block: Block) -> None:
        """Count the next view's."""
        rows = np.arange(block.rows)
        self._agreed.append(int((block.top == self._clean).sum()))
        self._fresh.append(int((self._counts[rows, block.top] == 0).sum()))
        self._right.append(self._correct(block))
        self._counts[rows, block.top] += 1

    def sums(self) -> dict[str, NDArray[np.int64]]:
        """Counts over rows; by view where they are of views, ``class_rows`` by true class."""
        most = self._counts.argmax(axis=1)
        votes = np.take_along_axis(self._counts, most[:, None], axis=1)[:, 0].astype(np.int64)
        # squares of counts up to 65535 do not fit their own type
        pairs = sum(int(np.square(part.astype(np.int64)).sum() - part.sum(dtype=np.int64)) for part in self._parts())
        return {
            "rows": count(len(most)),
            "known": count(self._known.sum()),
            "agreed": np.array(self._agreed, dtype=np.int64),
            "fresh": np.array(self._fresh, dtype=np.int64),
            "right": np.array(self._right, dtype=np.int64),
            "vote_right": count((most == self.labels)[self._known].sum()),
            "votes": count(votes.sum()),
            "pairs": count(pairs),
            "answers": count(np.count_nonzero(self._counts)),
            "class_rows": np.bincount(self.labels[self._known], minlength=self._counts.shape[1]).astype(np.int64),
        }

    def _parts(self) -> Iterator[NDArray[np.uint16]]:
        """The counts in runs of rows."""
        step = max(1, PART_BYTES // self._counts.shape[1])
        for start in range(0, len(self._counts), step):
            yield self._counts[start : start + step]

    def _correct(self, block: Block) -> int:
        """Rows whose first answer is the true class."""
        return int((block.top == self.labels)[self._known].sum())


class RunningMean:
    """The mean of the probabilities so far (rows, classes), float32, and what the views added to each other."""

    def __init__(self, clean: Block, tau: float) -> None:
        self._tau, self._count = tau, 1
        self._mean = np.empty((clean.rows, clean.classes), dtype=np.float32)
        self._gains = [0.0]
        self._gained = np.zeros(clean.rows)
        self._by_row = np.zeros(clean.rows)
        self._by_logit = np.zeros(clean.classes)
        self._step = max(1, PART_BYTES // (4 * clean.classes))
        for rows in self._parts(clean.rows):
            self._mean[rows] = probabilities(clean.logits[rows], tau)[0]

    def add(self, block: Block) -> None:
        """Take in the next view."""
        self._count += 1
        gain = np.zeros(block.rows)
        for rows in self._parts(block.rows):
            gain[rows] = self._add_rows(block.logits[rows], rows)
        self._gains.append(float(gain.sum()))
        self._gained += gain

    def sums(self, labels: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Sums over rows: ``gain`` (views,), ``effective`` (), ``variance_logit`` and ``variance_class`` (classes,)."""
        known = labels >= 0
        by_class = np.bincount(labels[known], weights=self._by_row[known], minlength=len(self._by_logit))
        return {
            "gain": np.array(self._gains),
            "effective": total_of(np.exp(self._gained / self._count).sum()),
            "variance_logit": self._by_logit / self._count,
            "variance_class": by_class / self._count,
        }

    def _add_rows(self, logits: NDArray[np.float32], rows: slice) -> NDArray[np.float64]:
        """The same for some rows; returns what the view adds to each, nats (rows,)."""
        n, p = self._count, probabilities(logits, self._tau)[0].astype(np.float32).astype(np.float64)
        before = self._mean[rows].astype(np.float64)
        p -= before
        squares = np.square(p) * ((n - 1) / n)
        self._by_row[rows] += squares.sum(axis=1)
        self._by_logit += squares.sum(axis=0)
        p /= n
        before += p
        self._mean[rows] = before
        # p_n / m_n - 1; where both are 0 nothing is added
        x = np.divide((n - 1) * p, before, out=p, where=before > 0)
        terms = _phi(x)
        terms += (n - 1) * _phi(x / (1 - n))
        added: NDArray[np.float64] = np.einsum("rc,rc->r", before, terms)
        return added

    def _parts(self, rows: int) -> Iterator[slice]:
        """Runs of rows whose temporaries stay in a core's cache."""
        return (slice(start, start + self._step) for start in range(0, rows, self._step))


def _phi(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(1 + x) log(1 + x) - x`` for x >= -1."""
    bounded = np.maximum(x, _LEAST)
    terms: NDArray[np.float64] = np.log1p(bounded)
    terms *= bounded + 1.0
    terms -= x
    return terms
