"""Lists of the first few rows of each group, in a total order, that merge exactly.

A list is a dictionary of arrays with one entry a row. Which rows are kept depends on their own values alone, so
joining lists in any order and grouping keeps the same rows as making one list of all. A keyed draw as the order
makes a list a random sample of its group (bottom-k sampling: Cohen and Kaplan 2007, "Summarizing data using bottom-k
sketches"), the same one for every teacher, cut and scheduler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from logitcache.keyed import draw

__all__ = ["first_of_groups", "join_lists", "keyed_order", "places", "take"]

Rows = dict[str, NDArray[Any]]


def first_of_groups(groups: NDArray[Any], order: Sequence[NDArray[Any]], count: int) -> NDArray[np.int64]:
    """Positions of the first ``count`` rows of each group, sorted by group and then by the order.

    Args:
        groups: (rows,) integers.
        order: arrays (rows,), the most important first; together they should differ between rows.
        count: how many of each group, at least 1.
    """
    sorted_rows = np.lexsort((*reversed(order), groups))
    return sorted_rows[places(groups[sorted_rows]) < count]


def places(groups: NDArray[Any]) -> NDArray[np.int64]:
    """How many rows of the same group stand before each row, int64 (rows,)."""
    sorted_rows = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[sorted_rows], return_index=True, return_counts=True)
    place = np.empty(len(groups), np.int64)
    place[sorted_rows] = np.arange(len(groups)) - np.repeat(starts, sizes)
    return place


def take(rows: Mapping[str, NDArray[Any]], positions: NDArray[Any]) -> Rows:
    """Some rows of a list."""
    return {name: values[positions] for name, values in rows.items()}


def join_lists(a: Mapping[str, NDArray[Any]], b: Mapping[str, NDArray[Any]], names: Sequence[str]) -> Rows:
    """The rows of both, of the arrays named."""
    return {name: np.concatenate((a[name], b[name])) for name in names}


def keyed_order(seed: int, rows: NDArray[np.int64], view: int = 0) -> NDArray[np.int64]:
    """A random number for each row number (rows,) of a view, int64; a pure function of all three."""
    numbers: NDArray[np.int64] = draw(seed, view, torch.from_numpy(np.ascontiguousarray(rows))).numpy()
    return numbers
