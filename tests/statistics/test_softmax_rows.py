"""Sums of softmax and the leading logits of rows equal float64 NumPy, whatever the temperatures and classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.statistics.softmax_rows import LEADING, powers_of, softmax_rows


def exact(logits, tau):
    d = logits.astype(np.float64)
    d -= d.max(axis=1, keepdims=True)
    e = np.exp(d / tau)
    total = e.sum(axis=1)
    return np.log(total), (e * d).sum(axis=1) / total, (e**2).sum(axis=1) / total**2


@pytest.mark.parametrize("classes", [1, 2, 10, 50, 399, 1001])
@pytest.mark.parametrize("taus", [(0.5, 1.0, 2.0, 4.0, 8.0, 20.0), (0.3, 0.7, 1.9, 50.0), (4.0,)])
def test_sums_equal_float64(classes, taus):
    logits = np.random.default_rng(classes).normal(5, 4, (300, classes)).astype(np.float32)
    found = softmax_rows(logits, taus)
    assert set(found.taus) == {*taus, 1.0}
    for tau in found.taus:
        log_total, below, square = exact(logits, tau)
        place = found.at(tau)
        assert np.abs(found.log_total[place] - log_total).max() < 1e-5
        assert np.abs(found.below[place] - below).max() < 1e-5 * max(1, np.abs(below).max())
        assert np.abs(found.square[place] / square - 1).max() < 1e-5


@pytest.mark.parametrize("classes", [1, 3, 50, 51, 799, 800, 1001])
def test_the_leading_logits_are_the_largest_in_order(classes):
    random = np.random.default_rng(classes)
    logits = random.normal(0, 3, (200, classes)).astype(np.float32)
    logits[::7] = np.round(logits[::7])  # many equal ones
    logits[::11, : classes // 2] += 40
    found = softmax_rows(logits, (1.0,))
    falling = np.sort(logits, axis=1)[:, ::-1]
    count = min(LEADING, classes)
    assert np.array_equal(found.leading, falling[:, :count])
    beyond = np.exp(falling[:, count:].astype(np.float64) - falling[:, :1]).sum(axis=1)
    assert np.allclose(found.beyond, beyond, rtol=1e-4, atol=1e-35)


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e4, 1e30])
def test_everything_is_finite_at_any_scale(scale):
    logits = np.random.default_rng(0).normal(0, scale, (20, 900)).astype(np.float32)
    found = softmax_rows(logits, (0.1, 50.0))
    for values in (found.leading, found.beyond, found.log_total, found.below, found.square):
        assert np.isfinite(values).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.05, 60), min_size=1, max_size=8, unique=True))
def test_every_temperature_comes_from_an_exponential_or_a_power_of_an_earlier_one(taus):
    falling = sorted(taus, reverse=True)
    for place, (earlier, power) in enumerate(powers_of(falling)):
        if earlier >= 0:
            assert earlier < place
            assert 1 <= power <= 6
            assert falling[earlier] == pytest.approx(power * falling[place])


def test_powers_are_found():
    assert powers_of((20.0, 8.0, 4.0, 2.0, 1.0)) == ((-1, 1), (-1, 1), (1, 2), (2, 2), (3, 2))
    assert powers_of((20.0, 4.0)) == ((-1, 1), (0, 5))
