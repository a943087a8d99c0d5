"""How logits are stored: ``uniform`` and ``lossless``, and what each promises. Pure functions of arrays.

**uniform** stores ``q = round(z / step)`` as integers. Every logit is off by at most ``step / 2``, so the errors
of a row lie in a range of at most ``step``, and by Hoeffding's lemma

    KL(softmax(z / tau) || softmax(z_hat / tau)) <= (step / tau)**2 / 8    for every row and every tau > 0.

From a bound ``max_kl`` at ``tau >= tau_min`` follows ``step = tau_min * sqrt(8 * max_kl)``. The step is rounded
down to 8 significant bits: a 16-bit code times such a step is exact in float32, so the promise holds for the
float32 numbers that readers get and not only in exact arithmetic. For int32 the step is rounded down to a power
of two and codes go to 2**24, for the same reason.

**lossless** stores the logits as they are, in float32, or in float16 where every one of them fits exactly.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from logitcache.errors import InputError
from logitcache.records import Options

__all__ = ["Encoding", "EncodingOptions", "decode", "encode", "fill_value", "kl_bound", "resolve", "round_step"]

FloatArray = npt.NDArray[np.float32]
CodeArray = npt.NDArray[Any]

_STEP_BITS = {"int16": 8, "int32": 1}
_LARGEST_CODE = {"int16": 2**15 - 1, "int32": 2**24}


class EncodingOptions(Options):
    """What a user asks of the stored logits."""

    kind: Literal["uniform", "lossless"] = Field("uniform", description="how logits are stored")
    max_kl: float = Field(1e-3, gt=0, le=10, description="largest KL of any row at tau >= tau_min, in nats")
    tau_min: float = Field(1.0, gt=0, le=1000, description="the lowest temperature at which max_kl must hold")
    step: float | None = Field(None, gt=0, description="step of the uniform encoding, instead of max_kl and tau_min")
    dtype: Literal["int16", "int32", "float32", "float16"] | None = Field(
        None, description="int16 or int32 for uniform, float32 or float16 for lossless"
    )

    @model_validator(mode="after")
    def _dtype_fits_kind(self) -> EncodingOptions:
        allowed = ("int16", "int32") if self.kind == "uniform" else ("float32", "float16")
        if self.dtype is not None and self.dtype not in allowed:
            raise ValueError(f"dtype {self.dtype!r} does not fit {self.kind}; allowed: {', '.join(allowed)}")
        if self.step is not None and self.kind != "uniform":
            raise ValueError("step is for the uniform encoding; lossless has none")
        return self

    def proves(self, tau: float) -> bool:
        """Whether a bound on the KL is proved at this temperature: for these encodings at every tau > 0."""
        return tau > 0


@dataclass(frozen=True)
class Encoding:
    """An encoding with its step fixed, as written into the store."""

    kind: str
    dtype: str
    step: float
    max_kl: float
    tau_min: float

    def to_json(self) -> dict[str, Any]:
        """The record that the store keeps."""
        return asdict(self)


def round_step(step: float, bits: int = 8) -> float:
    """The largest number with ``bits`` significant bits that is not above ``step``."""
    mantissa, exponent = math.frexp(step)
    return math.ldexp(math.floor(math.ldexp(mantissa, bits)), exponent - bits)


def resolve(options: EncodingOptions) -> Encoding:
    """Fix the step: given, or ``tau_min * sqrt(8 * max_kl)``, rounded down as above; 0 for lossless."""
    if options.kind == "lossless":
        return Encoding("lossless", options.dtype or "float32", 0.0, 0.0, options.tau_min)
    wanted = options.step if options.step is not None else options.tau_min * math.sqrt(8 * options.max_kl)
    dtype = options.dtype or "int16"
    step = round_step(wanted, _STEP_BITS[dtype])
    return Encoding("uniform", dtype, step, kl_bound(step, options.tau_min), options.tau_min)


def kl_bound(step: float, tau: float) -> float:
    """The largest KL (nats) that errors within ``step / 2`` can cause at ``tau``: Hoeffding's lemma."""
    return (step / tau) ** 2 / 8


def fill_value(encoding: Encoding) -> int | float:
    """What stands where nothing was written: the integer type's minimum, which is never a code, or NaN."""
    return int(np.iinfo(encoding.dtype).min) if encoding.kind == "uniform" else math.nan


def encode(logits: FloatArray, encoding: Encoding, index: npt.NDArray[np.int64] | None = None) -> CodeArray:
    """Codes of finite float32 logits (rows, classes).

    Args:
        logits: what to encode.
        encoding: how.
        index: the samples' indices (rows,), for messages; row numbers without.

    Raises:
        InputError: a logit needs a wider type; the message names the sample.
    """
    if encoding.kind == "lossless":
        with np.errstate(over="ignore"):  # what becomes infinite is refused in the next line
            codes: CodeArray = logits.astype(encoding.dtype)
        _refuse(codes.astype(np.float32) != logits, index, f"is not exact in {encoding.dtype}; use float32")
        return codes
    quotients = np.rint(logits.astype(np.float64) / encoding.step)
    beyond = np.abs(quotients) > _LARGEST_CODE[encoding.dtype]
    wider = "int32" if encoding.dtype == "int16" else "a larger step"
    _refuse(beyond, index, f"needs codes beyond {encoding.dtype}; use {wider}")
    return quotients.astype(encoding.dtype)


def decode(codes: CodeArray, encoding: Encoding) -> FloatArray:
    """Float32 logits of codes (rows, classes)."""
    logits = codes.astype(np.float32)
    if encoding.kind == "uniform":
        logits *= np.float32(encoding.step)
    return logits


def _refuse(bad: npt.NDArray[np.bool_], index: npt.NDArray[np.int64] | None, why: str) -> None:
    """Raise for the first row with a bad entry."""
    rows = np.flatnonzero(bad.any(axis=1))
    if rows.size:
        sample = int(rows[0]) if index is None else int(index[rows[0]])
        raise InputError(f"a logit of sample {sample} {why}")
