"""Penultimate features as codes with a stated error. Pure functions of arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from logitcache.errors import InputError
from logitcache.store.encodings import Encoded, round_step
from logitcache.store.encodings.codec import Logits
from logitcache.store.encodings.kl import as_tensor

__all__ = ["check_values", "decode_features", "feature_step", "keeps_step", "measured", "with_features"]

_LARGEST = 2**15 - 1


def feature_step(features: Logits, relative: float) -> float:
    """The step that is ``relative`` times the standard deviation of all features of a sample (rows, features)."""
    spread = float(as_tensor(features).double().std(correction=0))
    if spread == 0:
        raise InputError("features of the calibration sample are all equal; set cache.features = false")
    return round_step(spread * relative)


def with_features(
    encoded: Encoded, features: Logits, step: float, index: npt.NDArray[np.int64] | None = None
) -> Encoded:
    """A block with its features (rows, features) as codes, each within step / 2; float16 where the step is 0.

    Raises:
        InputError: a feature is beyond what the type holds; names the sample.
    """
    plain = as_tensor(features).cpu().numpy()
    limit = _LARGEST * step if step else float(np.finfo(np.float16).max)
    beyond = np.abs(plain).max(axis=1) > limit
    if beyond.any():
        row = int(np.argmax(beyond))
        sample = row if index is None else int(index[row])
        largest = float(np.abs(plain[row]).max())
        raise InputError(
            f"a feature of sample {sample} is {largest:.4g}, beyond {limit:.4g}; use a larger cache.feature_step, "
            "or set cache.features = false"
        )
    codes = np.rint(plain.astype(np.float64) / step).astype(np.int16) if step else plain.astype(np.float16)
    return measured(Encoded({**encoded.values, "features": codes}, encoded.fidelity), plain, step)


def measured(encoded: Encoded, features: Logits, step: float) -> Encoded:
    """A block with the error of its stored features in its fidelity, where it has one."""
    error = _error(encoded.values["features"], features, step)
    fidelity = encoded.fidelity and replace(
        encoded.fidelity,
        features_largest_error=float(np.abs(error).max()),
        features_squared_error=float(np.einsum("rc,rc->", error, error)),
    )
    return Encoded(encoded.values, fidelity)


def keeps_step(codes: npt.NDArray[Any], features: Logits, step: float) -> bool:
    """Whether codes, from wherever they come, are within step / 2 of these features; float16 has no such bound."""
    # float32 rounds what is half a step away
    return bool(step and np.abs(_error(codes, features, step)).max() <= step / 2 * (1 + 1e-6))


def _error(codes: npt.NDArray[Any], features: Logits, step: float) -> npt.NDArray[np.float64]:
    """Decoded less given."""
    error: npt.NDArray[np.float64] = decode_features(codes, step).astype(np.float64)
    error -= as_tensor(features).cpu().numpy()
    return error


def decode_features(codes: npt.NDArray[Any], step: float) -> npt.NDArray[np.float32]:
    """Float32 features of their codes."""
    features: npt.NDArray[np.float32] = codes.astype(np.float32)
    if step:
        features *= np.float32(step)
    return features


def check_values(values: Logits, shape: tuple[int, int], what: str, index: npt.NDArray[np.int64]) -> None:
    """Refuse values of another shape, and values that are not finite, by the sample's index.

    Raises:
        InputError: with the shape that was expected, or the sample.
    """
    tensor = as_tensor(values)
    if tensor.shape != shape:
        raise InputError(f"{what} of a block have shape {tuple(tensor.shape)}; expected {shape}")
    # the sum is finite where all are, and costs no array of flags; where it is not, a closer look decides
    if bool(torch.isfinite(tensor.sum(dtype=torch.float64))):
        return
    finite = torch.isfinite(tensor).all(dim=1).cpu()
    if not bool(finite.all()):
        row = int(finite.int().argmin())
        bad = tensor[row][~torch.isfinite(tensor[row])][:3].cpu().numpy()
        raise InputError(f"{what} of sample {int(index[row])} are not finite: {bad}")
