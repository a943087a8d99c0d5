"""Logits in their principal components: few of them hold nearly all, and those few are quantised alike.

**spectral** subtracts the mean logits, turns to the eigenvectors of the logits' covariance (the Karhunen-Loève
transform) and rounds every component to a multiple of one step, halved ``level`` times for rows that need it:

    z_hat = mean + step * 2**-level * codes @ vectors

The vectors are orthonormal, so the squared error of a row is what rounding made of its components, spread evenly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from logitcache.store.encodings.records import Encoding

__all__ = ["WIDE", "Analysis", "Basis", "Synthesis", "eigenbasis", "quantise"]

WIDE = 2048
"""From this many classes on, no classes x classes matrix is made."""
_NOISE = 1e-12
"""Eigenvalues below this share of the largest are rounding, and their vectors are arbitrary."""
_SILENT = 8
"""A component with a spread below step / 8 is rounded to zero: one value in 16 000 would not be."""

_GRAIN = 0.05
"""What rounding the vectors may add to a logit, in steps; rounding the codes adds 0.29."""
_COARSEST = 0.25
"""The largest grain, in root mean squares of a vector's entries."""
_FINE_STEP = 2.0**-5
"""Below it float16's rounding of the vectors would be seen."""


@dataclass(frozen=True)
class Basis:
    """Mean logits (classes,), orthonormal vectors (components, classes), each component's spread (components,).

    float32 tensors; the vectors hold the numbers that are stored, float16's where that is their type.
    """

    mean: Tensor
    vectors: Tensor
    spread: Tensor

    def arrays(self, step: float) -> dict[str, npt.NDArray[Any]]:
        """What the store keeps, by name: the vectors rounded for codes of this step, float16 where that holds them."""
        vectors = self.rounded(step).vectors.cpu().numpy()
        dtype = np.float16 if step >= _FINE_STEP else np.float32
        return {"basis": vectors.astype(dtype), "mean": self.mean.cpu().numpy(), "spread": self.spread.cpu().numpy()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[Any]], device: torch.device | str = "cpu") -> Basis:
        """What the store keeps, read back."""
        mean, vectors, spread = (
            torch.from_numpy(arrays[name].astype(np.float32)).to(device) for name in ("mean", "basis", "spread")
        )
        return Basis(mean, vectors, spread)

    def to(self, device: torch.device) -> Basis:
        """On a device."""
        return Basis(self.mean.to(device), self.vectors.to(device), self.spread.to(device))

    def rounded(self, step: float) -> Basis:
        """With the vectors rounded as far as codes of this step do not notice.

        What rounding a vector's entries by up to half of a grain adds to a logit is grain / sqrt(12) times the
        component. The grain of a component is such that all of them together stay at ``_GRAIN`` steps; components
        with little spread get by with few digits, which compress to a third of float16 (measured).
        """
        classes = self.vectors.shape[1]
        wanted = _GRAIN * step / (self.spread * classes**0.5).clamp(min=1e-30)
        # Coarser than this, a vector would not be itself any more, and rows that need it could not be refined.
        grain = torch.exp2(torch.floor(torch.log2(wanted.clamp(max=_COARSEST / classes**0.5))))[:, None]
        vectors = torch.round(self.vectors / grain) * grain
        dtype = torch.float16 if step >= _FINE_STEP else torch.float32
        return replace(self, vectors=vectors.to(dtype).float())


def eigenbasis(logits: Tensor, features: Tensor | None = None, weight: Tensor | None = None) -> Basis:
    """Mean, eigenvectors and spreads of a sample of logits, computed in float64.

    With more classes than ``WIDE`` the eigenvectors come from the features behind a linear head, where they are
    known: logits are features @ weight.T + bias; else from the inner products of the rows. Vectors without any
    spread are left out.

    Args:
        logits: float32 (rows, classes).
        features: what the head is given, float32 (rows, features).
        weight: the head's, float32 (classes, features).
    """
    wide = logits.double()
    mean = wide.mean(0)
    if logits.shape[1] <= WIDE:
        centred = wide - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(logits))
        vectors = vectors.T
    elif features is not None and weight is not None:
        values, vectors = _through_features(features.double(), weight.double())
    else:
        values, vectors = _through_rows(wide - mean)
    keep = values > _NOISE * values.max().clamp(min=1e-300)
    order = torch.argsort(values[keep], descending=True)
    vectors, values = vectors[keep][order], values[keep][order]
    # The sign of an eigenvector is arbitrary: the entry largest in size is made positive.
    vectors = vectors * vectors.gather(1, vectors.abs().argmax(1, keepdim=True)).sign()
    return Basis(mean.float(), vectors.float().contiguous(), values.sqrt().float())


def _through_features(features: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors of ``weight @ cov(features) @ weight.T``, of its rank and no larger."""
    centred = features - features.mean(0)
    values, turn = torch.linalg.eigh(centred.T @ centred / len(features))
    root = weight @ (turn * values.clamp(min=0).sqrt())
    values, right = torch.linalg.eigh(root.T @ root)
    return values, (root @ right / values.clamp(min=1e-300).sqrt()).T


def _through_rows(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors of the covariance, as many as there are rows, from the rows' inner products."""
    values, left = torch.linalg.eigh(centred @ centred.T / len(centred))
    return values, (left.T @ centred) / (len(centred) * values.clamp(min=1e-300)).sqrt()[:, None]


@dataclass(frozen=True)
class Analysis:
    """What turns logits into components: mean (classes,), spreads (components,), and the vectors' dual.

    The stored vectors are rounded, so not quite orthonormal; components by their dual are the best ones for them.
    """

    mean: Tensor
    spread: Tensor
    dual: Tensor

    @staticmethod
    def of(basis: Basis) -> Analysis:
        """The analysis that fits a stored basis."""
        vectors = basis.vectors.double()
        dual = torch.linalg.solve(vectors @ vectors.T, vectors)
        return Analysis(basis.mean, basis.spread, dual.float())

    def active(self, step: float) -> int:
        """How many of the components are worth rounding at a step; the others are zero."""
        return int((self.spread * _SILENT > step).sum())

    def components(self, logits: Tensor, first: int, last: int) -> Tensor:
        """Components ``first`` to ``last`` of logits (rows, classes): float32 (rows, last - first)."""
        return (logits - self.mean) @ self.dual[first:last].T


def quantise(coefficients: Tensor, step: float) -> Tensor:
    """Codes of components as whole float32 numbers."""
    return torch.round(coefficients / step)


@dataclass(frozen=True)
class Synthesis:
    """What turns codes into logits: mean (classes,) and the vectors times the step, in the type of the product."""

    mean: Tensor
    vectors: Tensor

    @staticmethod
    def of(basis: Basis, encoding: Encoding) -> Synthesis:
        """The synthesis that an encoding's promise was, or will be, checked with."""
        scaled = basis.vectors * encoding.step
        return Synthesis(basis.mean, scaled.bfloat16() if encoding.precision == "bf16" else scaled)

    def logits(self, codes: Tensor, level: Tensor | None) -> Tensor:
        """Float32 logits (rows, classes) of codes (rows, first components) and levels (rows,)."""
        scaled = codes.to(self.vectors.dtype)
        if level is not None:
            scaled = torch.ldexp(scaled, -level[:, None].int()).to(self.vectors.dtype)
        vectors = self.vectors[: codes.shape[1]]
        if vectors.dtype == torch.bfloat16:
            return (scaled @ vectors).float() + self.mean
        return torch.addmm(self.mean, scaled, vectors)
