"""CKA and Procrustes distance: the articles' formulas on whole matrices, and blind to turns, places and scales."""

from __future__ import annotations

import numpy as np
import pytest
from cuts import measured
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.statistics.block import Block
from logitcache.statistics.measure import Measure
from logitcache.statistics.similarity import Similarity

ROWS = 40
SEEDS = st.integers(0, 10**6)


def features(seed, width=5):
    return np.random.default_rng(seed).normal(1, 2, (ROWS, width)).astype(np.float32)


def compare(first, second, **options):
    logits, labels = np.zeros((ROWS, 3), np.float32), np.full(ROWS, -1, np.int64)
    other = Block(logits, labels, features=np.asarray(second, np.float32))
    block = Block(logits, labels, features=np.asarray(first, np.float32), other=other)
    found = measured(Similarity(), block, other="small", **options)
    return float(found.similarity_cka), float(found.similarity_procrustes), int(found.similarity_rows)


def test_it_is_a_measure():
    assert isinstance(Similarity(), Measure)


@settings(max_examples=40)
@given(SEEDS, st.integers(1, 9), st.sets(st.integers(1, ROWS - 1), max_size=4), st.integers(0, 9))
def test_both_are_those_of_the_whole_matrices_whatever_the_cut(seed, width, cuts, order):
    first, second = features(seed), features(seed + 1, width)
    x, y = (each.astype(np.float64) - each.astype(np.float64).mean(axis=0) for each in (first, second))
    gram_x, gram_y = x @ x.T, y @ y.T
    cka = (gram_x * gram_y).sum() / (np.linalg.norm(gram_x) * np.linalg.norm(gram_y))
    unit_x, unit_y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    distance = 2 - 2 * np.linalg.svd(unit_x.T @ unit_y, compute_uv=False).sum()
    assert compare(first, second, cuts=cuts, order=order) == pytest.approx((cka, distance, ROWS), abs=1e-5)


@settings(max_examples=40)
@given(SEEDS, st.floats(0.1, 10))
def test_a_turned_moved_and_scaled_copy_is_the_same(seed, scale):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(0, 1, (5, 5)))[0]
    first = features(seed)
    assert compare(first, scale * first @ turn + 3) == pytest.approx((1, 0, ROWS), abs=1e-4)


@settings(max_examples=40)
@given(SEEDS)
def test_which_comes_first_does_not_matter(seed):
    first, second = features(seed), features(seed + 1, 3)
    assert compare(first, second) == pytest.approx(compare(second, first), abs=1e-6)


def test_features_without_spread_are_like_nothing():
    cka, distance, _ = compare(features(0), np.ones((ROWS, 2)))
    assert np.isnan(cka)
    assert np.isnan(distance)


def test_it_asks_for_features_of_both():
    block = Block(np.zeros((2, 3), np.float32), np.zeros(2, np.int64), features=np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="features of both"):
        Similarity().tally(block)
