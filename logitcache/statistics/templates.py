"""Features beside the templates of their classes: the plane through three templates, and the scatter of classes.

Pure functions of arrays, in float64. A template is a class's row of the head's weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from logitcache.errors import InputError

__all__ = ["Scatter", "project", "scatter"]

Array = npt.NDArray[np.float64]

_FLAT = 1e-9  # sine of the angle at which three templates count as lying on a line


@dataclass(frozen=True)
class Scatter:
    """How features lie around the means of their classes."""

    within: float
    """Mean squared distance from the class's mean: the trace of the covariance within classes."""
    between: float
    """Mean squared distance of the class's mean from that of all: the trace of the covariance between classes."""
    norm: float
    """Mean length of a feature vector."""

    @property
    def ratio(self) -> float:
        """``within / between``: small where classes are cohesive and apart; NaN where all classes have one mean."""
        return self.within / self.between if self.between > 0 else math.nan


def scatter(features: npt.ArrayLike, groups: npt.ArrayLike) -> Scatter:
    """Scatter within and between groups; the two sum to the trace of the covariance of all (divided by n).

    Args:
        features: (samples, features), at least one sample.
        groups: (samples,) integers.
    """
    values, labels = np.asarray(features, np.float64), np.asarray(groups)
    middle = values.mean(axis=0)
    within = between = 0.0
    for group in np.unique(labels):
        members = values[labels == group]
        mean = members.mean(axis=0)
        within += float(np.square(members - mean).sum())
        between += len(members) * float(np.square(mean - middle).sum())
    lengths = np.sqrt(np.square(values).sum(axis=1))
    return Scatter(within / len(values), between / len(values), float(lengths.mean()))


def project(features: npt.ArrayLike, templates: npt.ArrayLike) -> Array:
    """Features in the plane through three templates, by Gram-Schmidt of the second and third less the first.

    The first template is the origin, the second lies on the first axis, the third at a positive second coordinate.
    Source: Müller, Kornblith and Hinton 2019, "When does label smoothing help?", section 2.

    Args:
        features: (samples, features).
        templates: (3, features).

    Returns:
        (samples, 2).

    Raises:
        InputError: the templates lie on one line, so that there is no one plane through them.
    """
    origin, second, third = np.asarray(templates, np.float64)
    first_axis, along = _unit(second - origin)
    to_third = third - origin
    second_axis, across = _unit(to_third - (to_third @ first_axis) * first_axis)
    if along == 0 or across <= _FLAT * np.linalg.norm(to_third):
        raise InputError("the heads' rows of the three classes lie on one line; choose other classes")
    places: Array = (np.asarray(features, np.float64) - origin) @ np.stack([first_axis, second_axis], axis=1)
    return places


def _unit(vector: Array) -> tuple[Array, float]:
    """A vector of length 1, and the length it had; the vector itself where that is 0."""
    length = float(np.linalg.norm(vector))
    return (vector / length if length > 0 else vector), length
