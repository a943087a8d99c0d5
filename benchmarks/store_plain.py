"""Stored logits read, and compared with the teacher's, by NumPy and Zarr alone, in float64: an independent check.

Nothing here imports logitcache. What the arrays mean is said in ``docs/format.md``; decoding is done as it says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

__all__ = ["Comparison", "PlainTeacher", "compare", "kl_bound", "kl_rows", "open_teachers"]

Rows = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[Any]]

_PIECE = 256
"""Rows in work at once: their float64 temporaries stay in a core's cache."""
_CONSTANTS = ("basis", "mean")
_BY_SAMPLE = ("coefficients", "level", "head_classes", "head_values", "top_values", "top_classes", "tail")
"""Arrays whose last axis is the sample."""


@dataclass(frozen=True)
class PlainTeacher:
    """One teacher in one split: what its group says, and its arrays."""

    split: str
    name: str
    record: Mapping[str, Any]
    arrays: Mapping[str, zarr.Array[Any]]
    constants: Arrays

    @property
    def views(self) -> int:
        """Views, the clean one included."""
        return int(self.record["views"])

    @property
    def samples(self) -> int:
        """Samples of the split."""
        return int(self.record["samples"])

    @property
    def block_rows(self) -> int:
        """Rows of a block."""
        return int(self.record["block_rows"])

    @property
    def tau_min(self) -> float:
        """The lowest temperature of the promise."""
        return float(self.record["encoding"]["tau_min"])

    def bound(self, tau: float) -> float | None:
        """The KL that is promised at a temperature; None where nothing is."""
        encoding = self.record["encoding"]
        if encoding["kind"] == "lossless":
            return 0.0
        if encoding["kind"] == "uniform":
            return kl_bound(float(self.arrays["logits"].attrs["scale_factor"]), tau)
        promised = encoding.get("max_kl")
        return None if promised is None or tau < self.tau_min else float(promised)

    def stored(self, view: int, rows: slice) -> dict[str, npt.NDArray[Any]]:
        """The stored numbers of some rows, by array; none of them may be missing."""
        found = {}
        for name, array in self.arrays.items():
            found[name] = array[view, ..., rows] if name in _BY_SAMPLE else array[view, rows]
            missing = array.attrs.get("_FillValue")
            if missing is not None and name != "top_classes" and (found[name] == missing).any():
                raise SystemExit(f"{self.split}/{self.name}: {name} of view {view}, {rows} was never written")
        return found

    def decode(self, stored: Arrays) -> Rows:
        """Float64 logits (rows, classes) of stored numbers."""
        steps = {name: float(array.attrs.get("scale_factor", 1)) for name, array in self.arrays.items()}
        if "coefficients" in stored:
            return _spectral(stored, self.constants, steps)
        if "top_values" in stored:
            return _sparse(stored, int(self.record["classes"]))
        return stored["logits"].astype(np.float64) * steps["logits"]

    def logits(self, view: int, rows: slice) -> Rows:
        """Float64 logits (rows, classes)."""
        return self.decode(self.stored(view, rows))


def open_teachers(path: Path) -> list[PlainTeacher]:
    """Every teacher in every split of a store."""
    root = zarr.open_group(path, mode="r")
    return [
        _open_teacher(root, split, name)
        for split in sorted(root.group_keys())
        for name in sorted(root[f"{split}/teachers"].group_keys())  # type: ignore[union-attr]
    ]


def _open_teacher(root: zarr.Group, split: str, name: str) -> PlainTeacher:
    group: Any = root[f"{split}/teachers/{name}"]
    names = [key for key in group.array_keys() if key == "logits" or key in _BY_SAMPLE]
    constants = {key: group[key][...] for key in _CONSTANTS if key in group}
    record = group.attrs["logitcache"]
    return PlainTeacher(split, name, record, {key: group[key] for key in names}, constants)


def _spectral(stored: Arrays, constants: Arrays, steps: Mapping[str, float]) -> Rows:
    """Mean and components; then the head, to below whose last value all else is clamped."""
    finer = (
        2.0 ** -stored["level"].astype(np.float64) if "level" in stored else np.ones(stored["coefficients"].shape[1])
    )
    components = stored["coefficients"] * (steps["coefficients"] * finer)
    logits: Rows = constants["mean"] + components.T @ constants["basis"].astype(np.float64)
    if "head_values" in stored:
        gaps = stored["head_values"].astype(np.int64)
        codes = 2 * gaps[0] - np.cumsum(gaps, axis=0)
        codes = np.concatenate([codes, codes[-1:]])  # the last is the limit of all other classes
        values = (codes - np.arange(len(codes))[:, None] / 64) * (steps["head_values"] * finer)
        np.minimum(logits, values[-1][:, None], out=logits)
        np.put_along_axis(logits, stored["head_classes"].T.astype(np.int64), values[:-1].T, axis=1)
    return logits


