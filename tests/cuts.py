"""A measure's dataset of one block, however the block is cut and in whatever order its pieces are joined."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from logitcache.statistics.measure import About


def about(block, **known):
    """Whose block it is; classes have letters."""
    return About("big", "train", tuple("abcdefghijklmnopqrst"[: block.classes]), block.rows, **known)


def measured(measure, block, *, cuts=(), order=None, **known):
    """The dataset; ``cuts`` are rows where the block is cut, ``order`` the seed of the pieces' order."""
    edges = [0, *sorted(set(cuts) & set(range(1, block.rows))), block.rows]
    tallies = [measure.tally(block.cut(slice(a, b))) for a, b in itertools.pairwise(edges)]
    if order is not None:
        tallies = [tallies[i] for i in np.random.default_rng(order).permutation(len(tallies))]
    return measure.dataset(functools.reduce(measure.merge, tallies), about(block, **known))
