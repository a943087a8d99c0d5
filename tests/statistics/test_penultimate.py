"""Measure ``penultimate``: a float64 reference of every number, any cut, unknown classes, wide features, samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cuts import measured
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.statistics import feature_sample
from logitcache.statistics.block import Block
from logitcache.statistics.measure import Measure
from logitcache.statistics.neural_collapse import collapse_of_means, variability
from logitcache.statistics.penultimate import Penultimate

ROWS, WIDTH, CLASSES = 120, 8, 4
SEEDS = st.integers(0, 10**6)


def random_block(seed, rows=ROWS, width=WIDTH, spread=1.0, unknown=0):
    """Features around class means, and a head that mostly finds their classes."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(rows) % CLASSES)
    means = 3 * random.normal(0, 1, (CLASSES, width))
    features = (means[labels] + spread * random.normal(0, 1, (rows, width))).astype(np.float32)
    weight = (means + random.normal(0, 1, means.shape)).astype(np.float32)
    labels[:unknown] = -1
    return Block(features @ weight.T, labels.astype(np.int64), features=features), weight


def reference(block, weight):
    """Every scalar, in float64, from whole arrays."""
    known, labels = block.known, block.labels[block.known]
    features = block.features.astype(np.float64)
    means = np.stack([features[known][labels == k].mean(axis=0) for k in range(CLASSES)])
    residual = features[known] - means[labels]
    middle = features[known].mean(axis=0)
    within, between = np.square(residual).sum(axis=1).mean(), np.square(means[labels] - middle).sum(axis=1).mean()
    norms = np.linalg.norm(features, axis=1)
    distances = np.linalg.norm(features[known][:, None] - means, axis=2)
    return {
        "feature_rows": block.rows,
        "feature_norm": norms.mean(),
        "feature_norm_std": norms.std(),
        "feature_within": within,
        "feature_between": between,
        "feature_scatter_ratio": within / between,
        "nc1": variability(residual.T @ residual / len(residual), means),
        "nc4": 100 * (distances.argmin(axis=1) != block.top[known]).mean(),
        "nc4_error": 0.0,
        **collapse_of_means(means, weight.astype(np.float64)),
    }


@settings(max_examples=40)
@given(SEEDS, st.sets(st.integers(1, ROWS - 1), max_size=6), st.integers(0, 9), st.sampled_from([0, 15]))
def test_every_number_is_that_of_float64_whatever_the_cut(seed, cuts, order, unknown):
    block, weight = random_block(seed, unknown=unknown)
    found = measured(Penultimate(), block, cuts=cuts, order=order, weight=weight)
    wanted = reference(block, weight)
    assert {name: float(found[name]) for name in wanted} == pytest.approx(wanted, rel=1e-5, abs=1e-9)
    exact = block.features.astype(np.float64)
    values = np.linalg.eigvalsh(np.cov(exact.T, bias=True))[::-1]
    assert found.pca_variance.values == pytest.approx(values, rel=1e-4, abs=1e-6)
    assert float(found.pca_share.sum()) == pytest.approx(100)
    means = np.stack([exact[block.labels == k].mean(axis=0) for k in range(CLASSES)])
    assert found.feature_class_mean.values == pytest.approx(means)
    assert found.feature_class_rows.values.tolist() == [int((block.labels == k).sum()) for k in range(CLASSES)]


def test_it_is_a_measure_that_may_do_without_the_head():
    assert isinstance(Penultimate(), Measure)
    assert Penultimate().needs == {"features", "head"}
    assert Penultimate(head=False).needs == {"features"}
    found = measured(Penultimate(head=False), random_block(0)[0])
    assert np.isnan(float(found.nc3))
    assert np.isfinite(float(found.nc2_angles_means))


