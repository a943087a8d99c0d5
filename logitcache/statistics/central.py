"""Central moments up to the fourth, and how those of two sets become those of both. Pure functions of arrays.

A set is described by its number of values, their mean, and the sums of the 2nd, 3rd and 4th powers of deviations from
it; two such descriptions merge exactly (Chan, Golub and LeVeque 1979; Pébay 2008, equations 2.1 and 2.5 to 2.7).
Everything works elementwise on arrays: one set an element.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIELDS", "Central", "central_of"]

FIELDS = ("count", "mean", "m2", "m3", "m4", "low", "high")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Central:
    """Sets of values, one an element of each array, which have one shape. An empty set has count 0."""

    count: Array
    mean: Array
    m2: Array
    m3: Array
    m4: Array
    low: Array
    """Smallest value, inf where there is none."""
    high: Array
    """Largest value, -inf where there is none."""

    @staticmethod
    def from_tally(tally: Mapping[str, NDArray[Any]], name: str) -> Central:
        """From a tally in which it was written under ``name``."""
        return Central(*(tally[f"{name}_{field}"] for field in FIELDS))

    def to_tally(self, name: str) -> dict[str, NDArray[Any]]:
        """As arrays of a tally, under ``name``."""
        return {f"{name}_{field}": getattr(self, field) for field in FIELDS}

    def merge(self, other: Central) -> Central:
        """The sets of both."""
        count = self.count + other.count
        share = np.divide(other.count, count, out=np.zeros_like(count), where=count > 0)
        rest = 1 - share
        step = other.mean - self.mean
        both = self.count * share  # n_a n_b / n
        step2 = step * step
        m2 = self.m2 + other.m2 + step2 * both
        m3 = self.m3 + other.m3 + step2 * step * both * (rest - share) + 3 * step * (rest * other.m2 - share * self.m2)
        m4 = (
            self.m4
            + other.m4
            + step2 * step2 * both * (rest * rest - rest * share + share * share)
            + 6 * step2 * (rest * rest * other.m2 + share * share * self.m2)
            + 4 * step * (rest * other.m3 - share * self.m3)
        )
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Central(count, self.mean + step * share, m2, m3, m4, low, high)

    def joined(self) -> Central:
        """All sets along the last axis as one."""
        merged = self
        while merged.count.shape[-1] > 1:
            width = merged.count.shape[-1]
            pairs = merged[: width - width % 2]
            halved = pairs[::2].merge(pairs[1::2])
            merged = halved if width % 2 == 0 else halved.beside(merged[width - 1 :])
        return merged.map(lambda values: values[..., 0])

    def __getitem__(self, place: slice) -> Central:
        """Some of the sets along the last axis."""
        return self.map(lambda values: values[..., place])

    def beside(self, other: Central) -> Central:
        """More sets along the last axis."""
        parts = (np.concatenate([getattr(self, f), getattr(other, f)], axis=-1) for f in FIELDS)
        return Central(*parts)

    def map(self, change: Any) -> Central:
        """The same change to every array."""
        return Central(*(change(getattr(self, field)) for field in FIELDS))

    def described(self) -> dict[str, Array]:
        """Mean, variance of the population, skewness, excess kurtosis, smallest, largest; NaN where there is none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = self.m2 / self.count
            skewness = (self.m3 / self.count) / variance**1.5
            kurtosis = (self.m4 / self.count) / variance**2 - 3
        there = self.count > 0
        plain = {"mean": self.mean, "variance": variance, "minimum": self.low, "maximum": self.high}
        found = {name: np.where(there, values, np.nan) for name, values in plain.items()}
        return {**found, "skewness": skewness, "kurtosis": kurtosis}


def central_of(values: NDArray[Any], sets: NDArray[np.int64] | None = None, count: int = 1) -> Central:
    """The moments of values (n,) in float64, in ``count`` sets where ``sets`` (n,) names each value's.

    Arrays have the shape (count,).
    """
    exact = values.astype(np.float64)
    which = np.zeros(len(exact), np.int64) if sets is None else sets
    number = np.bincount(which, minlength=count).astype(np.float64)
    mean = np.bincount(which, exact, minlength=count) / np.maximum(number, 1)
    off = exact - mean[which]
    square = off * off
    powers = (square, square * off, square * square)
    m2, m3, m4 = (np.bincount(which, power, minlength=count).astype(np.float64) for power in powers)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, which, exact)
    np.maximum.at(high, which, exact)
    return Central(number, mean, m2, m3, m4, low, high)
