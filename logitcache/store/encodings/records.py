"""An encoding with everything fixed, as the store records it, and the bounds that follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

import numpy as np

__all__ = ["PRIMARY_ARRAYS", "Encoding", "describe", "fill_value", "kl_bound"]

PRIMARY_ARRAYS = ("logits", "coefficients", "top_values")
"""The arrays that hold most of a block, one for each family of encodings."""

_PRIMARY = {"spectral": "coefficients", "topk": "top_values"}


@dataclass(frozen=True)
class Encoding:
    """An encoding with its parameters fixed, as written into the store.

    Attributes:
        kind: ``uniform``, ``lossless``, ``spectral`` or ``topk``.
        dtype: type of the codes, or of stored floating-point numbers.
        step: logits or coefficients are multiples of it; 0 where nothing is quantised.
        max_kl: no row's KL is above it at any tau >= ``tau_min`` (nats); None where nothing is promised.
        tau_min: the lowest temperature of the promise.
        components: spectral: how many there are.
        head: spectral: top entries of each row that are stored beside.
        head_step: the step of their values.
        entries: topk: entries a row, at most.
        top_p: topk: the probability that a row's entries hold, where there are enough.
        precision: spectral: arithmetic of the matrix product that the promise was checked with.
        codec: ``pcodec`` or ``portable``.
        asked: the options that this was chosen from, where a sample decided.
        reason: why it was chosen, for people.
    """

    kind: Literal["uniform", "lossless", "spectral", "topk"]
    dtype: Literal["int16", "int32", "float32", "float16"]
    step: float
    max_kl: float | None
    tau_min: float
    components: int = 0
    head: int = 0
    head_step: float = 0.0
    entries: int = 0
    top_p: float | None = None
    precision: Literal["float32", "bf16"] = "float32"
    codec: Literal["pcodec", "portable"] = "pcodec"
    asked: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """The record that the store keeps: without what is at its default."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != _default(f)}

    @property
    def primary(self) -> str:
        """The array that holds most of a block; commits stand in its folder."""
        return _PRIMARY.get(self.kind, "logits")

    @property
    def whole(self) -> bool:
        """Whether every logit of a row can be had back."""
        return self.kind != "topk"

    def bound(self, tau: float) -> float | None:
        """The largest KL (nats) of any row at ``tau`` that is promised; None where nothing is."""
        if self.kind == "uniform":
            return kl_bound(self.step, tau)
        if self.kind == "lossless":
            return 0.0
        return self.max_kl if tau >= self.tau_min else None


def describe(encoding: Encoding) -> str:
    """An encoding in a line, for people."""
    words = [f"{encoding.kind} {encoding.dtype}"]
    if encoding.step:
        words.append(f"step {encoding.step:.6g}")
    if encoding.kind == "spectral":
        words.append(f"{encoding.components} components, head of {encoding.head}, {encoding.precision} product")
    if encoding.kind == "topk":
        words.append(f"{encoding.entries} entries" + (f", top-p {encoding.top_p:g}" if encoding.top_p else ""))
    elif encoding.max_kl is None:
        words.append("no bound promised")
    elif encoding.step:
        how = "proved" if encoding.kind == "uniform" else "checked for every row"
        words.append(f"KL <= {encoding.max_kl:.3g} at tau >= {encoding.tau_min:g}, {how}")
    if encoding.codec != "pcodec":
        words.append(f"codec {encoding.codec}")
    return ", ".join(words) + (f" ({encoding.reason})" if encoding.reason else "")


def kl_bound(width: float, tau: float) -> float:
    """The largest KL (nats) that errors in a range of ``width`` can cause at ``tau``: Hoeffding's lemma."""
    return (width / tau) ** 2 / 8


def fill_value(dtype: str) -> int | float:
    """What stands where nothing was written: the integer type's minimum, which is never a code, or NaN."""
    return int(np.iinfo(dtype).min) if dtype.startswith("int") else math.nan


def _default(each: Any) -> Any:
    """A field's default; what has none equals nothing."""
    if each.default is not MISSING:
        return each.default
    return each.default_factory() if each.default_factory is not MISSING else MISSING
