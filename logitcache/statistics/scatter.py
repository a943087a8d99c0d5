"""Means and scatter of vectors by group, in tallies that merge: sums of squares around each group's own mean.

Merged as in Chan, Golub and LeVeque 1979, group by group, so nothing cancels where the scatter within groups is tiny
beside the distances between them (which is what neural collapse is about). Products of many rows are float32
(residuals from the group's mean in the block, rounded to float32, so the error is about 1e-6 of the scatter within
groups unless that is as narrow as float32 features themselves are rounded), sums of them float64.

The scatter matrix may be seen through a ``basis`` (features, m): ``S @ basis`` is what is then kept, which is all
that a randomised decomposition asks for and takes m / features of the work and the memory.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from logitcache.statistics.measure import Tally

__all__ = ["PART_ROWS", "between", "merge_scatter", "pooled", "scatter_of"]

Floats = NDArray[np.float64]

PART_ROWS = 4096
"""Rows of one float32 product, whose sum is then added in float64."""

_CACHED = 1 << 20  # bytes of float64 that stay in a core's cache


def scatter_of(values: NDArray[np.float32], groups: NDArray[np.int64], count: int, basis: Floats | None) -> Tally:
    """The tally of one block.

    Args:
        values: (rows, features).
        groups: (rows,) integers in [0, count).
        count: number of groups.
        basis: (features, m), None for the whole matrix.

    Returns:
        ``group_rows`` int64 (count,); ``group_mean`` float64 (count, features), 0 without rows; ``group_scatter``
        float64 (count,), sums of squared distances from the mean; ``scatter`` float64 (features, m), sum over all
        groups of the outer products of those distances, times the basis.
    """
    rows = np.bincount(groups, minlength=count).astype(np.int64)
    index, vectors = torch.from_numpy(np.ascontiguousarray(groups)), torch.from_numpy(np.ascontiguousarray(values))
    mean = _sums(vectors, index, count) / torch.from_numpy(np.maximum(rows, 1))[:, None]
    centre = mean.float()
    seen = None if basis is None else torch.from_numpy(basis.astype(np.float32))
    width = vectors.shape[1]
    squares = torch.zeros(count, dtype=torch.float64)
    scatter = torch.zeros((width, width if basis is None else basis.shape[1]), dtype=torch.float64)
    for part, places in zip(vectors.split(PART_ROWS), index.split(PART_ROWS), strict=True):
        residual = part - (centre[places] if count > 1 else centre)
        squares.index_add_(0, places, torch.linalg.vecdot(residual, residual).double())
        scatter += residual.T @ (residual if seen is None else residual @ seen)
    return {
        "group_rows": rows,
        "group_mean": mean.numpy(),
        "group_scatter": squares.numpy(),
        "scatter": scatter.numpy(),
    }


def _sums(vectors: torch.Tensor, index: torch.Tensor, count: int) -> torch.Tensor:
    """Sums of the vectors of each group, float64 (count, features)."""
    sums = torch.zeros((count, vectors.shape[1]), dtype=torch.float64)
    step = max(1, _CACHED // (8 * max(1, vectors.shape[1])))
    for part, places in zip(vectors.split(step), index.split(step), strict=True):
        if count == 1:
            sums += part.double().sum(dim=0)
        else:
            sums.index_add_(0, places, part.double())
    return sums


def merge_scatter(a: Tally, b: Tally, basis: Floats | None) -> dict[str, NDArray[np.int64] | Floats]:
    """The tally of the rows of both."""
    rows = a["group_rows"] + b["group_rows"]
    step = b["group_mean"] - a["group_mean"]
    share = b["group_rows"] / np.maximum(rows, 1)
    weight = a["group_rows"] * share
    met = np.flatnonzero(weight)
    steps = step[met]
    seen = steps if basis is None else steps @ basis
    return {
        "group_rows": rows,
        "group_mean": a["group_mean"] + step * share[:, None],
        "group_scatter": a["group_scatter"] + b["group_scatter"] + np.square(step).sum(axis=1) * weight,
        "scatter": a["scatter"] + b["scatter"] + (steps.T * weight[met]) @ seen,
    }


def between(total: Tally) -> float:
    """Mean squared distance, over all rows, of a row's group mean from the mean of all; NaN without rows."""
    rows = total["group_rows"]
    if not rows.sum():
        return float("nan")
    steps = total["group_mean"] - rows @ total["group_mean"] / rows.sum()
    return float(np.square(steps).sum(axis=1) @ rows / rows.sum())


def pooled(total: Tally, basis: Floats | None) -> tuple[Floats, Floats, float]:
    """Mean of all rows (features,), their covariance seen through the basis (features, m), and its whole trace."""
    rows = total["group_rows"]
    count = max(1, int(rows.sum()))
    mean = rows @ total["group_mean"] / count
    steps = total["group_mean"] - mean
    steps[rows == 0] = 0.0
    seen = steps if basis is None else steps @ basis
    covariance = (total["scatter"] + (steps.T * rows) @ seen) / count
    trace = (total["group_scatter"].sum() + np.square(steps).sum(axis=1) @ rows) / count
    return mean, covariance, float(trace)
