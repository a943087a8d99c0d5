"""Covariance of the logits, its spectrum and its effective rank: one matrix product a run of rows.

Products are float32 about a shift near the mean, their sums over runs of rows float64: relative to the largest variance
entries are exact to 1e-5.
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from logitcache.statistics.block import Block
from logitcache.statistics.measure import About, Need, Tally, variable

__all__ = ["Covariance"]

_SHIFT_ROWS = 64
_RUN = 2048


class Covariance:
    """``covariance`` (logit, other_logit) of the population; ``spectrum`` (component), its eigenvalues, descending.

    ``effective_rank`` is exp of the entropy of the eigenvalues' shares (Roy and Vetterli 2007),
    ``participation_ratio`` their squared sum over the sum of squares.
    """

    name = "covariance"
    needs: frozenset[Need] = frozenset()

    def tally(self, block: Block) -> Tally:
        """Sums of products of deviations from the block's mean."""
        shift = block.logits[:: max(1, block.rows // _SHIFT_ROWS)].mean(axis=0, dtype=np.float64).astype(np.float32)
        products = torch.zeros(block.classes, block.classes, dtype=torch.float64)
        sums = torch.zeros(block.classes, dtype=torch.float64)
        for start in range(0, block.rows, _RUN):
            off = torch.from_numpy(block.logits[start : start + _RUN] - shift)
            products += off.T @ off
            sums += off.sum(0, dtype=torch.float64)
        mean = sums / block.rows
        products.addr_(sums, mean, alpha=-1)
        return {
            "rows": np.array(block.rows),
            "mean": mean.numpy() + shift,
            "products": products.numpy(),
        }

    def merge(self, a: Tally, b: Tally) -> Tally:
        """Chan, Golub and LeVeque 1979."""
        rows = a["rows"] + b["rows"]
        step = torch.from_numpy(b["mean"] - a["mean"])
        products = torch.from_numpy(a["products"]) + torch.from_numpy(b["products"])
        products.addr_(step, step, alpha=float(a["rows"] * b["rows"] / rows))
        return {"rows": rows, "mean": a["mean"] + step.numpy() * (b["rows"] / rows), "products": products.numpy()}

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """See the class."""
        covariance = total["products"] / total["rows"]
        covariance = (covariance + covariance.T) / 2
        spectrum = np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0)
        share = spectrum / spectrum.sum() if spectrum.sum() > 0 else np.full(len(spectrum), np.nan)
        entropy = -(share * np.log(np.where(share > 0, share, 1))).sum()
        variables = {
            "covariance": variable(("logit", "other_logit"), covariance, "logits²", "covariance of two logits"),
            "spectrum": variable(("component",), spectrum, "logits²", "eigenvalues of the covariance"),
            "effective_rank": variable((), np.exp(entropy), "1", "exp of the entropy of the spectrum"),
            "participation_ratio": variable(
                (), 1 / (share**2).sum(), "1", "squared sum of the spectrum by its squares"
            ),
        }
        names = list(about.classes)
        coords = {"logit": names, "other_logit": names, "component": np.arange(len(spectrum))}
        return xr.Dataset(variables, coords=coords)
