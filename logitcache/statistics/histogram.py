"""Histograms and quantiles from one fixed grid that every float32 number falls on: the upper 16 of its 32 bits.

A bin of the grid holds the numbers with the same sign, exponent and first 7 bits of the mantissa: it is at most 1/128
of its numbers wide, whatever their size, so no range has to be known before, and counts merge exactly. Quantiles are
interpolated within a bin and so off by at most 1/128 of their size. The histogram has bins of one width, a power of
two, of which every edge is an edge of the grid too: its counts are exact. A number on an edge belongs to the bin that
is further from zero.
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from logitcache.statistics.block import Block
from logitcache.statistics.measure import About, Need, Tally, variable

__all__ = ["QUANTILES", "Histogram", "edges", "grid_counts", "quantiles", "uniform_bins"]

QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
BINS = 128
"""Bins of the histogram."""

GRID = 1 << 16
_AT_ONCE = 4 << 20  # bytes of logits

WHAT = {
    "all": "all logits",
    "largest": "the largest logit of a row",
    "own": "the logit of the true class",
    "margin": "the logit of the true class above the largest other",
}


class Histogram:
    """How logits are distributed; dimensions bin and quantile.

    Variables, of all logits, of each row's largest, and where labels are known of the true class's own and its margin
    above the largest other: ``<what>_quantile`` (quantile), ``<what>_count``, ``<what>_density``, ``<what>_left`` and
    ``<what>_right`` (bin), with <what> one of all, largest, own, margin.
    """

    name = "histogram"
    needs: frozenset[Need] = frozenset()

    def tally(self, block: Block) -> Tally:
        """Counts on the grid."""
        known = block.known
        every = np.zeros(GRID, np.int64)
        for part in block.parts(_AT_ONCE):
            every += grid_counts(part.logits)
        rows = {"largest": block.largest, "own": block.own[known], "margin": block.margin[known]}
        return {"all": every, **{name: grid_counts(values) for name, values in rows.items()}}

    def merge(self, a: Tally, b: Tally) -> Tally:
        """Counts add."""
        return {name: a[name] + b[name] for name in a}

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """See the class."""
        del about
        variables: dict[str, xr.Variable] = {}
        for name, what in WHAT.items():
            left, right, count = uniform_bins(total[name])
            with np.errstate(invalid="ignore", divide="ignore"):
                density = count / count.sum() / (right - left)
            variables |= {
                f"{name}_quantile": variable(("quantile",), quantiles(total[name]), "logits", f"quantile of {what}"),
                f"{name}_left": variable(("bin",), left, "logits", f"lower edge of a bin of {what}"),
                f"{name}_right": variable(("bin",), right, "logits", f"upper edge of a bin of {what}"),
                f"{name}_count": variable(("bin",), count, "1", f"count of {what} in a bin"),
                f"{name}_density": variable(("bin",), density, "1/logits", f"density of {what} in a bin"),
            }
        return xr.Dataset(variables, coords={"quantile": list(QUANTILES), "bin": np.arange(BINS)})


def grid_counts(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """How many numbers are in each bin of the grid, in ascending order, int64 (GRID,)."""
    bits = np.ascontiguousarray(values).reshape(-1).view(np.int32) >> 16  # the sign comes along
    bits += GRID // 2
    counts = torch.bincount(torch.from_numpy(bits), minlength=GRID).numpy()
    counts[: GRID // 2] = counts[: GRID // 2][::-1]  # below zero, larger bits are smaller numbers
    return counts


def edges() -> NDArray[np.float64]:
    """Ascending edges of the grid's bins (GRID + 1,), none beyond float32."""
    bits = np.arange(GRID // 2 + 1, dtype=np.uint32) << 16
    with np.errstate(invalid="ignore"):
        up = bits[:-1].view(np.float32).astype(np.float64)
    most = float(np.finfo(np.float32).max)
    up = np.where(np.isfinite(up), up, most)
    return np.concatenate([[-most], -up[:0:-1], up, [most]])


def quantiles(counts: NDArray[np.int64], shares: tuple[float, ...] = QUANTILES) -> NDArray[np.float64]:
    """Quantiles by linear interpolation within bins; NaN of nothing."""
    total = int(counts.sum())
    if not total:
        return np.full(len(shares), np.nan)
    there = np.flatnonzero(counts)
    grid = edges()
    left, right, upto = grid[there], grid[there + 1], counts[there].cumsum()
    wanted = np.asarray(shares) * total
    place = np.minimum(np.searchsorted(upto, wanted), len(there) - 1)
    inside = (wanted - (upto - counts[there])[place]) / counts[there][place]
    return left[place] + inside * (right - left)[place]


def uniform_bins(
    counts: NDArray[np.int64], bins: int = BINS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Left edges, right edges and exact counts of ``bins`` bins of one width, a power of two; NaN edges of nothing."""
    there = np.flatnonzero(counts)
    if not len(there):
        return np.full(bins, np.nan), np.full(bins, np.nan), np.zeros(bins, np.int64)
    grid = edges()
    low, high = grid[there[0]], grid[there[-1] + 1]
    width = 2.0 ** np.ceil(np.log2(max((high - low) / (bins - 1), max(-low, high) / 256, 2.0**-100)))
    start = np.floor(low / width) * width
    left = start + width * np.arange(bins)
    middle = np.clip((grid[there] + grid[there + 1]) / 2, low, high)
    place = np.floor((middle - start) / width).astype(np.int64)
    found = np.bincount(place, counts[there], minlength=bins).astype(np.int64)
    return left, left + width, found
