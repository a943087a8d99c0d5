"""The KL of every row is the textbook's, at any temperatures in any order, however small or large the errors are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from textbook import realistic, textbook_kl

from logitcache.store.encodings.kl import _octaves, kl_rows

TAUS = (0.5, 1.0, 2.0, 4.0, 20.0)
SOME = [0.3, 0.5, 0.6, 1.0, 1.2, 2.0, 2.4, 3.0, 4.0, 7.3, 8.0, 20.0, 64.0]


def block(rows=40, classes=10, size=0.05, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 5, (rows, classes)).astype(np.float32)
    return logits, rng.uniform(-size, size, logits.shape).astype(np.float32)


def kl(logits, error, taus):
    return kl_rows(torch.from_numpy(logits), torch.from_numpy(error), taus).numpy()


def agrees(found, logits, error, taus):
    # float32 carries 1 + 1e-7: what is lost is about 1e-7 of the error, not of one
    size = np.abs(error).max()
    for row, tau in zip(found, taus, strict=True):
        expected = textbook_kl(logits, error, tau)
        np.testing.assert_allclose(row, expected, rtol=1e-3, atol=4e-7 * size / tau)


@pytest.mark.parametrize("size", [1e4, 100.0, 20.0, 1.0, 0.05, 1e-3])
def test_kl_agrees_with_the_textbook_in_long_double(size):
    logits, error = block(size=size)
    agrees(kl(logits, error, TAUS), logits, error, TAUS)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from(SOME), min_size=1, max_size=9),
    st.sampled_from([1e-3, 0.1, 3.0, 50.0]),
    st.integers(0, 9),
)
def test_any_order_and_any_duplicates_of_temperatures_give_each_its_own_kl(taus, size, seed):
    logits, error = block(rows=8, size=size, seed=seed)
    agrees(kl(logits, error, taus), logits, error, taus)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.05, 50), st.integers(2, 9), st.sampled_from([0.01, 0.5, 5.0]), st.integers(0, 9))
def test_a_chain_of_halvings_equals_separate_exponentials(tau, length, size, seed):
    logits, error = block(rows=8, size=size, seed=seed)
    taus = [tau * 2.0**-k for k in range(length)]
    separate = np.concatenate([kl(logits, error, [each]) for each in taus])
    np.testing.assert_allclose(kl(logits, error, taus), separate, rtol=1e-3, atol=1e-6 * size / taus[-1])


def test_halvings_stand_right_behind_what_they_halve():
    taus = (0.5, 3.0, 8.0, 1.0, 20.0, 4.0, 2.0, 1.5)
    in_turn = sorted(taus, key=_octaves)
    assert in_turn == [8.0, 4.0, 2.0, 1.0, 0.5, 20.0, 3.0, 1.5]


@pytest.mark.parametrize("size", [59.0, 61.0, 300.0, 1e6])
def test_huge_errors_are_finite_and_right_in_some_rows_or_all(size):
    logits, error = block(rows=30, size=0.1)
    error[::3] *= size / 0.1
    taus = (0.25, 0.5, 1.0, 7.0)
    found = kl(logits, error, taus)
    assert np.isfinite(found).all()
    agrees(found[:, ::3], logits[::3], error[::3], taus)
    agrees(found[:, 1::3], logits[1::3], error[1::3], taus)


@pytest.mark.parametrize("drop", [3.0, 9.0, 17.0, 40.0, 59.0, 500.0])
def test_a_sunken_top_class_is_seen(drop):
    """E_p[exp d] is nearly 0 where nearly all probability is lost, which float32's expm1 cannot tell from -1."""
    logits, error = np.zeros((2, 5), np.float32), np.zeros((2, 5), np.float32)
    logits[:, 2], error[0, 2], error[1, 2] = 25, -drop, drop
    taus = (1.0, 0.5, 2.0)
    agrees(kl(logits, error, taus), logits, error, taus)


def test_arguments_are_left_alone_and_no_kl_is_negative():
    logits, error = block(size=1e-6)
    before = logits.copy(), error.copy()
    assert (kl(logits, error, (20.0, 10.0, 5.0, 0.1)) >= 0).all()
    assert (logits == before[0]).all()
    assert (error == before[1]).all()


def test_a_shift_of_all_logits_is_ignored():
    logits, _ = block()
    assert kl(logits, np.full_like(logits, 0.125), (1.0,)).max() < 1e-7


def test_rows_do_not_depend_on_their_neighbours():
    logits, error = realistic(64, 40), block(64, 40, 0.3)[1]
    alone = np.concatenate([kl(logits[row : row + 1], error[row : row + 1], TAUS) for row in range(64)], axis=1)
    np.testing.assert_allclose(kl(logits, error, TAUS), alone, rtol=1e-5)
