"""Principal components of a covariance, from the whole of it or from random products: those of a known spectrum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.statistics.principal import components, random_basis

SEEDS = st.integers(0, 10**6)


def spectrum(seed, width=120):
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.normal(0, 1, (width, width)))[0]
    values = 0.6 ** np.arange(width)
    return (turn * values) @ turn.T, turn, values


@settings(max_examples=20)
@given(SEEDS)
def test_random_products_find_the_leading_components(seed):
    covariance, turn, values = spectrum(seed)
    basis = random_basis(120, 40)
    vectors, found = components(covariance @ basis, basis, 8)
    assert found == pytest.approx(values[:8], rel=5e-3)
    assert np.abs((vectors * turn[:, :8]).sum(axis=0)) == pytest.approx(np.ones(8), abs=1e-3)
    assert (found <= values[:8] * (1 + 1e-9)).all()


@settings(max_examples=20)
@given(SEEDS)
def test_the_whole_covariance_gives_its_eigenvectors_with_a_settled_sign(seed):
    covariance, turn, values = spectrum(seed, width=12)
    vectors, found = components(covariance, None, 5)
    assert found == pytest.approx(values[:5])
    assert np.abs((vectors * turn[:, :5]).sum(axis=0)) == pytest.approx(np.ones(5))
    assert (vectors[np.abs(vectors).argmax(axis=0), np.arange(5)] > 0).all()


def test_features_that_are_all_equal_have_no_variance():
    basis = random_basis(5, 3)
    assert components(np.zeros((5, 3)), basis, 2)[1].tolist() == [0, 0]
    assert components(np.zeros((5, 5)), None, 2)[1].tolist() == [0, 0]
