"""Faults of teachers by themselves and of those that refer to others: taught from them, or snapshots of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from logitcache.cache_job import CacheOptions
from logitcache.errors import Fault
from logitcache.factories import nearest
from logitcache.pipeline.faults import show
from logitcache.pipeline.objective_faults import Given, objective_faults
from logitcache.pipeline.schema import SnapshotOptions, TeacherRecipe, TeachOptions
from logitcache.views import ViewOptions

__all__ = ["Staff", "teacher_faults"]

_SOURCES = ("checkpoint", "weights", "teach", "snapshot")


@dataclass(frozen=True)
class Staff:
    """A recipe's teachers by place, those that are wrong by themselves with their names only; and what they get."""

    teachers: Mapping[int, TeacherRecipe]
    names: Mapping[int, str]
    cache: CacheOptions | None
    views: ViewOptions | None


def teacher_faults(staff: Staff) -> Iterator[Fault]:
    """Weights from nowhere or from two places, and what a teacher asks of others that they do not give."""
    for place, teacher in staff.teachers.items():
        key = f"teachers.{place}"
        sources = [name for name in _SOURCES if getattr(teacher, name) is not None]
        if len(sources) != 1:
            given = " and ".join(sources) or "(none)"
            allowed = "give one of checkpoint, weights and a table teach or snapshot"
            yield Fault(f"{key}.checkpoint", given, allowed)
        if teacher.teach is not None:
            yield from _teach_faults(staff, place, teacher.teach)
        if teacher.snapshot is not None:
            yield from _snapshot_faults(staff, place, teacher.snapshot)


def _teach_faults(staff: Staff, place: int, options: TeachOptions) -> Iterator[Fault]:
    """What does not go together in a table ``teach``."""
    key, wanted = f"teachers.{place}.teach", options.minimises
    for name in options.teachers:
        yield from _name_faults(staff, place, f"{key}.teachers", name)
    if options.objective is not None and options.label_smoothing:
        allowed = "an objective has its own; use objective.label_smoothing"
        yield Fault(f"{key}.label_smoothing", f"{options.label_smoothing:g}", allowed)
    if not options.teachers:
        if wanted.needs_teacher:
            allowed = "learns from teachers; name some that stand before this one by teach.teachers"
            yield Fault(f"{key}.objective", show(wanted.loss), allowed)
        return
    if not wanted.needs_teacher:
        allowed = "the objective reads no teacher; give it one that does, such as { loss = 'kl', tau = 4 }, or leave "
        yield Fault(f"{key}.teachers", show(options.teachers), allowed + "teachers out")
    if "views" in options.model_fields_set:
        allowed = "with teach.teachers the recipe's views are walked, whose logits are cached; leave it out"
        yield Fault(f"{key}.views", f"(kind {options.views.kind})", allowed)
    weights, count = options.combine.weights, len(options.teachers)
    if weights is not None and len(weights) != count:
        yield Fault(f"{key}.combine.weights", show(weights), f"must have one weight for each of the {count} teachers")
    given = Given(cache=staff.cache, views=staff.views, teachers=count, combine=options.combine, epochs=options.epochs)
    yield from objective_faults(f"{key}.objective", wanted, given)


def _snapshot_faults(staff: Staff, place: int, snapshot: SnapshotOptions) -> Iterator[Fault]:
    """A snapshot of a teacher that is not there, is not taught, is another network, or never gets that far."""
    key = f"teachers.{place}"
    wrong = list(_name_faults(staff, place, f"{key}.snapshot.of", snapshot.of))
    yield from wrong
    found = next((each for each in staff.teachers.values() if each.name == snapshot.of), None)
    if wrong or found is None:  # one that is wrong by itself is reported already
        return
    if found.teach is None:
        yield Fault(
            f"{key}.snapshot.of", show(snapshot.of), "must be a teacher that the recipe teaches, by a table teach"
        )
    elif snapshot.epoch > found.teach.epochs:
        allowed = f"must be at most the epochs of {snapshot.of!r}: teach.epochs = {found.teach.epochs}"
        yield Fault(f"{key}.snapshot.epoch", str(snapshot.epoch), allowed)
    model = staff.teachers[place].model
    if found.model != model:
        yield Fault(f"{key}.model", show(model), f"must be {show(found.model)}, the network of {snapshot.of!r}")


def _name_faults(staff: Staff, place: int, key: str, name: str) -> Iterator[Fault]:
    """A name that no teacher before this one bears."""
    before = [known for at, known in staff.names.items() if at < place]
    if name in before:
        return
    if name in staff.names.values():
        yield Fault(key, show(name), "must stand before the teacher that refers to it; move it up")
        return
    known = ", ".join(before) or "none"
    yield Fault(key, show(name), f"must be among the teachers before it: {known}{nearest(name, before)}")
