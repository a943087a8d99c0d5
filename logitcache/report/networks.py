"""Which networks figures of measures show: all teachers, and of the students one run of each objective.

That run is the first seed of the objective's best row, in the group that has the most objectives; of many objectives
the best row of hard labels and the best others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from logitcache.report.measured import Key
from logitcache.report.story import Story
from logitcache.report.tables import Row
from logitcache.report.themes import INK

__all__ = ["Network", "networks"]

TEACHERS = 3
"""The first teacher has the colour of text; the number of the second one's colour is one more."""

STUDENTS = 8
"""Students whose lines can be told apart in one figure."""


@dataclass(frozen=True)
class Network:
    """What a network is called, and how its line looks."""

    name: str
    colour: int
    dashed: bool


def networks(story: Story, found: Mapping[Key, object]) -> dict[Key, Network]:
    """Those that have values, as lines: the test split before the train split, teachers before students.

    Of the students there is the first split alone.
    """
    chosen, names = _chosen_runs(story), dict.fromkeys(name for name, _ in found)
    runs = {name: story.run_of(name) for name in names}
    teachers = [name for name in names if not runs[name]]
    shown: dict[Key, Network] = {}
    splits = sorted({split for _, split in found}, key=lambda split: (split != "test", split))
    for place, split in enumerate(splits):
        for number, name in enumerate(teachers):
            if (name, split) in found:
                colour = TEACHERS + number if number else INK
                shown[name, split] = Network(f"{name}, {split}" if place else name, colour, dashed=place > 0)
        for run, (label, colour) in chosen.items() if not place else ():
            for name in (name for name in names if runs[name] == run and (name, split) in found):
                shown[name, split] = Network(label, colour, dashed=False)
    return shown


def _chosen_runs(story: Story) -> dict[str, tuple[str, int]]:
    """Run id -> name and colour of the students that stand for their objectives."""
    best: dict[str, dict[str, Row]] = {}
    for group, rows in story.groups.items():
        for row in reversed([row for row in rows if row.n]):
            best.setdefault(group, {})[row.setting.label] = row
    chosen = sorted(max(best.values(), key=len, default={}).values(), key=lambda row: -row.mean)
    first = [row for row in chosen if row.hard][:1]
    kept = [*first, *(row for row in chosen if row not in first)][:STUDENTS]
    alike = len({row.setting.views for row in kept}) == 1
    return {row.run_ids[0]: (row.brief if alike else row.name, story.colours[row.setting.label]) for row in kept}
