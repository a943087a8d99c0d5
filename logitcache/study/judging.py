"""Numbers that a verdict rests on: mean, interval and p of differences, and what they say. Pure.

Differences are those of pairs (or slopes, one a pair), and the test is the t-test of their mean against zero, which
for pairs is the paired t-test (scipy.stats.ttest_rel).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

__all__ = ["Judgement", "Word", "judge", "judge_within"]

Word = Literal["confirmed", "contradicted", "within noise", "undecided"]

_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Judgement:
    """A verdict with its numbers; NaN where there are too few differences, or all are the same."""

    word: Word
    mean: float
    low: float
    high: float
    level: int
    """Of the interval from low to high, percent."""
    n: int
    p: float


def judge(differences: Sequence[float], rivals: int = 1) -> Judgement:
    """Whether the mean difference is above zero, by a two-sided test.

    Args:
        differences: one a pair; above zero is as claimed.
        rivals: how many settings the claimed side was chosen from; p is multiplied by it (Bonferroni).
    """
    mean, error = _mean_and_error(differences)
    n = len(differences)
    if math.isnan(error):
        return Judgement("undecided", mean, math.nan, math.nan, 95, n, math.nan)
    low, high = _interval(mean, error, n, 0.95)
    p = min(1.0, rivals * float(2 * stats.t.sf(abs(mean) / error, n - 1)))
    word: Word = "within noise"
    if p < _SIGNIFICANT:
        word = "confirmed" if mean > 0 else "contradicted"
    return Judgement(word, mean, low, high, 95, n, p)


def judge_within(differences: Sequence[float], within: float) -> Judgement:
    """Whether the mean difference lies inside ±within, by two one-sided tests at 5 %.

    Confirmed where the 90 % interval lies inside, contradicted where the 95 % interval lies outside.
    """
    mean, error = _mean_and_error(differences)
    n = len(differences)
    if math.isnan(error):
        return Judgement("undecided", mean, math.nan, math.nan, 90, n, math.nan)
    low, high = _interval(mean, error, n, 0.90)
    p = float(stats.t.sf((within - abs(mean)) / error, n - 1))
    widest = _interval(mean, error, n, 0.95)
    word: Word = "undecided"
    if low > -within and high < within:
        word = "confirmed"
    elif widest[0] > within or widest[1] < -within:
        word = "contradicted"
    return Judgement(word, mean, low, high, 90, n, p)


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error; the error is NaN of fewer than two values or where they have no spread."""
    mean = statistics.fmean(values) if values else math.nan
    if len(values) < 2 or max(values) - min(values) < 1e-9 * max(1.0, abs(mean)):
        return mean, math.nan
    return mean, statistics.stdev(values) / math.sqrt(len(values))


def _interval(mean: float, error: float, n: int, share: float) -> tuple[float, float]:
    """The interval of Student's t that covers the mean of ``share`` of all samples."""
    half = float(stats.t.ppf((1 + share) / 2, n - 1)) * error
    return mean - half, mean + half
