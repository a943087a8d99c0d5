"""What the k largest logits of a row hold, and how much of the signal a store of them alone would keep.

A store of top k keeps the log-probabilities of the k largest at tau = 1 and the logarithm of what is left over, which
a reader spreads evenly (encoding ``topk``). With p the softmax at tau of the logits and q that of such a row, the
signal kept is 1 - sum KL(p || q) / sum KL(p || uniform), over all rows: 1 where nothing is lost, 0 where students might
as well learn from an even distribution.
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from logitcache.statistics.block import Block
from logitcache.statistics.measure import About, Need, Tally, variable
from logitcache.statistics.softmax_rows import LEADING
from logitcache.store.encodings.topk import NOTHING

__all__ = ["KS", "TopK"]

KS = (1, 2, 5, 10, 20, 50)

Array = NDArray[np.float64]


class TopK:
    """``mass`` (tau, k): mean probability of the k largest; ``signal_kept`` (tau, k), both shares of 1.

    Ks beyond the number of classes are NaN.
    """

    name = "topk"
    needs: frozenset[Need] = frozenset()

    def __init__(self, ks: tuple[int, ...] = KS) -> None:
        if not ks or not all(1 <= k <= LEADING for k in ks):
            raise ValueError(f"ks = {ks}: allowed are 1..{LEADING}")
        self.ks = tuple(sorted(ks))

    def tally(self, block: Block) -> Tally:
        """Sums over rows by tau and k."""
        rows, classes = block.softmax, block.classes
        ks = [k for k in self.ks if k <= classes]
        kept = _Kept(rows.leading, rows.beyond, ks, classes)
        mass, lost = np.zeros((2, len(block.taus), len(self.ks)))
        signal = np.empty(len(block.taus))
        for place, tau in enumerate(block.taus):
            log_total = rows.log_total[rows.at(tau)]
            negative_entropy = rows.below[rows.at(tau)] / tau - log_total
            signal[place] = (negative_entropy + np.log(classes)).sum()
            held, kl = kept.at(tau, log_total, negative_entropy)
            mass[place, : len(ks)], lost[place, : len(ks)] = held.sum(axis=0), kl.sum(axis=0)
        return {"rows": np.array(block.rows), "mass": mass, "lost": lost, "signal": signal}

    def merge(self, a: Tally, b: Tally) -> Tally:
        """Sums add."""
        return {name: a[name] + b[name] for name in a}

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """See the class."""
        there = np.asarray(self.ks) <= len(about.classes)
        with np.errstate(invalid="ignore", divide="ignore"):
            kept = np.where(there, 1 - total["lost"] / total["signal"][:, None], np.nan)
            mass = np.where(there, total["mass"] / total["rows"], np.nan)
        dims = ("tau", "k")
        variables = {
            "mass": variable(dims, mass, "1", "mean probability of the k largest"),
            "signal_kept": variable(dims, kept, "1", "share of KL(p || uniform) that a store of the k largest keeps"),
        }
        return xr.Dataset(variables, coords={"tau": list(about.taus), "k": list(self.ks)})


class _Kept:
    """What stores of k entries would say of rows, from their leading logits (rows, n) and what is beyond them."""

    def __init__(self, leading: NDArray[np.float32], beyond: Array, ks: list[int], classes: int) -> None:
        self._others = np.array([classes - k for k in ks], dtype=np.float64)
        self._logits = torch.from_numpy(leading - leading[:, :1])
        self._upto = torch.from_numpy((np.arange(leading.shape[1])[:, None] < ks).astype(np.float32))
        after = beyond[:, None] + (self._logits.exp() @ (1 - self._upto)).numpy()
        with np.errstate(divide="ignore"):
            level = np.log(after) - np.log(np.maximum(self._others, 1))
        # the logit that stands for each of the others, the largest being 0
        self._level = np.where(self._others > 0, np.maximum(level, NOTHING), 0.0)

    def at(self, tau: float, log_total: Array, negative_entropy: Array) -> tuple[Array, Array]:
        """(rows, ks) probability of the k largest, and KL(p || q), at tau."""
        logits, level = self._logits * (1 / tau), self._level / tau
        e, total = logits.exp(), np.exp(log_total)[:, None]
        kept = (e @ self._upto).double().numpy()
        said = (logits.mul_(e) @ self._upto).double().numpy() / total
        held = np.minimum(kept / total, 1.0)
        q_total = np.log(kept + self._others * np.exp(level))
        kl = negative_entropy[:, None] - said - (1 - held) * level + q_total
        return held, np.maximum(kl, 0.0)
