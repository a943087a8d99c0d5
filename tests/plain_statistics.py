"""The measures of one teacher's logits written the plain way, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from logitcache.statistics.block import Block

Floats = NDArray[np.float64]


def moments(values: Floats, axis: int | None = 0) -> dict[str, Any]:
    mean = values.mean(axis=axis)
    off = values - mean
    variance = (off**2).mean(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "mean": mean,
            "variance": variance,
            "skewness": (off**3).mean(axis=axis) / variance**1.5,
            "kurtosis": (off**4).mean(axis=axis) / variance**2 - 3,
            "minimum": values.min(axis=axis),
            "maximum": values.max(axis=axis),
        }


def log_softmax(logits: NDArray[Any], tau: float) -> Floats:
    scaled = logits.astype(np.float64) / tau
    scaled -= scaled.max(axis=1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))


def margins(block: Block) -> Floats:
    """Of the rows whose class is known."""
    z, y = block.logits[block.known].astype(np.float64), block.labels[block.known]
    rest = z.copy()
    rest[np.arange(len(z)), y] = -np.inf
    return z[np.arange(len(z)), y] - rest.max(axis=1)


def softness(block: Block, tau: float) -> dict[str, float]:
    log_p = log_softmax(block.logits, tau)
    p, known = np.exp(log_p), block.known
    y, rows = block.labels[known], np.arange(known.sum())
    sure, right = p.max(axis=1), block.logits.argmax(axis=1) == block.labels
    ece = 0.0
    for low in np.arange(15) / 15:
        there = (sure > low) & (sure <= low + 1 / 15 + 1e-12) & known
        if there.any():
            ece += there.sum() / known.sum() * abs(sure[there].mean() - right[there].mean())
    return {
        "entropy": -(p * log_p).sum(axis=1).mean(),
        "confidence": sure.mean(),
        "nll": -log_p[known][rows, y].mean(),
        "brier": (np.square(p[known]).sum(axis=1) - 2 * p[known][rows, y] + 1).mean(),
        "ece": ece,
    }


def signal_kept(logits: NDArray[Any], k: int, tau: float) -> float:
    """What a store of the k largest at tau = 1, the rest spread evenly, keeps of KL(p || uniform) at tau."""
    classes = logits.shape[1]
    log_p1 = log_softmax(logits, 1.0)
    lost = signal = 0.0
    for row, log_p in zip(log_p1, log_softmax(logits, tau), strict=True):
        order = np.argsort(-row)
        stored = row.copy()
        if k < classes:
            stored[order[k:]] = np.log(np.exp(row[order[k:]]).sum() / (classes - k))
        log_q = log_softmax(stored[None], tau)[0]
        p = np.exp(log_p)
        lost += (p * (log_p - log_q)).sum()
        signal += (p * log_p).sum() + np.log(classes)
    return 1 - lost / signal
