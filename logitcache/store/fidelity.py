"""How far decoded logits are from the teacher's: measured for every row when a block is written. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["TAUS", "Fidelity", "combine", "kl_of_error", "measure"]

FloatArray = npt.NDArray[np.float32]

TAUS = (0.5, 1.0, 2.0, 4.0, 20.0)
"""Temperatures at which the KL of every row is measured."""


@dataclass(frozen=True)
class Fidelity:
    """Measured error of some rows; sums, so that blocks combine.

    ``kl_largest`` and ``kl_sum`` (nats) have one entry for each of ``taus``.
    """

    rows: int
    values: int
    largest_error: float
    largest_range: float
    largest_shift: float
    squared_error: float
    top1_kept: int
    taus: tuple[float, ...]
    kl_largest: tuple[float, ...]
    kl_sum: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The record that a commit keeps."""
        return asdict(self)

    @staticmethod
    def from_json(record: dict[str, Any]) -> Fidelity:
        """The record of a commit, read back."""
        lists = {key: tuple(record[key]) for key in ("taus", "kl_largest", "kl_sum")}
        return Fidelity(**{**record, **lists})

    @property
    def rmse(self) -> float:
        """Root mean squared error of a logit."""
        return float(np.sqrt(self.squared_error / max(self.values, 1)))

    @property
    def kl_mean(self) -> tuple[float, ...]:
        """Mean KL (nats) at each of ``taus``."""
        return tuple(total / max(self.rows, 1) for total in self.kl_sum)


def kl_of_error(logits: FloatArray, error: FloatArray, tau: float) -> FloatArray:
    """KL(softmax(z / tau) || softmax((z + error) / tau)) in nats for each row of (rows, classes).

    With d = error / tau and p = softmax(z / tau) it is log E_p[exp d] - E_p[d]; written with expm1 and log1p it
    keeps its digits when the error is small, which the difference of two log-softmaxes does not. Rows with d beyond
    1 take that difference, in float64: their exponentials might overflow.
    """
    scaled = logits / np.float32(tau)
    scaled -= scaled.max(axis=1, keepdims=True)
    weights = np.exp(scaled, out=scaled)
    weights /= weights.sum(axis=1, keepdims=True)
    shift = error / np.float32(tau)
    large = np.abs(shift).max(axis=1) > 1
    shift[large] = 0
    mean = np.einsum("rc,rc->r", weights, shift)
    growth = np.einsum("rc,rc->r", weights, np.expm1(shift, out=shift))
    kl: FloatArray = np.maximum(np.log1p(growth) - mean, 0)
    if large.any():
        kl[large] = _kl_of_large_error(logits[large].astype(np.float64), error[large].astype(np.float64), tau)
    return kl


def _kl_of_large_error(logits: npt.NDArray[np.float64], error: npt.NDArray[np.float64], tau: float) -> FloatArray:
    """The same by the difference of two log-softmaxes."""
    p, q = (z - np.logaddexp.reduce(z, axis=1, keepdims=True) for z in (logits / tau, (logits + error) / tau))
    kl: FloatArray = np.einsum("rc,rc->r", np.exp(p), p - q).astype(np.float32)
    return kl


def measure(logits: FloatArray, decoded: FloatArray, taus: Sequence[float] = TAUS) -> Fidelity:
    """Measure decoded logits against the teacher's, both float32 (rows, classes)."""
    error = decoded - logits
    wide = error.astype(np.float64)
    by_tau = [kl_of_error(logits, error, tau) for tau in taus]
    return Fidelity(
        rows=len(logits),
        values=logits.size,
        largest_error=float(np.abs(error).max()),
        largest_range=float((error.max(axis=1) - error.min(axis=1)).max()),
        largest_shift=float(np.abs(wide.mean(axis=1)).max()),
        squared_error=float(np.einsum("rc,rc->", wide, wide)),
        top1_kept=int((decoded.argmax(axis=1) == logits.argmax(axis=1)).sum()),
        taus=tuple(taus),
        kl_largest=tuple(float(kl.max()) for kl in by_tau),
        kl_sum=tuple(float(kl.sum(dtype=np.float64)) for kl in by_tau),
    )


def combine(parts: Iterable[Fidelity]) -> Fidelity | None:
    """The fidelity of all rows of several blocks; None when there are no blocks."""
    total: Fidelity | None = None
    for part in parts:
        total = part if total is None else _add(total, part)
    return total


def _add(a: Fidelity, b: Fidelity) -> Fidelity:
    """Both together."""
    return Fidelity(
        rows=a.rows + b.rows,
        values=a.values + b.values,
        largest_error=max(a.largest_error, b.largest_error),
        largest_range=max(a.largest_range, b.largest_range),
        largest_shift=max(a.largest_shift, b.largest_shift),
        squared_error=a.squared_error + b.squared_error,
        top1_kept=a.top1_kept + b.top1_kept,
        taus=a.taus,
        kl_largest=tuple(map(max, a.kl_largest, b.kl_largest)),
        kl_sum=tuple(x + y for x, y in zip(a.kl_sum, b.kl_sum, strict=True)),
    )
