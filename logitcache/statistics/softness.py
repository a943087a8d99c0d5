"""Soft targets at each temperature: entropy, confidence, calibration, NLL, Brier score, and the tau that fits best.

Formulas are those of :mod:`logitcache.statistics.softmax_rows`. The expected calibration error has 15 bins of equal
width, open below and closed above (Guo, Pleiss, Sun and Weinberger 2017); ``best_tau`` is the temperature of the
smallest mean NLL, which is convex in 1 / tau, as in their temperature scaling. Between the temperatures that were
measured the NLL is the cubic with the measured values and slopes; where they are a factor of two apart, ``best_tau`` is
within 2 % and ``best_nll`` within 0.003 nats (tests/statistics).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from logitcache.statistics.block import Block
from logitcache.statistics.measure import About, Need, Tally, variable

__all__ = ["BINS", "Softness", "smallest_between"]

BINS = 15
"""Bins of confidence."""

Array = NDArray[np.float64]


class Softness:
    """The measure ``tau``; dimensions tau, class and bin.

    Variables by tau of all rows: ``entropy`` (nats) and ``confidence``, the mean largest probability; of rows whose
    true class is known: ``nll`` (nats), ``brier``, ``ece``, and by class ``class_entropy``, ``class_nll``; the
    reliability curve by bin of confidence (``left``, ``right``): ``bin_count``, ``bin_confidence``, ``bin_accuracy``
    (shares of 1). Without tau: ``best_tau``, ``best_nll``, and ``best_tau_inside``, 0 where the best is an end of the
    list and may lie beyond it.
    """

    name = "tau"
    needs: frozenset[Need] = frozenset()

    def tally(self, block: Block) -> Tally:
        """Sums over rows, one row of each array a temperature."""
        found = [_at(block, tau) for tau in block.taus]
        sums = {name: np.stack([each[name] for each in found]) for name in found[0]}
        labels = block.labels[block.known]
        class_rows = np.bincount(labels, minlength=block.classes)
        return {"rows": np.array(block.rows), "class_rows": class_rows, **sums}

    def merge(self, a: Tally, b: Tally) -> Tally:
        """Sums add."""
        return {name: a[name] + b[name] for name in a}

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """See the class."""
        variables = {**_all_rows(total), **_known_rows(total), **_best(total, about.taus)}
        coords = {"tau": list(about.taus), "class": list(about.classes), "bin": np.arange(BINS)}
        return xr.Dataset(variables, coords=coords)


def _at(block: Block, tau: float) -> dict[str, NDArray[Any]]:
    """The sums of a block at a temperature."""
    rows, known, classes = block.softmax, block.known, block.classes
    place = rows.at(tau)
    log_total, below = rows.log_total[place], rows.below[place]
    entropy, confidence = np.maximum(log_total - below / tau, 0), np.exp(-log_total)
    labels, own = block.labels[known], (block.own[known].astype(np.float64) - block.largest[known]) / tau
    nll = log_total[known] - own
    brier = rows.square[place][known] - 2 * np.exp(-nll) + 1
    right = block.top[known] == labels
    sure = confidence[known]
    bins = np.clip(np.ceil(sure * BINS) - 1, 0, BINS - 1).astype(np.int64)
    return {
        "entropy": entropy.sum(),
        "confidence": confidence.sum(),
        "nll": nll.sum(),
        "slope": (below[known] - own * tau).sum(),
        "brier": brier.sum(),
        "class_entropy": np.bincount(labels, entropy[known], minlength=classes),
        "class_nll": np.bincount(labels, nll, minlength=classes),
        "bin_count": np.bincount(bins, minlength=BINS),
        "bin_confidence": np.bincount(bins, sure, minlength=BINS),
        "bin_right": np.bincount(bins[right], minlength=BINS),
    }


def _all_rows(total: Tally) -> dict[str, xr.Variable]:
    """What needs no labels."""
    return {
        "entropy": variable(("tau",), total["entropy"] / total["rows"], "nats", "mean entropy"),
        "confidence": variable(("tau",), total["confidence"] / total["rows"], "1", "mean largest probability"),
    }


def _known_rows(total: Tally) -> dict[str, xr.Variable]:
    """What is about rows whose true class is known; NaN where there are none."""
    known, count = total["class_rows"].sum(), total["bin_count"]
    with np.errstate(invalid="ignore", divide="ignore"):
        nll, brier = (np.asarray(total[name]) / known for name in ("nll", "brier"))
        ece = np.abs(total["bin_confidence"] - total["bin_right"]).sum(axis=1) / known
        by_class = {name: total[name] / total["class_rows"] for name in ("class_entropy", "class_nll")}
        sure, right = total["bin_confidence"] / count, total["bin_right"] / count
    edges = np.arange(BINS + 1) / BINS
    return {
        "nll": variable(("tau",), nll, "nats", "mean negative log-likelihood of the true class"),
        "brier": variable(("tau",), brier, "1", "mean Brier score over all classes"),
        "ece": variable(("tau",), ece, "1", f"expected calibration error, {BINS} bins"),
        "class_entropy": variable(("tau", "class"), by_class["class_entropy"], "nats", "mean entropy by true class"),
        "class_nll": variable(("tau", "class"), by_class["class_nll"], "nats", "mean NLL by true class"),
        "left": variable(("bin",), edges[:-1], "1", "lower edge of a bin of confidence"),
        "right": variable(("bin",), edges[1:], "1", "upper edge of a bin of confidence"),
        "bin_count": variable(("tau", "bin"), count, "1", "rows in a bin of confidence"),
        "bin_confidence": variable(("tau", "bin"), sure, "1", "mean confidence in a bin"),
        "bin_accuracy": variable(("tau", "bin"), right, "1", "share of right rows in a bin"),
    }


def _best(total: Mapping[str, NDArray[Any]], taus: tuple[float, ...]) -> dict[str, xr.Variable]:
    """The temperature of the smallest NLL."""
    known = total["class_rows"].sum()
    tau, nll, inside = np.nan, np.nan, 0
    if known:
        falling = np.argsort(taus)[::-1]
        inverse = 1 / np.asarray(taus)[falling]
        beta, nll = smallest_between(inverse, total["nll"][falling] / known, total["slope"][falling] / known)
        tau, inside = 1 / beta, int(inverse[0] < beta < inverse[-1])
    return {
        "best_tau": variable((), tau, "1", "temperature of the smallest NLL"),
        "best_nll": variable((), nll, "nats", "mean NLL at best_tau"),
        "best_tau_inside": variable((), np.int64(inside), "1", "1 where best_tau lies between measured temperatures"),
    }


def smallest_between(x: Array, value: Array, slope: Array) -> tuple[float, float]:
    """Place and value of the minimum of a convex function, known with its slopes at ascending ``x``.

    Between the two places where the slope changes its sign it is taken as the cubic that fits both.
    """
    after = int(np.searchsorted(slope > 0, True))  # slopes of a convex function ascend
    if after in {0, len(x)}:
        end = min(after, len(x) - 1)
        return float(x[end]), float(value[end])
    a, b = after - 1, after
    width = x[b] - x[a]
    rise = (value[b] - value[a]) / width
    cubic, square = slope[a] + slope[b] - 2 * rise, 3 * rise - 2 * slope[a] - slope[b]
    # slope of the cubic at x[a] + t * width: slope[a] + 2 square t + 3 cubic t**2, with one rising root in 0..1
    root = np.sqrt(max(square**2 - 3 * cubic * slope[a], 0.0))
    t = float(np.clip(-slope[a] / (square + root), 0.0, 1.0)) if square + root > 0 else 0.0
    return float(x[a] + t * width), float(value[a] + width * t * (slope[a] + t * (square + t * cubic)))
