"""Verdicts rest on the paired t-test, on intervals, and for equivalence on two one-sided tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from logitcache.study.judging import judge, judge_within

MORE = np.array([80.1, 81.4, 79.9, 80.8, 81.0])
LESS = np.array([79.2, 80.1, 79.5, 79.9, 80.6])


def test_p_and_interval_are_those_of_the_paired_test():
    found = judge(list(MORE - LESS))
    known = stats.ttest_rel(MORE, LESS)
    assert found.p == pytest.approx(known.pvalue, rel=1e-9)
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.mean == pytest.approx((MORE - LESS).mean())
    assert (found.n, found.level) == (5, 95)


@pytest.mark.parametrize(
    ("differences", "word"),
    [
        ([1.0, 1.2, 0.9], "confirmed"),
        ([-1.0, -1.2, -0.9], "contradicted"),
        ([1.0, -1.2, 0.3], "within noise"),
        ([1.0], "undecided"),
        ([], "undecided"),
        ([0.5, 0.5, 0.5], "undecided"),
    ],
)
def test_the_word_follows_from_p_and_sign(differences, word):
    assert judge(differences).word == word


def test_without_a_spread_there_is_a_mean_and_no_p():
    found = judge([0.5, 0.5])
    assert found.mean == 0.5
    assert math.isnan(found.p)
    assert math.isnan(found.low)


def test_a_choice_among_rivals_multiplies_p():
    differences = [1.0, 1.3, 0.8]
    assert judge(differences).word == "confirmed"
    assert judge(differences, rivals=3).p == pytest.approx(3 * judge(differences).p)
    assert judge(differences, rivals=3).word == "within noise"
    assert judge([1.0, -1.0, 0.1], rivals=9).p == 1.0


@pytest.mark.parametrize(
    ("differences", "word"),
    [
        ([0.1, -0.1, 0.05, -0.02], "confirmed"),
        ([2.0, 2.2, 1.9, 2.1], "contradicted"),
        ([-2.0, -2.2, -1.9, -2.1], "contradicted"),
        ([0.4, 0.6, 0.5, 0.45], "undecided"),
        ([3.0, -3.0], "undecided"),
        ([0.55, 1.1, 0.75, 0.9], "undecided"),  # the 90 % interval lies outside, the 95 % one does not
        ([0.1], "undecided"),
    ],
)
def test_sides_are_alike_where_the_interval_says_so(differences, word):
    assert judge_within(differences, 0.5).word == word


def test_equivalence_is_two_one_sided_tests_at_five_percent():
    differences = np.array([0.30, -0.12, 0.22, 0.05, 0.31, -0.05])
    for within in (0.2, 0.25, 0.27, 0.3, 0.5):
        below = stats.ttest_1samp(differences, within, alternative="less").pvalue
        above = stats.ttest_1samp(differences, -within, alternative="greater").pvalue
        found = judge_within(list(differences), within)
        assert found.p == pytest.approx(max(below, above), rel=1e-9)
        assert (found.word == "confirmed") == (max(below, above) < 0.05)
    assert {judge_within(list(differences), within).word for within in (0.2, 0.5)} == {"undecided", "confirmed"}
