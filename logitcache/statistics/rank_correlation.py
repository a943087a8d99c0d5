"""Rank correlation of the rows of two arrays: Spearman's rho, with the mean rank for equal values.

Stored logits are multiples of a step, so equal values in a row are common and must not be ranked by their places.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["mean_ranks", "spearman_rows"]


def mean_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """The rank of each value in its row, from 0 for the smallest; equal values share the mean of their ranks.

    Args:
        values: (rows, columns), finite.
    """
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    places = np.arange(values.shape[1])
    fresh = np.ones(values.shape, dtype=np.bool_)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ranks = np.empty(values.shape, dtype=np.float64)
    if fresh.all():
        np.put_along_axis(ranks, order, np.broadcast_to(places.astype(np.float64), values.shape), axis=1)
        return ranks
    first = np.maximum.accumulate(np.where(fresh, places, 0), axis=1)
    final = np.ones(values.shape, dtype=np.bool_)
    final[:, :-1] = fresh[:, 1:]
    last = np.minimum.accumulate(np.where(final, places, places[-1])[:, ::-1], axis=1)[:, ::-1]
    np.put_along_axis(ranks, order, (first + last) / 2, axis=1)
    return ranks


def spearman_rows(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Spearman's rho of each pair of rows, float64 (rows,): the correlation of their mean ranks.

    NaN where all values of a row are equal, which have no order.
    """
    middle = (left.shape[1] - 1) / 2
    a, b = mean_ranks(left) - middle, mean_ranks(right) - middle
    together = np.einsum("rc,rc->r", a, b)
    scale = np.sqrt(np.einsum("rc,rc->r", a, a) * np.einsum("rc,rc->r", b, b))
    rho: NDArray[np.float64] = np.divide(together, scale, out=np.full(len(a), np.nan), where=scale > 0)
    return rho
