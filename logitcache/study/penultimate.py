"""The penultimate layer's view of three classes: how far a student's features spread beside its teacher's.

For each network, the features ``r`` of the samples of three classes (its head is given them; clean view) are measured
by :func:`logitcache.statistics.templates.scatter`, and some of them projected onto the plane through the three classes'
templates, as in Müller et al. 2019, "When does label smoothing help?", section 2. The teacher's features and head
come from the store, students are run again from the weights in their folders.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from logitcache.address import Address
from logitcache.data import Split
from logitcache.errors import InputError
from logitcache.keyed import choose
from logitcache.records import Options
from logitcache.statistics.templates import project, scatter
from logitcache.study.columns import PENULTIMATE, Cells, value_text
from logitcache.study.features import Chosen, Rerun, View, choose_samples, teacher_view
from logitcache.study.points import Point, rounded

__all__ = [
    "PenultimateOptions",
    "PenultimateResult",
    "PenultimateSources",
    "choose_panels",
    "measure_penultimate",
]

_SEED = 0x9E4_0117  # of the choice of points, the same for all networks


class PenultimateOptions(Options):
    """Which classes are looked at, on which samples, and how much of them is drawn."""

    classes: tuple[int | str, ...] = Field(
        min_length=3,
        max_length=3,
        description="three classes by number or name; the first two templates make the plane's first axis",
    )
    split: Literal["train", "test"] = Field("train", description="whose samples are looked at, in their clean view")
    teacher: str | None = Field(None, description="teacher that students stand beside; unset: the recipe's first")
    points: int = Field(100, ge=1, le=1000, description="points drawn for each class and network")
    labels: tuple[str, ...] = Field((), description="objectives drawn, by the column label; unset: all")

    @field_validator("classes")
    @classmethod
    def _differ(cls, classes: tuple[int | str, ...]) -> tuple[int | str, ...]:
        if len(set(classes)) < len(classes):
            raise ValueError("the three classes must differ")
        return classes


@dataclass(frozen=True)
class PenultimateSources:
    """Where features come from; one record for each store (that is, for each variant of a recipe)."""

    store: Address
    teacher: str
    """Its name in the store; cached with ``cache.features = true``."""
    split: Split
    """The split that the options name."""
    runs: Mapping[str, Path]
    """Folder of each finished run by run id, with its ``model.safetensors``."""
    panels: Mapping[str, str]
    """Runs whose points are kept, run id -> what their panel is called; see :func:`choose_panels`."""
    device: str = "cpu"
    workers: int = 0
    """Loader processes for images that are opened one by one."""
    teacher_panel: str = "teacher"
    """What the teacher's panel is called."""


@dataclass(frozen=True)
class PenultimateResult:
    """What was measured."""

    columns: Mapping[str, Mapping[str, float]]
    """Run id -> column of ``PENULTIMATE`` -> value; a run whose features are not finite has no values."""
    points: tuple[Point, ...]
    """The teacher's and then the panels', each in the order of the classes."""
    teacher: Mapping[str, float]
    """The same columns for the teacher."""


def choose_panels(options: PenultimateOptions, rows: Sequence[str], runs: Sequence[Cells]) -> dict[str, str]:
    """One run of each row, that of the lowest seed, and what its panel is called.

    Args:
        options: ``labels`` leaves out other objectives.
        rows: the columns that make a row.
        runs: runs by column; those that are not done are left out.

    Returns:
        run id -> the row's values, those alone that differ between rows where any do, on one line.
    """
    drawn = [run for run in runs if run["status"] == "done" and (not options.labels or run["label"] in options.labels)]
    first: dict[tuple[str, ...], Cells] = {}
    for run in sorted(drawn, key=lambda run: int(run["seed"])):
        first.setdefault(_row(run, rows), run)
    chosen = [run for run in drawn if first[_row(run, rows)] is run]  # in the order of runs, not of their seeds
    differing = [column for column in rows if len({_row(run, (column,)) for run in chosen}) > 1] or rows
    return {run["run_id"]: " · ".join(map(value_text, filter(None, _row(run, differing)))) for run in chosen}


def _row(run: Cells, columns: Sequence[str]) -> tuple[str, ...]:
    """A run's values of some columns."""
    return tuple(run.get(column, "") for column in columns)


def measure_penultimate(options: PenultimateOptions, sources: PenultimateSources) -> PenultimateResult:
    """Measure the teacher and each run.

    Raises:
        InputError: another split than the options name, a class that there is not or that has no samples, a
            teacher without cached features, a run without weights, a network without a linear head.
        MismatchError: the store was made from other samples.
    """
    if sources.split.name != options.split:
        raise InputError(f"split {sources.split.name!r} was given, study.penultimate.split is {options.split!r}")
    chosen = choose_samples(options.classes, sources.split)
    teacher = teacher_view(chosen, sources.store, sources.teacher, sources.split)
    points = _points(options, chosen, teacher, sources.teacher_panel)
    rerun = Rerun(chosen, sources.split, torch.device(sources.device), sources.workers)
    columns = {}
    for run_id, folder in sources.runs.items():
        view = rerun(folder)
        columns[run_id] = _columns(chosen, view)
        if run_id in sources.panels:
            points += _points(options, chosen, view, sources.panels[run_id])
    return PenultimateResult(columns, tuple(points), _columns(chosen, teacher))


def _columns(chosen: Chosen, view: View) -> dict[str, float]:
    """What is measured of one network, where it is finite."""
    if not view.finite:
        return {}
    found = scatter(view.features, chosen.groups)
    values = (found.within, found.between, found.ratio, found.norm)
    return {name: value for name, value in zip(PENULTIMATE, values, strict=True) if math.isfinite(value)}


def _points(options: PenultimateOptions, chosen: Chosen, view: View, panel: str) -> list[Point]:
    """A keyed choice of each class's samples in the plane, the same ones for each network; none of infinite ones."""
    if not view.finite:
        return []
    places = project(view.features, view.templates)
    points = []
    for group, name in enumerate(chosen.names):
        members = np.flatnonzero(chosen.groups == group)
        kept = choose(len(members), options.points, _SEED, group).numpy()
        points += [Point(panel, name, rounded(x), rounded(y)) for x, y in places[members[kept]]]
    return points
