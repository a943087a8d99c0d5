"""A row that is let through keeps the promise at every temperature, and few are kept out without need."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from textbook import KINDS, realistic
from textbook import worst_kl as true_worst

from logitcache.store.encodings import certify
from logitcache.store.encodings.certify import MARGIN, coarse_grid, fine_grid, worst_kl
from logitcache.store.encodings.kl import kl_rows

SHAPES = ("normal", "uniform", "sparse", "sunken")


def errors(logits, size, shape, seed):
    """Errors of a shape (rows, classes) float32, their size spread around ``size``: from harmless to hopeless."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=logits.shape)
    if shape == "uniform":
        noise = rng.uniform(-1.7, 1.7, logits.shape)
    if shape == "sparse":
        noise = noise * (rng.random(logits.shape) < 0.1)
    if shape == "sunken":
        noise = -np.abs(noise) * np.sign(logits - np.median(logits, axis=1, keepdims=True))
    return (noise * size * np.exp(rng.uniform(-1.5, 2.0, (len(logits), 1)))).astype(np.float32)


def worst(logits, error, tau_min, max_kl, coarse=None):
    return worst_kl(torch.from_numpy(logits), torch.from_numpy(error), tau_min, max_kl, coarse).numpy()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(SHAPES),
    st.sampled_from([2, 5, 60, 300]),
    st.tuples(st.sampled_from([0.5, 1.0, 4.0]), st.sampled_from([0.3, 0.1, 0.01, 1e-3])),
    st.integers(0, 2**16),
)
def test_rows_that_pass_keep_the_promise_at_every_temperature(kind, shape, classes, promise, seed):
    tau_min, max_kl = promise
    logits = realistic(60, classes, seed, kind)
    error = errors(logits, tau_min * np.sqrt(8 * max_kl), shape, seed)
    found = worst(logits, error, tau_min, max_kl)
    truth = true_worst(logits, logits.astype(np.float64) + error, tau_min)
    passed = np.isfinite(found)
    assert (found[passed] <= MARGIN * max_kl).all()
    assert (truth[passed] <= max_kl).all()
    looked_at = passed & (found > 0.6 * max_kl)
    assert (truth[looked_at] <= 1.06 * found[looked_at]).all()


def test_rows_fail_only_where_they_come_near_the_promise():
    logits = realistic(300, 60)
    error = errors(logits, 0.5, "normal", 0)
    truth = true_worst(logits, logits.astype(np.float64) + error, 1.0)
    found = worst(logits, error, 1.0, 0.05)
    assert 20 < np.isinf(found).sum() < 280
    assert (truth[np.isinf(found)] > 0.9 * MARGIN * 0.05).all()


@pytest.fixture
def looks(monkeypatch):
    """The temperatures and numbers of rows of each look."""
    seen = []

    def counted(logits, error, taus):
        seen.append((tuple(taus), len(logits)))
        return kl_rows(logits, error, taus)

    monkeypatch.setattr(certify, "kl_rows", counted)
    return seen


def pair(error):
    """Two classes of equal logit, the first off by ``error``: the KL is about (error / tau)**2 / 8."""
    return np.zeros((1, 2), np.float32), np.array([[error, 0.0]], np.float32)


def test_a_row_far_below_the_promise_is_looked_at_three_times(looks):
    assert np.isfinite(worst(*pair(0.1), 1.0, 0.01)).all()
    assert looks == [(coarse_grid(1.0), 1)]


def test_what_is_known_of_a_row_is_not_measured_again(looks):
    logits, error = pair(0.1)
    known = torch.full((3, 1), 0.001)
    assert worst(logits, error, 1.0, 0.01, known).item() == pytest.approx(0.001)
    assert looks == []


def test_a_row_near_the_promise_is_looked_at_in_between(looks):
    max_kl = 0.1**2 / 8 / 0.8
    assert np.isfinite(worst(*pair(0.1), 1.0, max_kl)).all()
    assert looks == [(coarse_grid(1.0), 1), (fine_grid(1.0), 1)]


def test_the_look_in_between_finds_what_the_first_one_missed():
    """A class far above many equal ones that are all off alike: the KL peaks where both weigh the same."""
    logits = np.full((1, 10_001), -1.2 * np.log(10_000), np.float32)
    error = np.full((1, 10_001), 0.3, np.float32)
    logits[0, 0] = error[0, 0] = 0
    coarse = kl_rows(torch.from_numpy(logits), torch.from_numpy(error), coarse_grid(1.0)).max().item()
    truth = true_worst(logits, logits + error, 1.0).item()
    assert truth > 1.3 * coarse
    assert worst(logits, error, 1.0, coarse / 0.8).item() == np.inf
    assert worst(logits, error, 1.0, coarse / 0.49).item() == pytest.approx(coarse)  # far enough away
    assert 0.95 * truth < worst(logits, error, 1.0, truth / 0.91).item() <= truth


def test_where_the_range_of_errors_proves_nothing_hotter_temperatures_are_looked_at(looks):
    """A class of little weight that is far off matters only where it has some."""
    logits, error = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)
    logits[:, 1], error[0, 1] = -60.0, 9.0
    assert worst(logits, error, 1.0, 1.0)[0] < 1
    assert [taus for taus, _ in looks] == [coarse_grid(1.0)]  # (9 / 4)**2 / 8 < 1 is proof enough
    looks.clear()
    found = worst(logits, error, 1.0, 0.1)
    assert looks[:2] == [(coarse_grid(1.0), 2), (coarse_grid(4.0), 1)]
    truth = true_worst(logits, logits + error, 1.0)[0]
    assert truth / 2 < found[0] < truth < 0.1
    assert found[1] == 0
    assert np.isinf(worst(logits, error, 1.0, truth / 1.1)[0])


def test_the_search_ends_whatever_the_error():
    logits = np.zeros((3, 4), np.float32)
    logits[:, 0] = 1e4
    error = np.zeros((3, 4), np.float32)
    error[0, 1], error[1, 0], error[2, 1] = 1e3, np.nan, np.inf
    found = worst(logits, error, 1.0, 1e-3)
    assert np.isinf(found[1:]).all()
    assert not np.isnan(found).any()


def test_arguments_are_left_alone():
    logits, error = realistic(30, 20), errors(realistic(30, 20), 0.3, "normal", 0)
    coarse = kl_rows(torch.from_numpy(logits), torch.from_numpy(error), coarse_grid(1.0))
    before = logits.copy(), error.copy(), coarse.clone()
    worst(logits, error, 1.0, 0.02, coarse)
    assert (logits == before[0]).all()
    assert (error == before[1]).all()
    assert torch.equal(coarse, before[2])
