"""How far two teachers' probabilities of the same rows are apart: Kullback-Leibler both ways and Jensen-Shannon.

Arithmetic is float64 throughout, so that what is left of sums that nearly cancel is right to about 1e-14 nats. With p
and q the two, d = log p - log q and m their mean, the definition of Lin 1991, the mean of KL(p || m) and KL(q || m), is

    JS(p, q) = log 2 - sum (m log(1 + exp(-|d|)) + min(p, q) |d| / 2),

which needs no logarithm of a probability that is 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "divergences", "probabilities"]

Floats = NDArray[np.float64]


def probabilities(logits: NDArray[np.float32], tau: float) -> tuple[Floats, Floats]:
    """Softmax(logits / tau) and its logarithm, float64 (rows, classes) each; the latter is finite for finite logits."""
    log_p = logits.astype(np.float64)
    log_p -= log_p.max(axis=1, keepdims=True)
    log_p /= tau
    p: Floats = np.exp(log_p)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    log_p -= np.log(total)
    return p, log_p


def divergences(these: NDArray[np.float32], others: NDArray[np.float32], tau: float) -> tuple[Floats, Floats, Floats]:
    """KL(other || this), KL(this || other) and JS of each row at a temperature, nats, float64 (rows,) each.

    Args:
        these: logits float32 (rows, classes), finite; few rows, whose temporaries stay in a core's cache.
        others: logits of the same rows, likewise.
        tau: the temperature, above 0.
    """
    (q, log_q), (p, log_p) = probabilities(these, tau), probabilities(others, tau)
    log_p -= log_q
    forward, reverse = np.einsum("rc,rc->r", p, log_p), -np.einsum("rc,rc->r", q, log_p)
    apart = np.abs(log_p, out=log_p)
    decay = np.log1p(np.exp(np.negative(apart, out=log_q), out=log_q), out=log_q)
    less = np.minimum(p, q)
    p += q
    same = np.einsum("rc,rc->r", p, decay) + np.einsum("rc,rc->r", less, apart)
    js = np.clip(math.log(2) - same / 2, 0.0, math.log(2))
    return np.maximum(forward, 0.0), np.maximum(reverse, 0.0), js
