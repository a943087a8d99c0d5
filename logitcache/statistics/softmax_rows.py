"""What one look at a block's logits gives for each row: the largest logits, and sums of softmax at every temperature.

With d = z - max z (so d <= 0) and e = exp(d / tau), the sums of a row at tau are

    S = sum_k e_k        E = sum_k e_k d_k / S        Q = sum_k e_k**2 / S**2

from which follow entropy log S - E / tau, largest probability 1 / S, NLL log S - d_y / tau, the slope of the NLL in
1 / tau, E - d_y, and the Brier score Q - 2 p_y + 1. No probabilities are kept.

e at tau is a power of e at a multiple of tau: at temperatures of which one is twice or five times another, few
exponentials are taken, and float32 still holds: an n-th power has n times the relative error, some 1e-6 at most.
Sums have a relative error below 1e-5 beside float64 (tests/statistics).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["LEADING", "SoftmaxRows", "powers_of", "softmax_rows"]

LEADING = 50
"""How many of a row's largest logits are found."""

_PART_BYTES = 1 << 19  # rows that are worked on together: they and their exponentials stay in a core's cache
_LARGEST_POWER = 6
_FOLDS = 3  # groups of 2**3 logits whose maxima bound the leading ones from below

Floats = NDArray[np.float32]
Sums = NDArray[np.float64]


@dataclass(frozen=True)
class SoftmaxRows:
    """What was found, by row; ``taus`` ascend, 1 is among them. n = min(LEADING, K)."""

    taus: tuple[float, ...]
    leading: Floats
    """(rows, n) the largest logits, descending."""
    beyond: Sums
    """(rows,) sum of exp(z - max z) over all other logits, exact however small it is."""
    log_total: Sums
    """(taus, rows) log S."""
    below: Sums
    """(taus, rows) E, the mean of d under softmax, 0 or less."""
    square: Sums
    """(taus, rows) Q, the sum of squared probabilities."""

    def at(self, tau: float) -> int:
        """The place of a temperature in ``taus``."""
        return self.taus.index(tau)


