"""The measures of pairs, ensembles and views written the plain way, in float64; blocks of random logits."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logitcache.statistics.block import Block

Floats = NDArray[np.float64]


def random_logits(rows: int, classes: int, seed: int, scale: float = 3.0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, scale, (rows, classes)).astype(np.float32)


def make_block(*logits: NDArray[np.float32], labels: NDArray[np.int64], **place: int) -> Block:
    """A block whose other, and the other of that, are the further logits."""
    block = None
    for values in reversed(logits):
        block = Block(values, labels, other=block, **place)
    assert block is not None
    return block


def cut(block: Block, edges: Sequence[int]) -> list[Block]:
    """The block in pieces that begin at these rows."""
    bounds = sorted({0, block.rows, *(edge for edge in edges if 0 < edge < block.rows)})
    return [block.cut(slice(a, b)) for a, b in itertools.pairwise(bounds)]


def soft(logits: NDArray[Any], tau: float) -> Floats:
    scaled = logits.astype(np.float64) / tau
    scaled -= scaled.max(axis=1, keepdims=True)
    p = np.exp(scaled)
    return p / p.sum(axis=1, keepdims=True)


def kl(p: Floats, q: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 0, p * (np.log(p) - np.log(q)), 0.0).sum(axis=1)


def js(*members: Floats) -> Floats:
    middle = np.mean(members, axis=0)
    return np.mean([kl(p, middle) for p in members], axis=0)


def entropy(p: Floats) -> Floats:
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0.0).sum(axis=1)
