"""How far an encoded store is from a lossless one of the same teacher: this one encoded, the other one lossless.

The same numbers that the store measures when it is written (:mod:`logitcache.store.encodings.fidelity`), from outside
and at any temperature, and the quantiles of the rows' KL(lossless || encoded). Those come from bins of fixed edges, so
that blocks merge exactly: a quantile is the upper edge of its bin, 0 to 9.1 % above the true one (2**(1/8) - 1);
below 1e-12 nats, which is beneath float32's digits, it is 1e-12, above 100 it is the largest value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from logitcache.errors import InputError
from logitcache.statistics.block import Block
from logitcache.statistics.measure import About, Tally, variable
from logitcache.statistics.sums import add, by_parts, checked_taus, count, percent, ratio, total_of
from logitcache.store.encodings.fidelity import TAUS, of_rows
from logitcache.store.encodings.kl import as_tensor, kl_rows

__all__ = ["EDGES", "QUANTILES", "EncodingFidelity"]

QUANTILES = (0.5, 0.9, 0.99, 0.999)

EDGES: NDArray[np.float64] = 1e-12 * 2.0 ** (np.arange(373) / 8)
"""Upper edges of the bins of KL, nats; the last bin, beyond them, has none."""

_LARGEST = ("largest_error", "largest_range", "largest_shift", "kl_largest")


@dataclass(frozen=True)
class EncodingFidelity:
    """The measure ``fidelity``."""

    taus: tuple[float, ...] = TAUS
    name: str = "fidelity"
    needs: frozenset[str] = frozenset({"other"})

    def __post_init__(self) -> None:
        checked_taus(self.taus)

    def tally(self, block: Block) -> Tally:
        """Sums and extremes over the rows of a block."""
        return by_parts(block, self._part, self.merge)

    def merge(self, a: Tally, b: Tally) -> Tally:
        """Sums and extremes over the rows of both."""
        return add(a, b, largest=_LARGEST)

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """By temperature and quantile."""
        rows, known = total["rows"], total["known"]
        quantiles = np.array([_quantiles(counts, total["kl_largest"][n]) for n, counts in enumerate(total["kl_bins"])])
        tau = ("tau",)
        variables = {
            "rows": variable((), rows, "1", "Rows that were compared"),
            "kl_mean": variable(tau, ratio(total["kl"], rows), "nats", "Mean KL(lossless || encoded)"),
            "kl_largest": variable(tau, total["kl_largest"], "nats", "Largest KL of any row"),
            "kl_quantile": variable(("tau", "quantile"), quantiles, "nats", "Quantile of the rows' KL"),
            "rmse": variable((), np.sqrt(ratio(total["squares"], total["values"])), "logits", "Root mean square error"),
            "largest_error": variable((), total["largest_error"], "logits", "Largest error of a logit"),
            "largest_range": variable((), total["largest_range"], "logits", "Largest range of the errors of a row"),
            "largest_shift": variable((), total["largest_shift"], "logits", "Largest mean error of a row"),
            "top1_kept": variable(
                (), percent(total["top1_kept"], rows), "percent", "Rows that keep their first answer"
            ),
            "accuracy": variable((), percent(total["right"], known), "percent", "Accuracy as encoded"),
            "accuracy_lossless": variable((), percent(total["other_right"], known), "percent", "Accuracy as lossless"),
        }
        attributes = {"lossless": about.other}
        return xr.Dataset(variables, {"tau": list(self.taus), "quantile": list(QUANTILES)}, attributes)

    def _part(self, part: Block) -> dict[str, NDArray[Any]]:
        """The same for few rows."""
        if part.other is None:
            raise InputError("measure fidelity needs the lossless logits; name them by --against")
        lossless, encoded = as_tensor(part.other.logits), as_tensor(part.logits)
        error = encoded - lossless
        kl = kl_rows(lossless, error, self.taus)
        found = of_rows(lossless, encoded, error, self.taus, kl)
        places = np.searchsorted(EDGES, kl.numpy().astype(np.float64))
        return {
            "rows": count(found.rows),
            "values": count(found.values),
            "known": count(part.known.sum()),
            "right": count((part.top == part.labels)[part.known].sum()),
            "other_right": count((part.other.top == part.labels)[part.known].sum()),
            "top1_kept": count(found.top1_kept),
            "squares": total_of(found.squared_error),
            "largest_error": total_of(found.largest_error),
            "largest_range": total_of(found.largest_range),
            "largest_shift": total_of(found.largest_shift),
            "kl": np.array(found.kl_sum),
            "kl_largest": np.array(found.kl_largest),
            "kl_bins": np.stack([np.bincount(row, minlength=len(EDGES) + 1).astype(np.int64) for row in places]),
        }


def _quantiles(counts: NDArray[np.int64], largest: float) -> list[float]:
    """The upper edge of the bin in which each quantile lies, no more than the largest value; counts (bins,)."""
    cumulated = counts.cumsum()
    if not cumulated[-1]:
        return [np.nan] * len(QUANTILES)
    edges = np.append(EDGES, np.inf)
    found = (edges[np.searchsorted(cumulated, q * cumulated[-1])] for q in QUANTILES)
    return [max(float(min(edge, largest)), float(EDGES[0])) for edge in found]
