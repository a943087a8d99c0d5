"""KL of decoded logits from the teacher's, for every row at many temperatures at once. Pure functions of tensors.

With d = error / tau and p = softmax(z / tau),

    KL(softmax(z / tau) || softmax((z + error) / tau)) = log E_p[exp d] - E_p[d],

which keeps its digits for small errors when it is written with expm1 and log1p; the difference of two log-softmaxes
does not. Exponentials are what it costs, so a temperature that is half of the one before takes squares instead:
exp(2x) = exp(x)**2 and expm1(2x) = expm1(x) * (expm1(x) + 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["as_tensor", "kl_rows"]

_OVERFLOW = 60.0
"""Scaled errors beyond it go through float64: exp(88) is infinite in float32."""
_LEAST_MEAN = 0.1
"""So does a smaller E_p[exp d]: it is 1 + E_p[expm1 d], and near -1 float32 has no digits left."""


def as_tensor(values: Tensor | npt.NDArray[Any]) -> Tensor:
    """A tensor over the same numbers; of an array that must not be written to, a copy, because a tensor would."""
    if isinstance(values, Tensor):
        return values
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def kl_rows(logits: Tensor, error: Tensor, taus: Sequence[float]) -> Tensor:
    """KL in nats of each row at each temperature.

    Args:
        logits: the teacher's, float32 (rows, classes).
        error: decoded less the teacher's, float32 (rows, classes).
        taus: temperatures, in any order.

    Returns:
        float32 (taus, rows), never negative.
    """
    found = torch.empty(len(taus), len(logits), device=logits.device)
    shifted = logits - logits.amax(1, keepdim=True)
    largest = error.abs().amax(1)
    weights = growth = shifted
    previous = 0.0
    for place in sorted(range(len(taus)), key=lambda each: _octaves(taus[each])):
        tau = taus[place]
        if tau * 2 == previous:
            weights.square_()
            growth.mul_(growth + 2)
        elif tau != previous:
            weights = shifted.div(tau).exp_()
            growth = error.div(tau).expm1_()
        previous = tau
        total = weights.sum(1)
        change = _dot(weights, growth) / total
        found[place] = torch.log1p(change) - _dot(weights, error) / (total * tau)
        beyond = (largest > _OVERFLOW * tau) | (change < _LEAST_MEAN - 1)
        if bool(beyond.any()):
            found[place, beyond] = _kl_in_float64(logits[beyond], error[beyond], tau)
    return found.clamp_(min=0)


def _octaves(tau: float) -> tuple[float, float]:
    """Sorts temperatures so that each halving stands right behind what it is half of."""
    mantissa, exponent = math.frexp(tau)
    return mantissa, -exponent


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """The inner product of each pair of rows."""
    product: Tensor = torch.linalg.vecdot(left, right)
    return product


def _kl_in_float64(logits: Tensor, error: Tensor, tau: float) -> Tensor:
    """The same by the difference of two log-softmaxes."""
    wide = logits.double() / tau
    p = torch.log_softmax(wide, 1)
    q = torch.log_softmax(wide + error.double() / tau, 1)
    return (p.exp() * (p - q)).sum(1).float()
