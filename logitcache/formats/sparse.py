"""Sparse rows of other systems, checked and brought into order: descending, no class twice, the mass outside known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.errors import InputError
from logitcache.store.encodings.topk import TopK

__all__ = ["checked", "log_of", "needed_classes"]

_SLACK = 0.01
"""How far the probabilities of a row may sum above 1: half-precision numbers are rounded, logits are far off."""


def needed_classes(what: str, classes: int | None) -> int:
    """The number of classes that a user gave.

    Raises:
        InputError: none was given.
    """
    if classes is None:
        raise InputError(f"{what} does not say how many classes there are; give classes")
    return classes


def log_of(probs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Natural logarithms of probabilities; NaN for what is negative, -inf for 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(probs.astype(np.float64))


def checked(
    ids: npt.NDArray[Any],
    log_probs: npt.NDArray[Any],
    classes: int,
    name: Callable[[int], str],
    tail: npt.NDArray[np.float32] | None = None,
) -> TopK:
    """Rows in the order that the store keeps.

    Args:
        ids: integers (rows, k); what stands beside -inf does not count.
        log_probs: (rows, k) at temperature 1, -inf where there is no entry.
        classes: how many there are.
        name: the name of a row in messages.
        tail: the logarithm of the mass outside (rows,), where it is known; else what is missing to 1.

    Raises:
        InputError: a class out of range or twice in a row, a row without entries, or values that are no
            log-probabilities; names the row.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is no entry
        log_probs = log_probs.astype(np.float32).astype(np.float64)
    present = ~np.isneginf(log_probs)
    outside = present & ((ids < 0) | (ids >= classes))
    _refuse(outside.any(axis=1), name, lambda row: f"class {ids[row][outside[row]][0]}; allowed are 0..{classes - 1}")
    with np.errstate(over="ignore"):  # what becomes infinite is refused below
        total = np.exp(log_probs).sum(axis=1)
    wrong = ~(total <= 1 + _SLACK)
    _refuse(wrong, name, lambda row: f"probabilities that sum to {total[row]:.4g}; they are not those at temperature 1")
    _refuse(~present.any(axis=1), name, lambda _: "no entry with a probability above 0")
    lowest = np.where(present, ids, classes).astype(np.int64)
    order = np.lexsort((lowest, -log_probs), axis=1)
    lowest.sort(axis=1)
    twice = (lowest[:, 1:] == lowest[:, :-1]) & (lowest[:, 1:] < classes)
    _refuse(twice.any(axis=1), name, lambda row: f"class {lowest[row, 1:][twice[row]][0]} twice")
    sorted_ids = np.take_along_axis(np.where(present, ids, -1).astype(np.int64), order, axis=1)
    if tail is None:
        left = np.where(present.sum(axis=1) < classes, np.maximum(1 - total, 0), 0)
        tail = log_of(left).astype(np.float32)
    return TopK(sorted_ids, np.take_along_axis(log_probs, order, axis=1).astype(np.float32), tail)


def _refuse(bad: Any, name: Callable[[int], str], why: Callable[[int], str]) -> None:
    """Raise for the first row that is marked bad."""
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{name(row)} has {why(row)}")
