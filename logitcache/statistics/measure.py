"""What a measure is: what it needs, what it counts in one block, how counts become one, and the tables they make.

A tally holds float64 sums, float64 extremes and int64 counts by name, arrays of shapes that depend on the measure's
options and the numbers of classes and features alone. Merging is associative and does not depend on the order of
blocks but by rounding, so any cut of the rows, in any order, on any scheduler, gives the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from logitcache.statistics.block import Block

__all__ = ["NEEDS", "About", "Measure", "Need", "Tally", "ViewsMeasure", "variable"]

Tally: TypeAlias = Mapping[str, NDArray[Any]]
"""What was counted: float64 sums and extremes, int64 counts, by name."""

Need: TypeAlias = str
"""One of ``NEEDS``."""

NEEDS: frozenset[Need] = frozenset({"labels", "given", "features", "head", "other", "other_features", "views"})
"""What a measure may ask for beside logits.

* ``labels``: true classes; a split where none is known is left out.
* ``given``: labels that may be wrong, ``Block.given``; likewise.
* ``features``: ``Block.features``; teachers that were cached without are left out.
* ``head``: the teacher's last layer, ``About.weight`` and ``About.bias``; as features.
* ``other``: ``Block.other``, the same rows of another teacher; without one (``--against``) the measure is refused.
* ``other_features``: its features too.
* ``views``: all views of the same rows: a :class:`ViewsMeasure`.
"""


@dataclass(frozen=True)
class About:
    """Whose tally it is. K classes, D features."""

    teacher: str
    split: str
    classes: tuple[str, ...]
    """Names of the K logits, their numbers where nobody named them."""
    rows: int
    """Samples of the split."""
    views: int = 1
    """Views that were measured."""
    taus: tuple[float, ...] = ()
    """Temperatures asked for."""
    other: str = ""
    """The teacher that it is compared with, with its store where that is another one; '' for none."""
    index: NDArray[np.int64] | None = None
    """(rows,) each sample's index in the full data set, where the store knows it."""
    weight: NDArray[np.float32] | None = None
    """(K, D) the teacher's last layer, where the measure needs ``head``."""
    bias: NDArray[np.float32] | None = None
    """(K,) its bias, where there is one."""
    other_weight: NDArray[np.float32] | None = None
    """As ``weight``, of the other teacher, where it is known."""


class _Merging(Protocol):
    """What measures of both kinds have."""

    @property
    def name(self) -> str:
        """As on the command line: ``moments``, ``tau``, ``pair``; a word of its own."""

    @property
    def needs(self) -> frozenset[Need]:
        """What it needs beside logits, of ``NEEDS``."""

    def merge(self, a: Tally, b: Tally) -> Tally:
        """The tally of the rows of both; neither is changed."""

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """What the tally says, labelled.

        Dimensions have their names from: class (true class), logit (class by column), predicted, tau, bin, quantile,
        k, component, view, rank, sample; each has a coordinate. Every variable has the attributes ``units`` ("1"
        where it is a plain number, "percent", "nats", "logits" ...) and ``long_name``. The caller adds teacher and
        split. NaN where there is nothing to say.
        """


@runtime_checkable
class Measure(_Merging, Protocol):
    """A measure of single views: of view 0, or of every view alike where all of them are asked for."""

    def tally(self, block: Block) -> Tally:
        """What one block holds; ``block.rows`` is at least 1."""


@runtime_checkable
class ViewsMeasure(_Merging, Protocol):
    """A measure that compares the views of a sample; ``needs`` has ``views``."""

    def tally_views(self, blocks: Iterator[Block]) -> Tally:
        """What the views of the same rows hold, view 0 first; each block is gone when the next is asked for."""


def variable(dims: tuple[str, ...], values: Any, units: str, long_name: str) -> xr.Variable:
    """A variable of a dataset with the attributes that every one has."""
    return xr.Variable(dims, values, attrs={"units": units, "long_name": long_name})
