"""Measure ``similarity``: how alike the features of two networks are, whatever turns one space into the other.

Both measures do not change when either space is rotated, mirrored, moved or scaled, and the two may have different
numbers of features. With centred features X and Y of the same n samples:

* linear CKA, ``||X^T Y||_F^2 / (||X^T X||_F ||Y^T Y||_F)``: Kornblith, Norouzi, Lee and Hinton 2019, "Similarity of
  neural network representations revisited", section 3; in [0, 1], 1 where one is the other turned;
* Procrustes distance, ``||X||_F^2 + ||Y||_F^2 - 2 ||X^T Y||_*`` with X and Y scaled to Frobenius norm 1: Ding, Denain
  and Steinhardt 2021, "Grounding representation similarity with statistical testing", section 2; in [0, 2], 0 where
  one is the other turned.

Few samples beside the number of features make any two networks look alike by CKA: ``similarity_rows`` says how many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from logitcache.statistics.block import Block
from logitcache.statistics.measure import About, Tally, variable
from logitcache.statistics.scatter import merge_scatter, scatter_of

__all__ = ["Similarity", "linear_cka", "procrustes"]

Floats = NDArray[np.float64]


def linear_cka(first: Floats, second: Floats, cross: Floats) -> float:
    """Linear CKA from covariances (D, D), (E, E) and the cross-covariance (D, E); NaN where one has no spread."""
    scale = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.square(cross).sum() / scale) if scale > 0 else float("nan")


def procrustes(first: Floats, second: Floats, cross: Floats) -> float:
    """Procrustes distance from covariances (D, D), (E, E) and the cross-covariance (D, E); NaN without spread."""
    scale = np.sqrt(max(0.0, np.trace(first) * np.trace(second)))
    return float(max(0.0, 2 - 2 * np.linalg.norm(cross, "nuc") / scale)) if scale > 0 else float("nan")


@dataclass(frozen=True)
class Similarity:
    """Linear CKA and Procrustes distance between a network's features and another's of the same samples.

    The tally holds the joint covariance: float64 (D + E) squared.

    Variables of the dataset: ``similarity_rows``, ``similarity_cka``, ``similarity_procrustes``.
    """

    name = "similarity"
    needs = frozenset({"features", "other", "other_features"})

    def tally(self, block: Block) -> Tally:
        """The joint scatter of one block."""
        if block.features is None or block.other is None or block.other.features is None:
            raise ValueError("measure similarity needs the features of both networks")
        joint = np.concatenate((block.features, block.other.features), axis=1)
        scatter = scatter_of(joint, np.zeros(block.rows, np.int64), 1, None)
        return {**scatter, "width": np.array([block.features.shape[1]], np.int64)}

    def merge(self, a: Tally, b: Tally) -> Tally:
        """The joint scatter of the rows of both."""
        return {**merge_scatter(a, b, None), "width": a["width"]}

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """See the class."""
        covariance, width = total["scatter"] / max(1, int(total["group_rows"][0])), int(total["width"][0])
        first, second, cross = covariance[:width, :width], covariance[width:, width:], covariance[:width, width:]
        beside = about.other or "the other network"
        return xr.Dataset(
            {
                "similarity_rows": variable((), total["group_rows"][0], "1", "rows compared"),
                "similarity_cka": variable((), linear_cka(first, second, cross), "1", f"linear CKA with {beside}"),
                "similarity_procrustes": variable(
                    (), procrustes(first, second, cross), "1", f"Procrustes distance to {beside}"
                ),
            }
        )
