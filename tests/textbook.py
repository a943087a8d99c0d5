"""What encodings are tested with: logits like a network's, and the KL by the textbook in long double."""

from __future__ import annotations

import numpy as np

KINDS = ("plain", "ties", "heavy")


def textbook_kl(logits, error, tau):
    """sum p (log p - log q) in long double from the two softmaxes; float64 (rows,)."""
    p = logits.astype(np.longdouble) / tau
    q = (logits.astype(np.longdouble) + error.astype(np.longdouble)) / tau
    p, q = (z - np.logaddexp.reduce(z, axis=1, keepdims=True) for z in (p, q))
    return (np.exp(p) * (p - q)).sum(axis=1).astype(np.float64)


def temperatures(tau_min, count=101):
    """Logarithmically spaced from tau_min to 100 tau_min."""
    return tau_min * 100 ** np.linspace(0, 1, count)


def worst_kl(logits, decoded, tau_min, count=101):
    """The largest KL of each row at :func:`temperatures`, float64 from the definition; float64 (rows,)."""
    worst = np.zeros(len(logits))
    z, error = logits.astype(np.float64), decoded.astype(np.float64) - logits.astype(np.float64)
    for tau in temperatures(tau_min, count):
        p, q = z / tau, (z + error) / tau
        p = p - p.max(axis=1, keepdims=True)
        q = q - q.max(axis=1, keepdims=True)
        p, q = (x - np.log(np.exp(x).sum(axis=1, keepdims=True)) for x in (p, q))
        worst = np.maximum(worst, (np.exp(p) * (p - q)).sum(axis=1))
    return worst


def realistic(rows=400, classes=60, seed=0, kind="plain", noise=0.02):
    """Logits float32 (rows, classes) with a spectrum that falls, a little noise, and a few outlying rows.

    ``ties`` has two or three classes within 0.001 of the top one, ``heavy`` a top class far above all others.
    """
    rng = np.random.default_rng(seed)
    rank = max(1, min(classes, 2 + classes // 3))
    spread = 6.0 / np.arange(1, rank + 1) ** 0.7
    z = rng.normal(size=(rows, rank)) * spread @ rng.normal(size=(rank, classes))
    z += noise * rng.normal(size=z.shape)
    z[:: max(1, rows // 7)] *= 2.5
    top = z.argmax(axis=1)
    rank_of = np.arange(rows)
    if kind == "ties":
        for shift in (1, 5):
            z[rank_of, (top + shift) % classes] = z[rank_of, top] - 0.001 * rng.random(rows)
    if kind == "heavy":
        z[rank_of, top] += rng.gamma(2.0, 4.0, rows)
    return z.astype(np.float32)