def _sparse(stored: Arrays, classes: int) -> Rows:
    """Log-probabilities; what is left over is spread evenly over the classes that are not stored."""
    known = ~np.isnan(stored["top_values"])
    others = np.maximum(classes - known.sum(axis=0), 1)
    with np.errstate(divide="ignore"):
        floor = np.maximum(stored["tail"].astype(np.float64), -1e4) - np.log(others)
    logits = np.repeat(floor[:, None], classes, axis=1)
    for values, numbers, here in zip(stored["top_values"], stored["top_classes"], known, strict=True):
        logits[np.flatnonzero(here), numbers[here]] = values[here]
    return logits


@dataclass(frozen=True)
class Comparison:
    """Rows of decoded logits beside the teacher's.

    ``kl`` is KL(p || q) and ``signal`` KL(p || uniform), nats (taus, rows); ``squared`` the sums of squared errors and
    ``same_top`` whether the largest logit is the same one, both (rows,).
    """

    kl: Rows
    signal: Rows
    squared: Rows
    same_top: npt.NDArray[np.bool_]

    @staticmethod
    def joined(parts: Sequence[Comparison]) -> Comparison:
        """All rows of several parts."""
        kl, signal = (np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("kl", "signal"))
        squared = np.concatenate([part.squared for part in parts])
        return Comparison(kl, signal, squared, np.concatenate([part.same_top for part in parts]))


def compare(
    teacher: PlainTeacher, view: int, start: int, logits: npt.NDArray[Any], taus: Sequence[float]
) -> Comparison:
    """A run of stored rows from ``start`` on beside the teacher's logits (rows, classes) of them, on all cores."""
    stored = teacher.stored(view, slice(start, start + len(logits)))

    def part(first: int) -> Comparison:
        rows = slice(first, first + _PIECE)
        some = {name: array[rows] if name == "logits" else array[..., rows] for name, array in stored.items()}
        return compare_rows(logits[rows], teacher.decode(some), taus)

    return _on_all_cores(part, len(logits))


def compare_arrays(logits: npt.NDArray[Any], decoded: npt.NDArray[Any], taus: Sequence[float]) -> Comparison:
    """The same for logits that are decoded already."""
    return _on_all_cores(
        lambda first: compare_rows(logits[first : first + _PIECE], decoded[first : first + _PIECE], taus), len(logits)
    )


def _on_all_cores(part: Any, rows: int) -> Comparison:
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return Comparison.joined(list(pool.map(part, range(0, rows, _PIECE))))


def compare_rows(logits: npt.ArrayLike, decoded: npt.ArrayLike, taus: Sequence[float]) -> Comparison:
    """Few rows, both (rows, classes).

    With P = sum exp(z / tau) and Q likewise, KL(p || q) = E_p[z - z_hat] / tau - log P + log Q.
    """
    ours, theirs = (np.asarray(each, dtype=np.float64) for each in (logits, decoded))
    same_top = ours.argmax(axis=1) == theirs.argmax(axis=1)
    squared = np.square(theirs - ours).sum(axis=1)
    ours, theirs = (each - each.max(axis=1, keepdims=True) for each in (ours, theirs))
    difference = ours - theirs
    kl, signal = np.empty((2, len(taus), len(ours)))
    for place, tau in enumerate(taus):
        p = np.exp(ours / tau)
        total, other = p.sum(axis=1), np.exp(theirs / tau).sum(axis=1)
        kl[place] = _dot(p, difference) / (tau * total) - np.log(total) + np.log(other)
        signal[place] = _dot(p, ours) / (tau * total) - np.log(total) + np.log(ours.shape[1])
    kl[:, ~difference.any(axis=1)] = 0  # two sums of the same numbers may differ in the last digit
    return Comparison(kl, signal, squared, same_top)


def kl_rows(logits: npt.ArrayLike, decoded: npt.ArrayLike, tau: float) -> Rows:
    """KL(softmax(logits / tau) || softmax(decoded / tau)) of each row in nats, float64 (rows,)."""
    return compare_rows(logits, decoded, (tau,)).kl[0]


def kl_bound(step: float, tau: float) -> float:
    """Hoeffding's lemma for errors in a range of one step."""
    return (step / tau) ** 2 / 8


def _dot(left: Rows, right: Rows) -> Rows:
    """The inner product of each pair of rows."""
    product: Rows = np.einsum("rc,rc->r", left, right)
    return product
