"""Measures of one teacher's logits equal float64 NumPy, however the rows are cut and in whatever order they merge."""

from __future__ import annotations

import numpy as np
import plain_statistics as plain
import pytest
import xarray as xr
from cuts import measured
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.statistics.agreement import Agreement
from logitcache.statistics.block import Block
from logitcache.statistics.central import central_of
from logitcache.statistics.covariance import Covariance
from logitcache.statistics.histogram import QUANTILES, Histogram, edges, grid_counts, quantiles
from logitcache.statistics.moments import Moments
from logitcache.statistics.softness import Softness, smallest_between
from logitcache.statistics.topk import TopK

TAUS = (0.5, 1.0, 4.0)
MEASURES = (Moments(), Histogram(), Agreement(), Softness(), TopK((1, 3, 20, 50)), Covariance())


def make_block(rows=90, classes=20, seed=0, offset=0.0):
    random = np.random.default_rng(seed)
    labels = np.where(np.arange(rows) % 6 == 5, classes + 3, random.integers(0, classes - 1, rows))
    logits = random.normal(offset, 3, (rows, classes)).astype(np.float32)
    logits[np.arange(rows), np.minimum(labels, classes - 1)] += 4
    return Block(logits, labels, taus=TAUS)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, 89), max_size=6), order=st.integers(0, 99), seed=st.integers(0, 3))
def test_any_cut_and_any_order_gives_the_same(measure, cuts, order, seed):
    block = make_block(seed=seed)
    once = measured(measure, block, taus=TAUS)
    again = measured(measure, block, cuts=cuts, order=order, taus=TAUS)
    assert set(once) == set(again)
    for name, values in once.items():
        assert np.allclose(values, again[name], rtol=1e-5, atol=1e-5, equal_nan=True), name


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_every_variable_has_units_a_name_and_coordinates(measure):
    found = measured(measure, make_block(), taus=TAUS)
    assert isinstance(found, xr.Dataset)
    for name, values in found.items():
        assert values.attrs["units"], name
        assert values.attrs["long_name"], name
        assert set(values.dims) <= set(found.coords)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_moments_equal_numpy(offset):
    block = make_block(rows=700, offset=offset)
    found, exact = measured(Moments(), block), block.logits.astype(np.float64)
    for name, expected in plain.moments(exact).items():
        assert np.allclose(found[name], expected, rtol=2e-4, atol=2e-4), name
    for before, values in (
        ("overall_", exact.ravel()),
        ("row_mean_", exact.mean(axis=1)),
        ("row_norm_", np.sqrt(np.square(exact).sum(axis=1))),
    ):
        for name, expected in plain.moments(values).items():
            close = 2e-4 if offset == 0 or name not in {"skewness", "kurtosis", "variance"} else 2e-2
            assert np.allclose(found[before + name], expected, rtol=close, atol=close), before + name
    assert found["samples"] == 700


def test_moments_of_shifted_logits_have_an_error_below_1e_5():
    random = np.random.default_rng(0)
    logits = (random.gamma(2, 3, (4000, 40)) + np.linspace(-20, 20, 40)).astype(np.float32)
    found = measured(Moments(), Block(logits[:, :20], np.zeros(4000, np.int64)))
    for name, expected in plain.moments(logits[:, :20].astype(np.float64)).items():
        assert np.allclose(found[name], expected, rtol=1e-5, atol=1e-5), name


def test_empty_sets_of_moments_say_nothing_and_merge_as_nothing():
    values, sets = np.array([1.0, 2.0, 4.0]), np.array([0, 2, 2])
    some = central_of(values, sets, 4)
    none = central_of(values[:0], sets[:0], 4)
    for merged in (some.merge(none), none.merge(some)):
        found = merged.described()
        assert np.isnan(found["mean"][[1, 3]]).all()
        assert found["mean"][[0, 2]].tolist() == [1.0, 3.0]
        assert found["variance"][2] == 1.0


def test_histograms_count_exactly_and_quantiles_are_off_by_one_128th():
    block = make_block(rows=500)
    found, z = measured(Histogram(), block), block.logits.astype(np.float64).ravel()
    left, right = found["all_left"].values, found["all_right"].values
    width = right[0] - left[0]
    assert np.log2(width) == round(np.log2(width))
    inside = [((z > a) & (z <= b) if a < 0 else (z >= a) & (z < b)).sum() for a, b in zip(left, right, strict=True)]
    assert found["all_count"].values.tolist() == inside
    assert float((found["all_density"] * width).sum()) == pytest.approx(1)
    expected = np.quantile(z, QUANTILES, method="inverted_cdf")
    assert np.all(np.abs(found["all_quantile"] - expected) <= np.abs(expected) / 128 + 1e-9)
    own = block.logits[block.known, block.labels[block.known]]
    for name, values in (("own", own), ("margin", plain.margins(block)), ("largest", block.logits.max(axis=1))):
        assert found[f"{name}_count"].sum() == len(values)
        assert found[f"{name}_quantile"][5] == pytest.approx(
            np.quantile(values, 0.5, method="inverted_cdf"), rel=1 / 64
        )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_the_grid_holds_every_number_in_order(values):
    numbers = np.array(values, np.float32)
    counts, grid = grid_counts(numbers), edges()
    assert counts.sum() == len(numbers)
    assert (np.diff(grid) >= 0).all()
    for place in np.flatnonzero(counts):
        inside = (numbers >= grid[place]) & (numbers <= grid[place + 1])
        assert inside.sum() >= counts[place]
    low, high = quantiles(counts, (0.0, 1.0))
    assert low <= numbers.min() or np.isclose(low, numbers.min(), rtol=1 / 100)
    assert high >= numbers.max() or np.isclose(high, numbers.max(), rtol=1 / 100)


