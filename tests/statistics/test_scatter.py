"""Scatter by group: equal to float64 whatever the cut, also where groups are tight, and seen through any basis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.statistics.principal import random_basis
from logitcache.statistics.scatter import between, merge_scatter, pooled, scatter_of

SEEDS = st.integers(0, 10**6)


def random_case(seed, rows=50, width=6, groups=4, tight=1.0):
    random = np.random.default_rng(seed)
    which = random.integers(0, groups, rows)
    values = tight * random.normal(0, 1, (rows, width)) + 10 * random.normal(0, 1, (groups, width))[which]
    return values.astype(np.float32), which.astype(np.int64)


def in_pieces(values, which, basis, cuts, groups=4):
    pieces = [
        scatter_of(part, group, groups, basis)
        for part, group in zip(np.split(values, cuts), np.split(which, cuts), strict=True)
        if len(part)
    ]
    total = pieces[-1]
    for piece in pieces[-2::-1]:
        total = merge_scatter(total, piece, basis)
    return total


def reference(values, which, groups=4):
    exact = values.astype(np.float64)
    means = np.stack([exact[which == g].mean(axis=0) if (which == g).any() else np.zeros(6) for g in range(groups)])
    return means, exact - means[which]


@settings(max_examples=50)
@given(SEEDS, st.lists(st.integers(0, 50), max_size=5).map(sorted), st.sampled_from([1.0, 1e-2]), st.booleans())
def test_any_cut_equals_float64_also_of_tight_groups(seed, cuts, tight, seen):
    values, which = random_case(seed, tight=tight)
    basis = random_basis(6, 3) if seen else None
    total = in_pieces(values, which, basis, cuts)
    means, residual = reference(values, which)
    scatter = residual.T @ residual
    assert total["group_rows"].tolist() == np.bincount(which, minlength=4).tolist()
    assert total["group_mean"] == pytest.approx(means, abs=1e-12)
    size = np.trace(scatter)
    assert total["scatter"] == pytest.approx(scatter if basis is None else scatter @ basis, abs=1e-6 * size)
    squares = [np.square(residual[which == g]).sum() for g in range(4)]
    assert total["group_scatter"] == pytest.approx(squares, abs=1e-6 * size)


@given(SEEDS)
def test_all_rows_together_have_their_covariance(seed):
    values, which = random_case(seed)
    total = in_pieces(values, which, None, [20])
    exact = values.astype(np.float64)
    mean, covariance, trace = pooled(total, None)
    assert mean == pytest.approx(exact.mean(axis=0))
    assert covariance == pytest.approx(np.cov(exact.T, bias=True), abs=1e-5)
    assert trace == pytest.approx(np.trace(covariance))
    assert between(total) + total["group_scatter"].sum() / 50 == pytest.approx(trace)


def test_of_no_rows_there_is_no_scatter_between():
    assert np.isnan(between(scatter_of(np.zeros((0, 3), np.float32), np.zeros(0, np.int64), 2, None)))
