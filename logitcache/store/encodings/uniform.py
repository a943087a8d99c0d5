"""A code for every logit: ``uniform`` and ``lossless``, and what each promises. Pure functions of arrays.

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
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.errors import InputError
from logitcache.store.encodings.options import EncodingOptions
from logitcache.store.encodings.records import Encoding, kl_bound

__all__ = ["check_range", "decode", "encode", "resolve", "round_step"]

FloatArray = npt.NDArray[np.float32]
CodeArray = npt.NDArray[Any]

_STEP_BITS = {"int16": 8, "int32": 1}
_LARGEST_CODE = {"int16": 2**15 - 1, "int32": 2**24}


def round_step(step: float, bits: int = 8) -> float:
    """The largest number with ``bits`` significant bits that is not above ``step``."""
    mantissa, exponent = math.frexp(step)
    return math.ldexp(math.floor(math.ldexp(mantissa, bits)), exponent - bits)


def resolve(options: EncodingOptions) -> Encoding:
    """The encoding that needs no look at the logits: as asked, and uniform for ``auto``.

    The step is the one given, or ``tau_min * sqrt(8 * max_kl)``, rounded down as above.

    Raises:
        InputError: it can only be chosen from a sample of the teacher's logits.
    """
    if options.kind == "spectral" or options.bytes_per_row is not None:
        raise InputError(f"encoding {options.kind!r} is fitted to a sample of logits; use store.choose_encoding")
    if options.kind == "lossless":
        return Encoding("lossless", options.dtype or "float32", 0.0, 0.0, options.tau_min, codec=options.codec)
    if options.kind == "topk":
        entries, top_p, dtype = options.entries, options.top_p, options.dtype or "float16"
        return Encoding("topk", dtype, 0.0, None, 1.0, entries=entries, top_p=top_p, codec=options.codec)
    wanted = options.step if options.step is not None else options.tau_min * math.sqrt(8 * options.max_kl)
    dtype = options.dtype or "int16"
    step = round_step(wanted, _STEP_BITS[dtype])
    return Encoding("uniform", dtype, step, kl_bound(step, options.tau_min), options.tau_min, codec=options.codec)


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


def check_range(logits: FloatArray, options: EncodingOptions, first: int) -> None:
    """Refuse logits that would not fit, before any of them is written; ``first`` is the index of the first row.

    Raises:
        InputError: as :func:`encode`.
    """
    encode(logits, resolve(options), np.arange(first, first + len(logits)))


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
