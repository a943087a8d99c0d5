"""Measure ``penultimate``: how features before the last layer lie: norms, scatter, neural collapse, components.

Classes are true classes; rows whose class nobody knows count for norms and principal components alone. The formulas
stand in ``neural_collapse``, ``scatter`` and ``principal``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from logitcache.statistics.block import Block
from logitcache.statistics.feature_sample import merge_samples, per_class_limit, sample_of
from logitcache.statistics.measure import About, Tally
from logitcache.statistics.penultimate_tables import (
    collapse_variables,
    component_variables,
    norm_variables,
    scatter_variables,
)
from logitcache.statistics.principal import random_basis
from logitcache.statistics.scatter import merge_scatter, scatter_of

__all__ = ["Penultimate"]

Floats = NDArray[np.float64]

_SCATTER = ("group_rows", "group_mean", "group_scatter", "scatter")
_NORMS = ("norm_sum", "norm_squares")


@functools.lru_cache(maxsize=4)
def _basis(width: int, columns: int) -> Floats:
    """The random vectors, made once."""
    return random_basis(width, columns)


@dataclass(frozen=True)
class Penultimate:
    """Norms, scatter within and between classes, NC1 to NC4, and principal components of features.

    The tally holds a scatter matrix of the features (float64, features squared) up to ``full_width`` features; beyond
    it products with a few random vectors, and NC1 is then estimated on the sample of rows as NC4 is.

    Variables of the dataset, K classes, D features; a class without rows has NaN:

    * ``feature_rows``, ``feature_norm``, ``feature_norm_std``: all rows; lengths of the feature vectors;
    * ``feature_within``, ``feature_between``, ``feature_scatter_ratio``: mean squared distance of labelled rows from
      their class's mean, of these means from the mean of all, and their ratio;
    * ``nc1``; ``nc2_norms_means``, ``nc2_angles_means``, ``nc2_maximal_angles_means`` and the three of ``_weights``;
      ``nc3``; ``nc4``, ``nc4_error``: shares in percent, estimated on a keyed sample and its standard error, 0
      where all rows are in the sample; what needs the last layer is NaN where nobody knows it;
    * ``feature_class_rows``, ``feature_class_norm``, ``feature_class_within``, ``feature_mean_norm`` (class): the last
      is the distance of the class's mean from the mean of class means;
    * ``feature_class_mean`` (class, feature);
    * ``pca_variance``, ``pca_share`` (component): of all rows, the share in percent of the total variance;
    * ``pca_class_mean`` (class, component), ``pca_point`` (sample, component); for each of these samples its first two
      components ``pca_x``, ``pca_y``, and ``pca_row``, ``pca_index``, ``pca_class``, ``pca_predicted`` (sample): rows
      of the split, indices in the full data set, classes by number.
    """

    count: int = 10
    """Principal components."""
    points: int = 1000
    """Samples in the plane of components, about as many of each class."""
    per_class: int = 500
    """Rows of each class on which NC4 is estimated; fewer where features are many."""
    full_width: int = 2048
    """Features up to which the whole covariance is made."""
    head: bool = True
    """Whether teachers whose last layer nobody knows are left out; else NC2 of its rows and NC3 are NaN for them."""

    name = "penultimate"

    @property
    def needs(self) -> frozenset[str]:
        """Features, and the last layer."""
        return frozenset({"features", "head"} if self.head else {"features"})

    def _seen(self, width: int) -> Floats | None:
        """The random vectors, None where the whole covariance is made."""
        return None if width <= self.full_width else _basis(width, min(width, 4 * self.count + 10))

    def tally(self, block: Block) -> Tally:
        """Means, scatter, norms and sample of one block; rows of unknown class are the last group."""
        if block.features is None:
            raise ValueError("measure penultimate needs a block with features")
        features, classes = block.features, block.classes
        groups = np.where(block.known, block.labels, classes)
        basis = self._seen(features.shape[1])
        known = scatter_of(features[block.known], block.labels[block.known], classes, basis)
        rest = scatter_of(features[~block.known], np.zeros(int((~block.known).sum()), np.int64), 1, basis)
        norms = np.sqrt(np.vecdot(features, features).astype(np.float64))
        limit = per_class_limit(self.per_class, classes, features.shape[1])
        return {
            **known,
            **{f"unknown_{name}": values for name, values in rest.items()},
            "norm_sum": np.bincount(groups, weights=norms, minlength=classes + 1),
            "norm_squares": np.bincount(groups, weights=np.square(norms), minlength=classes + 1),
            **sample_of(block, np.arange(block.rows), limit),
        }

    def merge(self, a: Tally, b: Tally) -> Tally:
        """The tally of the rows of both."""
        classes, width = a["group_mean"].shape
        basis = self._seen(width)
        rest = merge_scatter(_unknown(a), _unknown(b), basis)
        return {
            **merge_scatter(a, b, basis),
            **{f"unknown_{name}": values for name, values in rest.items()},
            **{name: a[name] + b[name] for name in _NORMS},
            **merge_samples(a, b, per_class_limit(self.per_class, classes, width)),
        }

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """See the class."""
        width = total["group_mean"].shape[1]
        basis = self._seen(width)
        found = norm_variables(total) | scatter_variables(total) | collapse_variables(total, about.weight, basis)
        found |= component_variables(_all_rows(total), about, basis, self.count, self.points)
        coords = {"class": np.array(about.classes), "feature": np.arange(width)}
        coords |= {"component": np.arange(found["pca_variance"].size), "sample": np.arange(found["pca_row"].size)}
        return xr.Dataset(found, coords=coords)


def _unknown(total: Tally) -> Tally:
    """The scatter of the rows of unknown class."""
    return {name: total[f"unknown_{name}"] for name in _SCATTER}


def _all_rows(total: Tally) -> Tally:
    """The tally with the rows of unknown class as one more group."""
    rest = _unknown(total)
    joined = {name: np.concatenate((total[name], rest[name])) for name in _SCATTER if name != "scatter"}
    return {**total, **joined, "scatter": total["scatter"] + rest["scatter"]}
