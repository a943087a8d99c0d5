"""Sparse soft targets: the largest log-probabilities of each row and the mass of all the others. Pure functions.

A row keeps at most ``k`` entries in descending order, of equal ones the lower class first, and the logarithm of the
probability that they leave out, its **tail**. That is what other systems write, and all that can be had back is a row
whose tail is spread evenly: losses that need whole logit vectors refuse it, and no bound on the KL is promised.

In a store an entry that a row does not have is the integer type's minimum beside NaN. Class numbers take int16 up to
2**15 classes and int32 up to 2**31.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.errors import InputError

__all__ = ["NOTHING", "TopK", "class_dtype", "cut", "from_arrays", "to_arrays", "to_logits", "top_k"]

FloatArray = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[Any]]

NOTHING = np.float32(-1e4)
"""Logarithm of no probability in whole rows: finite, so that zero times it is zero."""

_AT_ONCE = 2**22
"""Logits that are worked on together: what they need beside them stays small however many classes there are."""


@dataclass(frozen=True)
class TopK:
    """Sparse soft targets of some rows, at temperature 1.

    Attributes:
        classes: int64 (rows, k), -1 where a row has fewer entries.
        log_probs: float32 (rows, k), descending, natural logarithms; -inf where there is no entry.
        tail: float32 (rows,), the logarithm of the probability outside; -inf where there is none.
    """

    classes: npt.NDArray[np.int64]
    log_probs: FloatArray
    tail: FloatArray

    def __len__(self) -> int:
        """Rows."""
        return len(self.tail)


def class_dtype(classes: int) -> str:
    """The integer type of stored class numbers.

    Raises:
        InputError: there are more than 2**31 classes.
    """
    if classes > 2**31:
        raise InputError(f"{classes} classes; class numbers are stored up to 2**31 = {2**31}")
    return "int16" if classes <= 2**15 else "int32"


def top_k(logits: npt.NDArray[Any], k: int, top_p: float | None = None) -> TopK:
    """The ``k`` most probable classes of each row.

    Args:
        logits: floating-point (rows, classes), no NaN and no +inf. -inf is probability 0 and never an entry.
        k: entries a row, at most as many as there are classes.
        top_p: with it a row has no more entries than are needed to hold this probability, and at least one.

    Raises:
        InputError: ``k`` is not in 1..classes.
    """
    rows, classes = logits.shape
    if not 1 <= k <= classes:
        raise InputError(f"{k} entries a row asked of {classes} classes; allowed are 1..{classes}")
    step = max(1, _AT_ONCE // classes)
    parts = [_top_k(logits[start : start + step], k) for start in range(0, max(rows, 1), step)]
    found = TopK(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    return found if top_p is None else cut(found, k, top_p)


def cut(rows: TopK, k: int, top_p: float | None = None) -> TopK:
    """The same rows with at most ``k`` entries, and no more than hold ``top_p``; what is cut off goes to the tail."""
    probs = np.exp(rows.log_probs, dtype=np.float64)
    kept = np.broadcast_to(np.arange(probs.shape[1]) < k, probs.shape)
    if top_p is not None:
        kept = kept & (np.cumsum(probs, axis=1) - probs < top_p)
    tail = _log(np.where(kept, 0.0, probs).sum(axis=1) + np.exp(rows.tail, dtype=np.float64))
    classes = np.where(kept, rows.classes, -1)[:, :k]
    log_probs = np.where(kept, rows.log_probs, np.float32(-np.inf))[:, :k]
    return TopK(classes, log_probs, tail.astype(np.float32))


def to_arrays(rows: TopK, classes: int, dtype: str = "float16") -> Arrays:
    """The arrays of a block as they are stored.

    Args:
        rows: what to store.
        classes: how many there are.
        dtype: of the log-probabilities, float16 or float32; one below float16's range takes its lowest number.

    Returns:
        ``top_classes`` int16 or int32 (k, rows), ``top_values`` (k, rows) and ``tail`` float32 (rows,).
    """
    integer = class_dtype(classes)
    missing = rows.classes < 0
    values = np.maximum(rows.log_probs, np.finfo(dtype).min).astype(dtype)
    stored = np.where(missing, np.iinfo(integer).min, rows.classes).astype(integer)
    return {
        "top_values": np.ascontiguousarray(np.where(missing, np.asarray(np.nan, dtype), values).T),
        "top_classes": np.ascontiguousarray(stored.T),
        "tail": rows.tail,
    }


def from_arrays(values: Mapping[str, npt.NDArray[Any]]) -> TopK:
    """The rows whose :func:`to_arrays` were stored."""
    stored = np.ascontiguousarray(values["top_classes"].T)
    missing = stored == np.iinfo(stored.dtype).min
    log_probs = np.where(missing, np.float32(-np.inf), values["top_values"].T.astype(np.float32))
    return TopK(np.where(missing, np.int64(-1), stored), log_probs, values["tail"].astype(np.float32))


def to_logits(rows: TopK, classes: int) -> FloatArray:
    """Log-probabilities float32 (rows, classes): the tail spread evenly over the classes that are no entries.

    Every one is finite: no probability is :data:`NOTHING`.
    """
    present = rows.classes >= 0
    others = np.maximum(classes - present.sum(axis=1), 1)
    level = np.maximum(rows.tail - np.log(others).astype(np.float32), NOTHING)
    dense = np.repeat(level[:, None], classes, axis=1)
    row, place = np.nonzero(present)
    dense[row, rows.classes[row, place]] = rows.log_probs[row, place]
    return dense


def _top_k(logits: npt.NDArray[Any], k: int) -> tuple[npt.NDArray[np.int64], FloatArray, FloatArray]:
    """Classes, log-probabilities and tail of few enough rows."""
    logits = logits.astype(np.promote_types(logits.dtype, np.float32), copy=False)
    chosen = _chosen(logits, k)
    classes = np.nonzero(chosen)[1].reshape(-1, k)
    top = np.take_along_axis(logits, classes, axis=1)
    order = np.argsort(-top, axis=1, kind="stable")
    classes, top = (np.take_along_axis(each, order, axis=1) for each in (classes, top))
    highest = top[:, :1].astype(np.float64)
    outside = np.exp(logits - highest.astype(logits.dtype))
    outside[chosen] = 0
    rest = outside.sum(axis=1, dtype=np.float64)
    total = np.log(np.exp(top - highest).sum(axis=1) + rest)
    log_probs = (top - highest - total[:, None]).astype(np.float32)
    return np.where(np.isneginf(log_probs), -1, classes), log_probs, (_log(rest) - total).astype(np.float32)


def _chosen(logits: npt.NDArray[Any], k: int) -> npt.NDArray[np.bool_]:
    """Marks the ``k`` largest of each row; of those that equal the last, the lowest classes."""
    least = np.partition(logits, -k, axis=1)[:, -k, None]
    chosen = logits >= least
    for row in np.flatnonzero(chosen.sum(axis=1) > k):
        equal = np.flatnonzero(logits[row] == least[row])
        chosen[row, equal[k - np.count_nonzero(logits[row] > least[row]) :]] = False
    return chosen


def _log(mass: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The natural logarithm, -inf for nothing."""
    with np.errstate(divide="ignore"):
        return np.log(mass)
