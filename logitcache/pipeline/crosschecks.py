"""Faults that lie between the parts of a recipe: names that nobody bears, temperatures below a bound, and so on.

They are looked for in the parts that are right by themselves, so that a misspelt key in one table does not hide an
unknown teacher in another: all faults of a recipe are reported together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from logitcache.cache_job import CacheOptions
from logitcache.data import DataOptions
from logitcache.errors import Fault
from logitcache.factories import nearest
from logitcache.pipeline.faults import check, show
from logitcache.pipeline.group_faults import mix_faults, subset_faults
from logitcache.pipeline.label_checks import label_faults
from logitcache.pipeline.objective_faults import Given, objective_faults, tau_faults
from logitcache.pipeline.schema import TeacherRecipe
from logitcache.pipeline.study_checks import study_faults
from logitcache.pipeline.teacher_faults import Staff, teacher_faults
from logitcache.pipeline.timing import TimingOptions
from logitcache.planning.options import BudgetOptions
from logitcache.study.options import StudyOptions
from logitcache.sweep import StudentGroup
from logitcache.views import ViewOptions

__all__ = ["cross_faults"]

Record = TypeVar("Record", bound=BaseModel)
Table = Mapping[str, Any]


@dataclass(frozen=True)
class _Parts:
    """The parts of a recipe that are right by themselves; entries of lists keep their place."""

    views: ViewOptions | None
    cache: CacheOptions | None
    timing: TimingOptions | None
    teachers: Mapping[int, TeacherRecipe]
    students: Mapping[int, StudentGroup]
    teacher_names: Sequence[str]


def cross_faults(table: Table) -> list[Fault]:
    """The faults between the parts of a recipe's table."""
    parts = _Parts(
        views=_record(ViewOptions, table.get("views", {})),
        cache=_record(CacheOptions, table.get("cache", {})),
        timing=_record(TimingOptions, table.get("timing")),
        teachers=_records(TeacherRecipe, table.get("teachers")),
        students=_records(StudentGroup, table.get("students")),
        # names of teachers that are wrong otherwise count too: who refers to them is not at fault
        teacher_names=list(_names(table.get("teachers")).values()),
    )
    staff = Staff(parts.teachers, _names(table.get("teachers")), parts.cache, parts.views)
    faults = [*teacher_faults(staff), *_timing_faults(parts)]
    faults += _name_faults("teachers", [(place, teacher.name) for place, teacher in parts.teachers.items()])
    faults += label_faults(_record(DataOptions, table.get("data", {})), parts.teachers, parts.students)
    study = _record(StudyOptions, table.get("study"))
    faults += [*study_faults(study, parts.teacher_names), *_feature_faults(parts, study)]
    faults += _budget_faults(_record(BudgetOptions, table.get("budget")), parts.teacher_names)
    for place, group in parts.students.items():
        faults += _group_faults(parts, f"students.{place}", group)
    return faults + _name_faults("students", [(place, group.name) for place, group in parts.students.items()])


def _feature_faults(parts: _Parts, study: StudyOptions | None) -> Iterator[Fault]:
    """A study of penultimate features without any: what is cached without them has to be cached again."""
    if study is not None and study.penultimate is not None and parts.cache is not None and not parts.cache.features:
        yield Fault("cache.features", "false", "must be true: study.penultimate reads penultimate features")


def _budget_faults(budget: BudgetOptions | None, teachers: Sequence[str]) -> Iterator[Fault]:
    """Rates of teachers that nobody bears."""
    rates = budget.teacher_rate if budget is not None else None
    for name, rate in rates.items() if isinstance(rates, Mapping) else ():
        if name not in teachers:
            known = ", ".join(teachers) or "none"
            allowed = f"must be of a teacher of the recipe: {known}{nearest(name, teachers)}"
            yield Fault(f"budget.teacher_rate.{name}", show(rate), allowed)


def _timing_faults(parts: _Parts) -> Iterator[Fault]:
    """A temperature without a bound."""
    if parts.timing is not None:
        yield from tau_faults(parts.cache, "timing.tau", parts.timing.tau)


def _group_faults(parts: _Parts, key: str, group: StudentGroup) -> list[Fault]:
    """What a group of students asks for and the rest of the recipe does not have."""
    faults = [*_views_faults(parts, f"{key}.views", group.views or ()), *mix_faults(parts.views, key, group)]
    for name in group.teachers:
        if name not in parts.teacher_names:
            known = ", ".join(parts.teacher_names) or "none"
            hint = nearest(name, parts.teacher_names)
            faults.append(Fault(f"{key}.teachers", show(name), f"must be among the recipe's teachers: {known}{hint}"))
    teachers = len(group.teachers) or len(parts.teacher_names)
    if group.subsets:
        faults += subset_faults(key, group, teachers)
    elif group.combine.weights is not None and len(group.combine.weights) != teachers:
        allowed = f"must have one weight for each of the {teachers} teachers"
        faults.append(Fault(f"{key}.combine.weights", show(group.combine.weights), allowed))
    given = Given(
        cache=parts.cache,
        views=parts.views,
        teachers=min(teachers, len(parts.teacher_names)),
        combine=group.combine,
        epochs=group.training.epochs,
        targets=group.targets,
        labelled=group.labelled is not None,
    )
    for place, grid in enumerate(group.objectives):
        here = f"{key}.objectives.{place}"
        faults += _views_faults(parts, f"{here}.views", grid.views or ())
        for objective in grid.objectives():
            faults += objective_faults(here, objective, given)
    return list(dict.fromkeys(faults))


def _views_faults(parts: _Parts, key: str, counts: Sequence[int]) -> Iterator[Fault]:
    """More augmented views than there are."""
    if parts.views is None:
        return
    for count in counts:
        if count > parts.views.count:
            yield Fault(
                key, str(count), f"must be at most views.count = {parts.views.count}, the augmented views cached"
            )


def _name_faults(key: str, names: Sequence[tuple[int, str]]) -> list[Fault]:
    """Names that are borne twice, at the places after the first."""
    seen: Counter[str] = Counter()
    faults = []
    for place, name in names:
        seen[name] += 1
        if seen[name] > 1:
            faults.append(Fault(f"{key}.{place}.name", show(name), "must differ from the names before it"))
    return faults


def _record(model: type[Record], table: Any) -> Record | None:
    """The record, or None where the table is wrong or absent."""
    return check(model, table)[0] if isinstance(table, Mapping) else None


def _records(model: type[Record], entries: Any) -> dict[int, Record]:
    """The records of a list of tables that are right, by place."""
    found = {place: _record(model, entry) for place, entry in enumerate(entries if isinstance(entries, list) else [])}
    return {place: record for place, record in found.items() if record is not None}


def _names(entries: Any) -> dict[int, str]:
    """The names in a list of tables, by place."""
    tables = enumerate(entries if isinstance(entries, list) else [])
    return {place: str(entry["name"]) for place, entry in tables if isinstance(entry, Mapping) and "name" in entry}
