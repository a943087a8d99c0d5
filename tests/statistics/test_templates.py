"""The plane through three templates and the scatter of classes: formulas written out, and what may not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.errors import InputError
from logitcache.statistics.templates import project, scatter

SEEDS = st.integers(0, 10**6)


def random_case(seed, samples=30, width=7):
    random = np.random.default_rng(seed)
    groups = np.arange(samples) % 3
    features = random.normal(0, 1, (samples, width)) + 2 * random.normal(0, 1, (3, width))[groups]
    return features, groups, random.normal(0, 1, (3, width))


def rotation(seed, width=7):
    return np.linalg.qr(np.random.default_rng(seed).normal(0, 1, (width, width)))[0]


@given(SEEDS)
def test_scatter_is_the_trace_of_the_covariances(seed):
    features, groups, _ = random_case(seed)
    means = np.stack([features[groups == group].mean(axis=0) for group in range(3)])
    found = scatter(features, groups)
    assert found.within == pytest.approx(np.mean([((f - means[g]) ** 2).sum() for f, g in zip(features, groups)]))  # noqa: B905
    assert found.within + found.between == pytest.approx(np.trace(np.cov(features.T, bias=True)))
    assert found.norm == pytest.approx(np.mean([math.sqrt((f**2).sum()) for f in features]))
    assert found.ratio == pytest.approx(found.within / found.between)


def test_classes_count_by_their_samples():
    found = scatter([[0.0], [0.0], [0.0], [4.0]], [5, 5, 5, 9])
    assert (found.within, found.between, found.norm) == (0.0, 3.0, 1.0)


@given(SEEDS, st.floats(0.1, 10))
def test_scatter_knows_neither_rotation_nor_place_and_its_ratio_no_scale(seed, scale):
    features, groups, _ = random_case(seed)
    first = scatter(features, groups)
    moved = scatter(features @ rotation(seed) * scale + 5, groups)
    assert moved.within == pytest.approx(scale**2 * first.within)
    assert moved.between == pytest.approx(scale**2 * first.between)
    assert moved.ratio == pytest.approx(first.ratio)


def test_large_features_keep_their_scatter():
    features, groups, _ = random_case(0)
    first = scatter(features, groups)
    assert scatter(features + 1e6, groups).within == pytest.approx(first.within, rel=1e-6)
    assert scatter((features + 3).astype(np.float16), groups).within == pytest.approx(first.within, rel=1e-2)


def test_classes_with_one_mean_have_no_ratio():
    assert math.isnan(scatter([[1.0], [-1.0], [1.0], [-1.0]], [0, 0, 1, 1]).ratio)


@given(SEEDS)
def test_the_plane_goes_through_the_templates(seed):
    _, _, templates = random_case(seed)
    places = project(templates, templates)
    sides = [np.linalg.norm(templates[i] - templates[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert [np.linalg.norm(places[i] - places[j]) for i, j in ((0, 1), (0, 2), (1, 2))] == pytest.approx(sides)
    assert places[0] == pytest.approx([0, 0])
    assert places[1] == pytest.approx([sides[0], 0])
    assert places[2][1] > 0


@given(SEEDS)
def test_points_are_the_nearest_ones_of_the_plane(seed):
    features, _, templates = random_case(seed)
    spanned = (templates[1:] - templates[0]).T
    nearest = np.linalg.lstsq(spanned, (features - templates[0]).T, rcond=None)[0]
    corners = project(templates, templates)
    assert project(features, templates) == pytest.approx((corners[1:].T @ nearest).T, abs=1e-8)


@given(SEEDS, st.floats(0.1, 10))
def test_the_figure_does_not_turn_with_the_space_and_grows_with_it(seed, scale):
    features, _, templates = random_case(seed)
    turn = rotation(seed) * scale
    assert project(features @ turn, templates @ turn) == pytest.approx(scale * project(features, templates), abs=1e-8)
    assert project(features + 2, templates + 2) == pytest.approx(project(features, templates), abs=1e-8)


@pytest.mark.parametrize("third", [(2.0, 2.0, 2.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_templates_on_a_line_are_refused(third):
    with pytest.raises(InputError, match="lie on one line; choose other classes"):
        project(np.ones((2, 3)), [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), third])


def test_equal_templates_are_refused():
    with pytest.raises(InputError, match="lie on one line"):
        project(np.ones((2, 3)), [(0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)])
