"""A keyed sample of rows with their features: the first few of each class in a fixed random order of row numbers.

What needs class means or the last layer beside single rows (nearest class mean, projections, points to draw) is
worked out on these rows when the pass is over. Of a class with no more rows than are kept, all are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logitcache.statistics.block import Block
from logitcache.statistics.measure import About, Tally, variable
from logitcache.statistics.ranked import first_of_groups, join_lists, keyed_order, take

__all__ = ["SAMPLE_BYTES", "drawn", "merge_samples", "per_class_limit", "sample_of", "sample_variables", "take_classes"]

SAMPLE_BYTES = 16 << 20
"""Features of a sample have no more bytes than this, one row a class at least."""

_SEED = 0xFEA7
_NAMES = ("sample_key", "sample_row", "sample_view", "sample_class", "sample_top", "sample_features")

Rows = dict[str, NDArray[Any]]


def per_class_limit(wanted: int, classes: int, width: int) -> int:
    """Rows kept of each class: as many as wanted, unless all of them would take more than ``SAMPLE_BYTES``."""
    return max(1, min(wanted, SAMPLE_BYTES // (4 * max(1, width) * max(1, classes))))


def sample_of(block: Block, rows: NDArray[np.int64], per_class: int) -> Rows:
    """The sample of some rows of a block, unknown classes as a class of their own (-1).

    Returns:
        ``sample_key``, ``sample_row`` (of the split), ``sample_view``, ``sample_class``, ``sample_top`` (the class of
        the largest logit), int64 (n,); ``sample_features`` float32 (n, features); sorted by class and key.
    """
    if block.features is None:
        raise ValueError("a sample of features needs a block with features")
    numbers, classes = block.first + rows, block.labels[rows]
    key = keyed_order(_SEED, numbers, block.view)
    kept = first_of_groups(classes, (key, numbers), per_class)
    return {
        "sample_key": key[kept],
        "sample_row": numbers[kept],
        "sample_view": np.full(len(kept), block.view, np.int64),
        "sample_class": classes[kept],
        "sample_top": block.top[rows[kept]],
        "sample_features": block.features[rows[kept]],
    }


def merge_samples(a: Tally, b: Tally, per_class: int) -> Rows:
    """The sample of the rows of both."""
    return drawn(join_lists(a, b, _NAMES), per_class)


def drawn(sample: Tally, per_class: int) -> Rows:
    """A smaller sample, with no more than ``per_class`` rows of each class."""
    order = (sample["sample_key"], sample["sample_row"], sample["sample_view"])
    return take({name: sample[name] for name in _NAMES}, first_of_groups(sample["sample_class"], order, per_class))


def take_classes(sample: Tally, classes: Sequence[int]) -> Rows:
    """The rows of some classes, in the order of these classes."""
    found = [np.flatnonzero(sample["sample_class"] == each) for each in classes]
    kept = np.concatenate([np.empty(0, np.int64), *found])
    return take({name: sample[name] for name in _NAMES}, kept)


def sample_variables(sample: Tally, about: About, prefix: str) -> dict[str, Any]:
    """Which samples they are, along ``sample``: row, index, class and prediction, classes by number."""
    row = sample["sample_row"]
    index = np.full(len(row), -1) if about.index is None else about.index[row]
    columns = {
        "row": (row, "row of the split"),
        "index": (index, "index of the sample in the full data set, -1 where unknown"),
        "class": (sample["sample_class"], "number of the true class, -1 where unknown"),
        "predicted": (sample["sample_top"], "number of the most probable class"),
    }
    return {f"{prefix}_{name}": variable(("sample",), values, "1", text) for name, (values, text) in columns.items()}
