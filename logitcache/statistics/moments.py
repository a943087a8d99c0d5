"""Moments of logits: of each logit over all rows, of all logits together, and of the rows' means and norms.

Elementwise work is float32 about a shift near the mean of each logit, sums over few rows are float32 and all further
ones float64: relative errors stay below 1e-5 beside float64.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from logitcache.statistics.block import Block
from logitcache.statistics.central import Central, central_of
from logitcache.statistics.measure import About, Need, Tally, variable

__all__ = ["Moments"]

_SHIFT_ROWS = 64

WORDS = {
    "mean": ("logits", "mean"),
    "variance": ("logits²", "variance of the population"),
    "minimum": ("logits", "smallest value"),
    "maximum": ("logits", "largest value"),
    "skewness": ("1", "skewness"),
    "kurtosis": ("1", "excess kurtosis"),
}
"""Units and names of what :meth:`Central.described` gives."""


class Moments:
    """``mean``, ``variance``, ``skewness``, ``kurtosis``, ``minimum``, ``maximum`` of logits.

    Variables: those names with dimension logit; with ``overall_`` before them of all logits together; with
    ``row_mean_`` and ``row_norm_`` of each row's mean and Euclidean norm; ``samples``.
    """

    name = "moments"
    needs: frozenset[Need] = frozenset()

    def tally(self, block: Block) -> Tally:
        """Central moments by logit and of the two numbers of each row."""
        row_mean, row_norm = np.empty(block.rows), np.empty(block.rows)
        columns = _columns(block, row_mean, row_norm)
        rows = central_of(row_mean).beside(central_of(row_norm))
        return {**columns.to_tally("logit"), **rows.to_tally("row")}

    def merge(self, a: Tally, b: Tally) -> Tally:
        """Pébay's formulas."""
        merged = (Central.from_tally(a, name).merge(Central.from_tally(b, name)) for name in ("logit", "row"))
        columns, rows = merged
        return {**columns.to_tally("logit"), **rows.to_tally("row")}

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """See the class."""
        columns, rows = Central.from_tally(total, "logit"), Central.from_tally(total, "row")
        variables = described(columns, ("logit",), "", "of a logit")
        variables |= described(columns.joined(), (), "overall_", "of all logits")
        for place, (name, what) in enumerate((("mean", "means"), ("norm", "Euclidean norms"))):
            one = rows.map(lambda values, place=place: values[place])
            variables |= described(one, (), f"row_{name}_", f"of the rows' {what}")
        variables["samples"] = variable((), np.int64(rows.count[0]), "1", "rows that were measured")
        return xr.Dataset(variables, coords={"logit": list(about.classes)})


def described(central: Central, dims: tuple[str, ...], before: str, of: str) -> dict[str, xr.Variable]:
    """Variables of moments."""
    found = central.described()
    return {before + name: variable(dims, found[name], units, f"{long} {of}") for name, (units, long) in WORDS.items()}


def _columns(block: Block, row_mean: NDArray[np.float64], row_norm: NDArray[np.float64]) -> Central:
    """The moments of each logit; fills in each row's mean and norm on the way."""
    shift = block.logits[:: max(1, block.rows // _SHIFT_ROWS)].mean(axis=0, dtype=np.float64).astype(np.float32)
    powers = np.zeros((4, block.classes))
    low, high = np.full(block.classes, np.inf), np.full(block.classes, -np.inf)
    ones = np.ones(block.classes, np.float32)
    for part in block.parts(1 << 18):
        z, place = part.logits, slice(part.first - block.first, part.first - block.first + part.rows)
        row_mean[place] = np.vecdot(z, ones)
        row_norm[place] = np.vecdot(z, z)
        np.minimum(low, z.min(axis=0), out=low)
        np.maximum(high, z.max(axis=0), out=high)
        off = z - shift
        square = off * off
        powers[0] += off.sum(axis=0)
        powers[1] += square.sum(axis=0)
        powers[2] += np.einsum("ij,ij->j", square, off)
        powers[3] += np.einsum("ij,ij->j", square, square)
    row_mean /= block.classes
    np.sqrt(row_norm, out=row_norm)
    return _about_mean(powers / block.rows, shift.astype(np.float64), block.rows, low, high)


def _about_mean(
    raw: NDArray[np.float64], shift: NDArray[np.float64], rows: int, low: NDArray[np.float64], high: NDArray[np.float64]
) -> Central:
    """From mean powers of deviations from a shift to moments about the mean."""
    off, square, third, fourth = raw
    variance = np.maximum(square - off**2, 0)
    m3 = third - 3 * off * square + 2 * off**3
    m4 = np.maximum(fourth - 4 * off * third + 6 * off**2 * square - 3 * off**4, 0)
    return Central(np.full(len(off), float(rows)), shift + off, rows * variance, rows * m3, rows * m4, low, high)