def test_agreement_equals_numpy():
    block = make_block(rows=300)
    found = measured(Agreement(), block)
    y, z = block.labels[block.known], block.logits[block.known].astype(np.float64)
    top = z.argmax(axis=1)
    assert found["samples"] == len(y)
    assert found["accuracy"] == pytest.approx(100 * (top == y).mean())
    among = [label in np.argsort(-row)[:5] for label, row in zip(y, z, strict=True)]
    assert found["top5_accuracy"] == pytest.approx(100 * np.mean(among))
    for k in range(20):
        mine = y == k
        assert found["class_samples"][k] == mine.sum()
        assert found["confusion"][k].values.tolist() == np.bincount(top[mine], minlength=20).tolist()
        if not mine.any():
            assert np.isnan(found["class_accuracy"][k])
            assert np.isnan(found["own_mean"][k])
            continue
        assert found["class_accuracy"][k] == pytest.approx(100 * (top[mine] == k).mean())
        assert np.allclose(found["class_mean"][k], z[mine].mean(axis=0), rtol=1e-5, atol=1e-6)
        for before, values in (("own_", z[mine, k]), ("margin_", plain.margins(block)[mine])):
            for name, expected in plain.moments(values).items():
                assert np.allclose(found[before + name][k], expected, rtol=1e-4, atol=1e-4), before + name


def test_softness_equals_numpy_at_each_temperature():
    block = make_block(rows=400)
    found = measured(Softness(), block, taus=TAUS)
    for tau in TAUS:
        at = found.sel(tau=tau)
        for name, expected in plain.softness(block, tau).items():
            assert at[name] == pytest.approx(expected, abs=2e-6), (name, tau)
        assert at["bin_count"].sum() == block.known.sum()
        weight = at["bin_count"] / at["bin_count"].sum()
        assert float((weight * abs(at["bin_confidence"] - at["bin_accuracy"])).sum()) == pytest.approx(float(at["ece"]))
        by_class = (at["class_nll"].fillna(0) * np.bincount(block.labels[block.known], minlength=20)).sum()
        assert float(by_class / block.known.sum()) == pytest.approx(float(at["nll"]))


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_the_best_tau_is_where_the_nll_is_smallest(scale):
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (1500, 10))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([random.choice(10, p=each) for each in p])
    taus = (0.25, 0.5, 1.0, 2.0, 4.0)
    block = Block((scale * logits).astype(np.float32), labels, taus=taus)
    found = measured(Softness(), block, taus=taus)
    grid = np.geomspace(0.25, 4, 200)
    nll = [plain.softness(block, tau)["nll"] for tau in grid]
    assert found["best_tau"] == pytest.approx(grid[np.argmin(nll)], rel=0.02)
    assert found["best_nll"] == pytest.approx(min(nll), abs=3e-3)
    assert found["best_tau_inside"] == 1


def test_the_best_of_a_list_that_ends_too_early_is_its_end():
    x = np.array([1.0, 2.0])
    assert smallest_between(x, x**2, 2 * x) == (1.0, 1.0)
    assert smallest_between(x, (x - 5) ** 2, 2 * (x - 5)) == (2.0, 9.0)
    place, value = smallest_between(x, (x - 1.3) ** 2, 2 * (x - 1.3))
    assert (place, value) == (pytest.approx(1.3), pytest.approx(0, abs=1e-12))


@pytest.mark.parametrize("classes", [4, 20, 900])
def test_topk_says_what_a_store_of_the_largest_would_keep(classes):
    block = make_block(rows=40, classes=classes)
    measure = TopK((1, 3, 20, 50))
    total = measure.tally(block)
    kept = 1 - total["lost"] / total["signal"][:, None]
    for place, tau in enumerate(TAUS):
        falling = -np.sort(-np.exp(plain.log_softmax(block.logits, tau)), axis=1)
        for number, k in enumerate(measure.ks):
            if k <= classes:
                assert total["mass"][place, number] == pytest.approx(falling[:, :k].sum(), rel=1e-5)
                assert kept[place, number] == pytest.approx(plain.signal_kept(block.logits, k, tau), abs=1e-4)


def test_topk_is_finite_where_one_logit_has_all():
    logits = np.zeros((5, 900), np.float32)
    logits[:, 3] = 1e4
    found = TopK().tally(Block(logits, np.zeros(5, np.int64), taus=(0.1, 1.0, 50.0)))
    assert all(np.isfinite(values).all() for values in found.values())


def test_covariance_equals_numpy():
    block = make_block(rows=300, offset=50.0)
    found = measured(Covariance(), block)
    expected = np.cov(block.logits.T.astype(np.float64), bias=True)
    assert np.allclose(found["covariance"], expected, atol=1e-4 * expected.max())
    spectrum = np.linalg.eigvalsh(expected)[::-1]
    assert np.allclose(found["spectrum"], spectrum, atol=1e-4 * spectrum[0])
    share = spectrum / spectrum.sum()
    assert found["effective_rank"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-4)


def test_without_labels_what_needs_them_is_nan():
    block = Block(make_block().logits, np.full(90, -1), taus=TAUS)
    found = measured(Softness(), block, taus=TAUS)
    assert np.isnan(found["nll"]).all()
    assert np.isnan(found["best_tau"])
    assert (found["entropy"] > 0).all()
    assert np.isnan(measured(Histogram(), block)["margin_quantile"]).all()