def test_points_lie_where_their_features_are_on_the_components():
    block, weight = random_block(1, unknown=10)
    found = measured(Penultimate(count=WIDTH), block, cuts=[50], weight=weight, index=1000 + np.arange(ROWS))
    rows = found.pca_row.values
    assert sorted(rows) == list(range(ROWS))
    assert found.pca_index.values.tolist() == (1000 + rows).tolist()
    assert found.pca_class.values.tolist() == block.labels[rows].tolist()
    assert found.pca_predicted.values.tolist() == block.top[rows].tolist()
    # all components keep all distances
    apart = np.linalg.norm(found.pca_point.values[:, None] - found.pca_point.values, axis=2)
    assert apart == pytest.approx(
        np.linalg.norm(block.features[rows][:, None] - block.features[rows], axis=2), abs=1e-4
    )
    assert (found.pca_x.values, found.pca_y.values) == (
        pytest.approx(found.pca_point[:, 0]),
        pytest.approx(found.pca_point[:, 1]),
    )
    known = found.pca_class.values == 2
    assert found.pca_class_mean.values[2] == pytest.approx(found.pca_point.values[known].mean(axis=0), abs=1e-5)


def test_few_points_are_as_many_of_each_class_and_the_same_for_any_cut():
    block, weight = random_block(2)
    one, other = (measured(Penultimate(points=20), block, cuts=cuts, weight=weight) for cuts in ([], [7, 90]))
    assert np.bincount(one.pca_class.values).tolist() == [5, 5, 5, 5]
    assert one.pca_row.values.tolist() == other.pca_row.values.tolist()


def test_nearest_means_are_estimated_within_the_stated_error():
    block, weight = random_block(3, rows=4000, spread=3.0)
    whole = measured(Penultimate(per_class=4000), block, weight=weight)
    part = measured(Penultimate(per_class=200), block, cuts=range(0, 4000, 700), weight=weight)
    assert float(whole.nc4_error) == 0
    assert 0.5 < float(part.nc4_error) < 3
    assert abs(float(part.nc4) - float(whole.nc4)) < 3 * float(part.nc4_error)


def test_wide_features_are_measured_by_random_products():
    block, weight = random_block(4, rows=600, width=60)
    full = measured(Penultimate(count=3), block, weight=weight)
    wide = replace(Penultimate(count=3), full_width=20)
    assert wide.tally(block)["scatter"].shape == (60, 22)
    found = measured(wide, block, cuts=[100, 333], weight=weight)
    assert found.pca_variance.values == pytest.approx(full.pca_variance.values, rel=0.05)
    assert float(found.nc1) == pytest.approx(float(full.nc1), rel=1e-4)  # the sample has all rows
    assert float(found.feature_between) == pytest.approx(float(full.feature_between))


def test_a_split_of_unknown_classes_has_norms_and_components():
    block, weight = random_block(5, unknown=ROWS)
    found = measured(Penultimate(), block, cuts=[60], weight=weight)
    assert all(np.isnan(float(found[name])) for name in ("feature_within", "feature_between", "nc1", "nc3", "nc4"))
    assert np.isfinite(float(found.feature_norm))
    assert found.pca_variance.values[0] > 0
    assert found.sizes["sample"] == ROWS


def test_a_class_without_rows_is_nan_and_counts_in_nothing():
    block, weight = random_block(6)
    rows = block.labels != 1
    few = Block(block.logits[rows], block.labels[rows], features=block.features[rows])
    found = measured(Penultimate(), few, weight=weight)
    assert np.isnan(found.feature_class_mean.values[1]).all()
    assert np.isfinite(float(found.nc1))
    assert np.isfinite(found.feature_mean_norm.values[[0, 2, 3]]).all()


def test_the_sample_is_bounded_in_bytes():
    limit = feature_sample.per_class_limit(500, 1001, 1280)
    assert 1 <= limit * 1001 * 1280 * 4 <= feature_sample.SAMPLE_BYTES
    assert feature_sample.per_class_limit(500, 10, 64) == 500
    assert feature_sample.per_class_limit(500, 10**6, 4096) == 1


def test_every_variable_says_its_units():
    block, weight = random_block(7)
    found = measured(Penultimate(), block, weight=weight)
    assert all(found[name].attrs["units"] and found[name].attrs["long_name"] for name in found.data_vars)
    assert all(dim in found.coords for dim in found.dims)


def test_it_asks_for_features():
    with pytest.raises(ValueError, match="features"):
        Penultimate().tally(Block(np.zeros((2, 3), np.float32), np.zeros(2, np.int64)))