def powers_of(taus: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """How to get each of descending temperatures: (place of an earlier one, power), or (-1, 1) for an exponential."""
    plan = []
    for place, tau in enumerate(taus):
        ratios = [(round(earlier / tau), -k) for k, earlier in enumerate(taus[:place]) if _whole(earlier / tau)]
        power, back = min(ratios, default=(1, 1))
        plan.append((-back, power))
    return tuple(plan)


def _whole(ratio: float) -> bool:
    """Whether a power is worth taking."""
    return round(ratio) <= _LARGEST_POWER and abs(ratio - round(ratio)) < 1e-9 * ratio


def softmax_rows(logits: Floats, taus: Sequence[float]) -> SoftmaxRows:
    """Look at logits (rows, K), finite, at temperatures above 0."""
    rows, classes = logits.shape
    falling = sorted({*map(float, taus), 1.0}, reverse=True)
    look = _Look(falling, classes, max(1, min(rows, _PART_BYTES // (4 * classes))))
    leading = np.empty((rows, min(LEADING, classes)), np.float32)
    beyond, sums = np.empty(rows), np.empty((3, len(falling), rows), np.float32)
    for start in range(0, rows, look.step):
        part = slice(start, min(start + look.step, rows))
        leading[part], beyond[part] = look.look(logits[part], sums[:, :, part])
    total, below, square = sums[:, ::-1].astype(np.float64)
    return SoftmaxRows(tuple(falling[::-1]), leading, beyond, np.log(total), below / total, square / total**2)


class _Look:
    """Looks at parts of at most ``step`` rows, always in the same memory."""

    def __init__(self, falling: Sequence[float], classes: int, step: int) -> None:
        self.step, self._falling, self._classes = step, falling, classes
        self._plan = powers_of(falling)
        # sum of e**2 at a temperature is that of e at half of it
        self._squares = [(k, 2) in self._plan[k + 1 : k + 2] for k in range(len(falling))]
        self._space = np.empty((len(falling) + 1, step, classes), np.float32)
        self._folds = [np.empty((step, classes >> fold), np.float32) for fold in range(1, _FOLDS + 1)]
        self._reached = np.empty((step, classes), np.bool_)
        self._ones = np.ones(classes, np.float32)
        self._one = falling.index(1.0)

    def look(self, logits: Floats, sums: Floats) -> tuple[Floats, Sums]:
        """The leading logits and what is beyond; fills in sums (S, S E, S**2 Q; taus descending; rows)."""
        largest = logits.max(axis=1, keepdims=True)
        d, *exponentials = self._space[:, : len(logits)]
        torch.sub(torch.from_numpy(logits), torch.from_numpy(largest), out=torch.from_numpy(d))
        for k, (tau, e, (earlier, power)) in enumerate(zip(self._falling, exponentials, self._plan, strict=True)):
            if earlier < 0:
                np.multiply(d, np.float32(1 / tau), out=e)
                torch.from_numpy(e).exp_()
            else:
                _power(exponentials[earlier], power, e)
            np.vecdot(e, self._ones, out=sums[0, k])
            np.vecdot(e, d, out=sums[1, k])
            if not self._squares[k]:
                np.vecdot(e, e, out=sums[2, k])
            if k and self._squares[k - 1]:
                sums[2, k - 1] = sums[0, k]
        return self._leading(logits, largest, d, exponentials[self._one])

    def _leading(self, logits: Floats, largest: Floats, d: Floats, e: Floats) -> tuple[Floats, Sums]:
        """The largest of each row in descending order, and the sum of ``e``, which is used up, over the others.

        The n-th largest maximum of disjoint groups of a row is no larger than its n-th largest entry, so all that is
        wanted is among the entries that reach it; only few others are.
        """
        count = min(LEADING, self._classes)
        if self._classes < count << (_FOLDS + 1):
            falling = np.sort(logits, axis=1)[:, ::-1]
            return falling[:, :count], np.exp(falling[:, count:] - largest).sum(axis=1, dtype=np.float64)
        groups = d
        for fold in self._folds:
            half = fold.shape[1]
            groups = np.maximum(groups[:, :half], groups[:, half : 2 * half], out=fold[: len(d)])
        place = groups.shape[1] - count
        bound = np.partition(groups, place, axis=1)[:, place, None]
        places = np.flatnonzero(np.greater_equal(d, bound, out=self._reached[: len(d)]))
        wide = _rows_of(places, logits)
        e.reshape(-1)[places] = 0
        beyond = np.vecdot(e, self._ones) + np.exp(wide[:, count:] - largest).sum(axis=1, dtype=np.float64)
        return wide[:, :count], beyond


def _rows_of(places: NDArray[np.int64], values: Floats) -> Floats:
    """Values at places, which count row by row, as rows in descending order that are filled up with -inf."""
    rows, columns = values.shape
    ends = np.searchsorted(places, np.arange(1, rows + 1) * columns)
    counts = np.diff(ends, prepend=0)
    width = int(counts.max())
    shift = np.arange(rows) * width - (ends - counts)
    wide = np.full((rows, width), -np.inf, np.float32)
    wide.reshape(-1)[np.arange(len(places)) + np.repeat(shift, counts)] = values.reshape(-1)[places]
    wide.sort(axis=1)
    return wide[:, ::-1]


def _power(base: Floats, power: int, out: Floats) -> None:
    """``base ** power`` for a power of 1 to 6."""
    if power == 1:
        np.copyto(out, base)
        return
    np.multiply(base, base, out=out)
    if power in {3, 6}:
        np.multiply(out, base, out=out)
    if power in {4, 5, 6}:
        np.multiply(out, out, out=out)
    if power == 5:
        np.multiply(out, base, out=out)
