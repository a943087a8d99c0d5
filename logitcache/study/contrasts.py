"""Two sides of a claim, run by run: which runs are compared with which, and the differences that come out. Pure.

Runs are compared where they share the claim's ``pair`` columns (student and seed unless it says otherwise) and every
setting that the sides have in common: one that the claim does not name, and whose values on the side ``less`` all
occur on the side ``more`` too. Where the side ``less`` then still has several settings, the one with the highest mean
stands for it, so that a claim "better than KL" is one against the best KL. Several settings of the side ``more`` are
averaged, unless the claim says ``best``.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from logitcache.study.columns import SETTINGS, Cells, matches, measured, value_text
from logitcache.study.options import ClaimOptions, Where

__all__ = ["Contrast", "contrast"]

Key = tuple[str, ...]


@dataclass(frozen=True)
class Contrast:
    """The differences of a claim's two sides."""

    differences: tuple[float, ...]
    """more minus less, one a pair."""
    rivals: int
    """Settings that the side ``more`` was chosen from; 1 where nothing was chosen."""
    chosen: str
    """Which settings stand for their sides, where there was a choice; '' otherwise."""
    lack: str
    """Why there is no difference; '' where there is one."""


@dataclass(frozen=True)
class _Side:
    """One side's values: setting -> place (pair and shared settings) -> values of its runs."""

    settings: Mapping[Key, Mapping[Key, list[float]]]

    def mean(self, setting: Key, places: set[Key]) -> float:
        """A setting's mean over places."""
        return statistics.fmean(
            v for place, values in self.settings[setting].items() if place in places for v in values
        )

    def at(self, chosen: Sequence[Key]) -> dict[Key, float]:
        """Mean of the chosen settings by place."""
        found: dict[Key, list[float]] = {}
        for setting in chosen:
            for place, values in self.settings[setting].items():
                found.setdefault(place, []).append(statistics.fmean(values))
        return {place: statistics.fmean(values) for place, values in found.items()}

    def places(self) -> set[Key]:
        """All places that any setting has."""
        return {place for places in self.settings.values() for place in places}


def contrast(claim: ClaimOptions, runs: Sequence[Cells]) -> Contrast:
    """The differences of a claim with more and less over runs that its ``where`` has let through."""
    more, less = _side_runs(claim.more, claim, runs), _side_runs(claim.less, claim, runs)
    for name, found in (("more", more), ("less", less)):
        if not found:
            return Contrast((), 1, "", f"no finished run of the side {name} has {claim.measure}")
    shared = _shared(claim, more, less)
    apart = [column for column in SETTINGS if column not in shared and column not in claim.pair]
    sides = [_make_side(claim, found, (*claim.pair, *shared), apart) for found in (more, less)]
    common = sides[0].places() & sides[1].places()
    if not common:
        return Contrast((), 1, "", f"no runs of both sides share {', '.join((*claim.pair, *shared))}")
    best = _strongest(sides[1], common)
    picked = [_strongest(sides[0], common)] if claim.best else list(sides[0].settings)
    differences = _differences(sides[0].at(picked), sides[1].at([best]), len(claim.pair))
    rivals = len(sides[0].settings) if claim.best else 1
    notes = [
        _choice("the best", sides[0], picked[0]) if claim.best else _mean_note(sides[0]),
        _choice("against the strongest", sides[1], best),
    ]
    return Contrast(differences, rivals, "; ".join(note for note in notes if note), "")


def _side_runs(side: Where | None, claim: ClaimOptions, runs: Sequence[Cells]) -> list[Cells]:
    """The runs of one side that measured what is compared."""
    return [run for run in runs if matches(run, side or {}) and measured(run, claim.measure) is not None]


def _shared(claim: ClaimOptions, more: Sequence[Cells], less: Sequence[Cells]) -> list[str]:
    """The settings that both sides have in common."""
    named = {*(claim.more or {}), *(claim.less or {}), *claim.pair}
    return [column for column in SETTINGS if column not in named and _values(less, column) <= _values(more, column)]


def _values(runs: Sequence[Cells], column: str) -> set[str]:
    """The different values of a column."""
    return {run.get(column, "") for run in runs}


def _make_side(claim: ClaimOptions, runs: Sequence[Cells], place: Sequence[str], apart: Sequence[str]) -> _Side:
    """Values by setting and place; labels tell settings apart where columns do not."""
    labels: dict[tuple[Key, Key], set[str]] = {}
    for run in runs:
        labels.setdefault((_key(run, apart), _key(run, place)), set()).add(run.get("label", ""))
    if any(len(found) > 1 for found in labels.values()):
        apart = [*apart, "label"]
    settings: dict[Key, dict[Key, list[float]]] = {}
    for run in runs:
        value = measured(run, claim.measure)
        if value is not None:
            names = tuple(f"{column} {value_text(run.get(column, ''))}" for column in apart)
            settings.setdefault(names, {}).setdefault(_key(run, place), []).append(value)
    return _Side(settings)


def _key(run: Cells, columns: Sequence[str]) -> Key:
    """A run's values of some columns."""
    return tuple(run.get(column, "") for column in columns)


def _strongest(side: _Side, places: set[Key]) -> Key:
    """The setting with the highest mean over the places that both sides have."""
    eligible = [setting for setting, found in side.settings.items() if places & set(found)]
    return max(eligible, key=lambda setting: side.mean(setting, places))


def _differences(more: Mapping[Key, float], less: Mapping[Key, float], pair: int) -> tuple[float, ...]:
    """More minus less at each place that both have, averaged within pairs."""
    found: dict[Key, list[float]] = {}
    for place in more:
        if place in less:
            found.setdefault(place[:pair], []).append(more[place] - less[place])
    return tuple(statistics.fmean(values) for values in found.values())


def _choice(what: str, side: _Side, chosen: Key) -> str:
    """Which of a side's settings was chosen, by what it differs from the others in."""
    settings = list(side.settings)
    if len(settings) == 1:
        return ""
    different = [place for place in range(len(chosen)) if len({setting[place] for setting in settings}) > 1]
    return f"{what} of {len(settings)} settings: {', '.join(chosen[place] for place in different)}"


def _mean_note(side: _Side) -> str:
    """That a side's settings are averaged, where there are several."""
    return f"the mean of {len(side.settings)} settings" if len(side.settings) > 1 else ""
