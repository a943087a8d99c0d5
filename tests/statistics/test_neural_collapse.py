"""NC1 to NC4: 0 at full collapse, the formulas written out elsewhere, and blind to what they should not see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.statistics.neural_collapse import (
    class_span,
    collapse_of_means,
    equiangularity,
    self_duality,
    variability,
)

SEEDS = st.integers(0, 10**6)


def simplex(classes=4, width=7, seed=0):
    """The vertices of a simplex equiangular tight frame, turned."""
    vectors = np.eye(classes) - 1 / classes
    turn = np.linalg.qr(np.random.default_rng(seed).normal(0, 1, (width, width)))[0]
    return vectors @ turn[:classes]


def covariance(seed, width=7):
    factor = np.random.default_rng(seed).normal(0, 1, (width, width))
    return factor @ factor.T


def test_a_simplex_has_collapsed():
    means = simplex() + 3
    found = collapse_of_means(means, 5 * simplex())
    assert list(found.values()) == pytest.approx([0] * 7, abs=1e-12)
    assert variability(np.zeros((7, 7)), means) == 0


@given(SEEDS, st.integers(2, 9))
def test_variability_is_the_trace_with_the_pseudoinverse(seed, classes):
    random = np.random.default_rng(seed)
    means, within = random.normal(0, 1, (classes, 7)), covariance(seed)
    centred = means - means.mean(axis=0)
    apart = centred.T @ centred / classes
    wanted = np.trace(within @ np.linalg.pinv(apart, rcond=1e-10, hermitian=True)) / classes
    assert variability(within, means) == pytest.approx(wanted, rel=1e-6)


@given(SEEDS, st.floats(0.1, 10))
def test_collapse_knows_neither_place_nor_scale_nor_rotation(seed, scale):
    random = np.random.default_rng(seed)
    means, weight, within = random.normal(0, 1, (4, 7)), random.normal(0, 1, (4, 7)), covariance(seed)
    turn = np.linalg.qr(random.normal(0, 1, (7, 7)))[0]
    moved = collapse_of_means(scale * means @ turn + 5, 2 * weight @ turn)
    assert moved == pytest.approx(collapse_of_means(means, weight), abs=1e-9)
    assert variability(scale**2 * turn.T @ within @ turn, scale * means @ turn + 5) == pytest.approx(
        variability(within, means), rel=1e-6
    )


@given(SEEDS)
def test_equiangularity_is_that_of_a_loop_over_pairs(seed):
    vectors = np.random.default_rng(seed).normal(0, 1, (5, 7))
    lengths = [math.sqrt(sum(v * v for v in each)) for each in vectors]
    cosines = [vectors[i] @ vectors[j] / (lengths[i] * lengths[j]) for i in range(5) for j in range(5) if i != j]
    norms, angles, maximal = equiangularity(vectors)
    assert norms == pytest.approx(np.std(lengths) / np.mean(lengths))
    assert angles == pytest.approx(np.std(cosines))
    assert maximal == pytest.approx(np.mean([abs(c + 1 / 4) for c in cosines]))


def test_self_duality_is_four_for_opposites_and_two_for_strangers():
    means = simplex()
    assert self_duality(-means, means) == pytest.approx(4)
    assert self_duality(np.array([[1.0, 0.0]]), np.array([[0.0, 3.0]])) == pytest.approx(2)


@given(SEEDS, st.integers(2, 9))
def test_the_span_of_classes_has_their_variance_and_rank(seed, classes):
    means = np.random.default_rng(seed).normal(0, 1, (classes, 5))
    axes, variances = class_span(means)
    assert len(variances) == min(classes - 1, 5)
    assert axes.T @ axes == pytest.approx(np.eye(len(variances)), abs=1e-12)
    assert variances.sum() == pytest.approx(np.square(means - means.mean(axis=0)).sum() / classes)


def test_what_has_no_meaning_is_nan():
    assert math.isnan(variability(np.eye(2), np.zeros((1, 2))))
    assert math.isnan(variability(np.eye(2), np.ones((3, 2))))
    assert all(math.isnan(each) for each in equiangularity(np.zeros((3, 2))))
    assert math.isnan(self_duality(np.zeros((3, 2)), np.ones((3, 2))))
    assert set(collapse_of_means(simplex(), None)) == {
        "nc2_norms_means", "nc2_angles_means", "nc2_maximal_angles_means"
    }  # fmt: skip
