"""Faults of a group of students by itself: subsets of teachers, and what does not go together with mixed samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from logitcache.errors import Fault
from logitcache.pipeline.faults import show
from logitcache.sweep import MOST_SUBSETS_OF, StudentGroup
from logitcache.views import ViewOptions

__all__ = ["mix_faults", "subset_faults"]


def mix_faults(views: ViewOptions | None, key: str, group: StudentGroup) -> Iterator[Fault]:
    """What a group asks for that samples mixed by ``views.mix`` do not have; ``views`` None where it is at fault."""
    if views is None or views.mix is None:
        return
    if group.samples is not None:
        allowed = "views.mix takes partners from the whole train split; use data.samples to see fewer of them"
        yield Fault(f"{key}.samples", _show(group.samples), allowed)
    if group.labelled is not None:
        allowed = "views.mix gives a sample two labels, and both must be shown; leave one of them out"
        yield Fault(f"{key}.labelled", _show(group.labelled), allowed)
    if "clean" in group.targets:
        allowed = "views.mix shows mixtures, which have no clean view; use 'views' or 'online'"
        yield Fault(f"{key}.targets", show("clean"), allowed)


def subset_faults(key: str, group: StudentGroup, teachers: int) -> Iterator[Fault]:
    """What does not go together with ``subsets`` of so many teachers."""
    if teachers > MOST_SUBSETS_OF:
        allowed = f"{teachers} teachers have {2**teachers - 1} subsets; name at most {MOST_SUBSETS_OF} by teachers"
        yield Fault(f"{key}.subsets", "true", allowed)
    if group.combine.weights is not None:
        allowed = "must be left out with subsets = true, whose subsets differ in size"
        yield Fault(f"{key}.combine.weights", show(group.combine.weights), allowed)
    if any(objective.needs_members for grid in group.objectives for objective in grid.objectives()):
        allowed = "an objective weighs several teachers against each other, and subsets of one have none; leave one out"
        yield Fault(f"{key}.subsets", "true", allowed)


def _show(values: tuple[Any, ...]) -> str:
    """One value or several, as the recipe has them."""
    return show(values[0] if len(values) == 1 else values)
