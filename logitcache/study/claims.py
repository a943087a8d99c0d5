"""Claims against runs: a verdict for each, in a sentence that says by how much and on what it rests.

Words are those of the report: **confirmed** and **contradicted** where a two-sided t-test over pairs of runs has
p < 0.05, **within noise** where not, **undecided** where no test can be made. ``judging`` has the numbers,
``contrasts`` says which runs are paired. p values are those of single tests; how many claims there are is for the
reader to weigh.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from logitcache.study.columns import Cells, is_points, matches, measured, number, ordered, value_text
from logitcache.study.contrasts import contrast
from logitcache.study.judging import Judgement, Word, judge, judge_within
from logitcache.study.options import ClaimOptions
from logitcache.study.runs import write_table

__all__ = ["Verdict", "judge_claims", "write_claims"]


@dataclass(frozen=True)
class Verdict:
    """What runs say to a claim, for one value of its column ``each`` or as a whole."""

    claim: ClaimOptions
    of: str
    """The value of the claim's column ``each``; '' without."""
    judged: Judgement
    remark: str
    """Which settings were chosen, or why there is nothing to judge; may be ''."""

    @property
    def word(self) -> Word:
        """One of confirmed, contradicted, within noise, undecided."""
        return self.judged.word

    @property
    def sentence(self) -> str:
        """Verdict, claim and numbers, in plain text."""
        about = f" ({value_text(self.of)})" if self.of else ""
        return f"{self.word.capitalize()}: {self.claim.says}{about}: {self.numbers}."

    @property
    def numbers(self) -> str:
        """What the verdict rests on, and which settings were chosen; or why there is nothing to judge."""
        return "; ".join(part for part in (self._difference(), self.remark) if part)

    def _difference(self) -> str:
        """Difference, interval, n and p, as far as there are any."""
        judged = self.judged
        if math.isnan(judged.mean):
            return ""
        points = is_points(self.claim.measure)
        digits = 2 if points else 4
        unit = " points" if points else f" in {self.claim.measure}"
        step = f" a step of {self.claim.trend}" if self.claim.trend else ""
        value = f"{_signed(judged.mean, digits)}{unit}{step}"
        pairs = f"n = {judged.n} pair{'s' * (judged.n != 1)}"
        if math.isnan(judged.p):
            why = "too few to judge" if judged.n < 2 else "all alike, without a spread to judge by"
            return f"{value} ({pairs}: {why})"
        interval = f"{judged.level} % CI {_signed(judged.low, digits)} to {_signed(judged.high, digits)}"
        return f"{value} ({interval}, {pairs}, {_p_text(judged.p)})"


def judge_claims(claims: Sequence[ClaimOptions], runs: Sequence[Cells]) -> tuple[Verdict, ...]:
    """The verdicts of claims, in their order; a claim with ``each`` has one for every value of that column."""
    return tuple(verdict for claim in claims for verdict in _judge_claim(claim, runs))


def _judge_claim(claim: ClaimOptions, runs: Sequence[Cells]) -> list[Verdict]:
    """The verdicts of one claim."""
    allowed = [run for run in runs if matches(run, claim.where)]
    if claim.each is None:
        return [_judge_runs(claim, "", allowed)]
    column = claim.each
    values = _each_values(claim, column, allowed) or [""]
    return [_judge_runs(claim, value, [run for run in allowed if run.get(column, "") == value]) for value in values]


def _each_values(claim: ClaimOptions, column: str, runs: Sequence[Cells]) -> list[str]:
    """The values of the column that both sides have, or either of them where there is none; of a trend all."""
    if claim.trend is not None:
        return ordered(run.get(column, "") for run in runs)
    more, less = (
        [run.get(column, "") for run in runs if matches(run, side or {})] for side in (claim.more, claim.less)
    )
    return ordered([value for value in more if value in less] or [*more, *less])


def _judge_runs(claim: ClaimOptions, of: str, runs: Sequence[Cells]) -> Verdict:
    """The verdict over some runs."""
    if claim.trend is not None:
        slopes = _slopes(claim, claim.trend, runs)
        lack = "" if slopes else f"no pair of finished runs has {claim.measure} at two values of {claim.trend}"
        sign = -1 if claim.falls else 1
        return Verdict(claim, of, _signed_judgement(judge([sign * slope for slope in slopes]), sign), lack)
    found = contrast(claim, runs)
    if claim.within is not None:
        return Verdict(claim, of, judge_within(found.differences, claim.within), found.lack or found.chosen)
    return Verdict(claim, of, judge(found.differences, found.rivals), found.lack or found.chosen)


def _slopes(claim: ClaimOptions, column: str, runs: Sequence[Cells]) -> list[float]:
    """Least-squares slope of the measure over the rank of the column's value, one a pair; inf has the last rank."""
    usable = [
        run for run in runs if measured(run, claim.measure) is not None and number(run.get(column, "")) is not None
    ]
    ranks = {value: rank for rank, value in enumerate(ordered(run[column] for run in usable))}
    pairs: dict[tuple[str, ...], dict[int, list[float]]] = {}
    for run in usable:
        key = tuple(run.get(name, "") for name in claim.pair)
        value = measured(run, claim.measure)
        if value is not None:
            pairs.setdefault(key, {}).setdefault(ranks[run[column]], []).append(value)
    curves = [{rank: statistics.fmean(values) for rank, values in found.items()} for found in pairs.values()]
    return [statistics.linear_regression(list(curve), list(curve.values())).slope for curve in curves if len(curve) > 1]


def _signed_judgement(judged: Judgement, sign: int) -> Judgement:
    """A judgement's numbers with the sign that the measure has; the verdict stays."""
    if sign > 0:
        return judged
    return Judgement(judged.word, -judged.mean, -judged.high, -judged.low, judged.level, judged.n, judged.p)


def write_claims(verdicts: Sequence[Verdict], path: Path) -> Path:
    """One CSV line a verdict; differences in the measure's unit, empty cells where there is no number."""
    columns = ("claim", "source", "measure", "each", "of", "verdict")
    numbers = ("difference", "ci_low", "ci_high", "ci_percent", "n", "p")
    return write_table(path, [_line(verdict) for verdict in verdicts], (*columns, *numbers, "sentence"))


def _line(verdict: Verdict) -> dict[str, str]:
    """A verdict's cells."""
    claim, judged = verdict.claim, verdict.judged
    numbers = {"difference": judged.mean, "ci_low": judged.low, "ci_high": judged.high, "p": judged.p}
    return {
        "claim": claim.says,
        "source": claim.source,
        "measure": claim.measure,
        "each": claim.each or "",
        "of": verdict.of,
        "verdict": verdict.word,
        **{name: "" if math.isnan(value) else f"{value:.6g}" for name, value in numbers.items()},
        "ci_percent": str(judged.level),
        "n": str(judged.n),
        "sentence": verdict.sentence,
    }


def _signed(value: float, digits: int) -> str:
    """A number with its sign."""
    return f"{value:+.{digits}f}"


def _p_text(p: float) -> str:
    """A p value with two significant digits."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
