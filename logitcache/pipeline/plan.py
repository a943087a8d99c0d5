"""A recipe's plan: its steps, which of them are done, forward passes, bytes by array, time where it can be had."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from logitcache.cache_job import split_views
from logitcache.data import planned_data
from logitcache.pipeline.amounts import size, span
from logitcache.pipeline.context import RunContext
from logitcache.pipeline.forward_rate import forward_rate, random_network
from logitcache.pipeline.lessons import manner, source_of
from logitcache.pipeline.progress import Screen
from logitcache.pipeline.schema import SnapshotOptions, TeacherRecipe
from logitcache.planning.options import BudgetOptions
from logitcache.planning.sizes import Size, estimated_row
from logitcache.store.totals import bytes_of_row
from logitcache.sweep import STUDENTS_STORE, RunSpec, finished_runs, plan_units, stack_size

__all__ = [
    "Plan",
    "PlannedArray",
    "PlannedStep",
    "make_plan",
    "online_passes",
    "print_plan",
    "teacher_rate",
    "with_known_size",
]


@dataclass(frozen=True)
class PlannedStep:
    """One step: what it does, how much of it is done, and what the rest costs where that is known."""

    name: str
    detail: str
    done: bool
    forward_passes: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class PlannedArray:
    """One array of the store: its rows, and its bytes, measured in the store or on a sample, or estimated."""

    name: str
    rows: int
    bytes: float
    measured: bool
    sampled: bool = False


@dataclass(frozen=True)
class Plan:
    """All steps of a recipe, the arrays of its store, from how many students on caching pays, and what to know."""

    steps: tuple[PlannedStep, ...]
    arrays: tuple[PlannedArray, ...]
    break_even: float | None
    notes: tuple[str, ...] = ()


def make_plan(context: RunContext, weighed: Size | None = None) -> Plan:
    """The plan of a recipe from what is there now; nothing is written.

    Where the data are not here yet, and nothing is stored, it is made from the size that they are known to have.

    Args:
        context: the recipe's run.
        weighed: what logits take in the recipe's encoding, where a sample was weighed.

    Raises:
        InputError: the data do not open, or are absent and of a size that nobody says.
        MismatchError: the store that is there is another one.
    """
    context = with_known_size(context)
    steps, arrays = [], []
    passes = 0
    for teacher in context.recipe.teachers:
        passes += _passes(context)
        steps += list(_teacher_steps(context, teacher))
        arrays += list(_arrays(context, teacher, weighed))
    steps += list(_later_steps(context, cached=all(step.done for step in steps)))
    return Plan(tuple(steps), tuple(arrays), _break_even(context, passes), tuple(_data_notes(context)))


def with_known_size(context: RunContext) -> RunContext:
    """The run with splits that stand for its data where these are not here yet, and nothing is stored of them."""
    if context.stand_in is not None or context.store() is not None:
        return context
    return replace(context, stand_in=planned_data(context.recipe.data))


def print_plan(plan: Plan, screen: Screen) -> None:
    """A plan, for people."""
    for note in plan.notes:
        screen.say(note)
    width = max(len(step.name) for step in plan.steps)
    for step in plan.steps:
        costs = [f"{step.forward_passes:,} forward passes"] if step.forward_passes else []
        costs += [f"about {span(step.seconds)}"] if step.seconds is not None and not step.done else []
        mark = "done" if step.done else "to do"
        screen.say(f"{step.name:<{width}}  {mark:<5}  {', '.join([step.detail, *costs])}")
    for array in plan.arrays:
        how = "measured" if array.measured else "from the sample" if array.sampled else "estimated"
        screen.say(f"store: {array.name}: {array.rows:,} rows, {size(array.bytes)} ({how})")
    if plan.break_even is not None:
        screen.say(
            f"caching runs the teacher less often than online distillation from {plan.break_even:.2g} students on"
        )


def _data_notes(context: RunContext) -> Iterator[str]:
    """That the data are not here yet, or how they differ from what the recipe expects."""
    options, splits = context.recipe.data, context.splits
    if context.stand_in is not None:
        sizes = " and ".join(f"{len(split):,} {name}" for name, split in splits.items())
        shape, classes = "x".join(map(str, splits["train"].shape)), len(splits["train"].classes)
        yield f"data: not here yet; planned from the known size: {sizes} samples of {shape} in {classes} classes"
    elif options.expect is not None:
        found = {name: len(split) for name, split in splits.items() if name == "test" or options.samples is None}
        found["classes"] = len(splits["train"].classes)
        for name, count in found.items():
            expected = getattr(options.expect, name)
            if count != expected:
                yield f"data: {name} is {count:,}, and data.expect says {expected:,}"


def _passes(context: RunContext) -> int:
    """Forward passes that cache one teacher from nothing."""
    return sum(len(split) * split_views(name, context.recipe.views) for name, split in context.job.chosen().items())


def _teacher_steps(context: RunContext, teacher: TeacherRecipe) -> Iterator[PlannedStep]:
    """Teach and cache."""
    committed, total = context.cached(teacher)
    checkpoint = context.checkpoint(teacher)
    if teacher.teach is not None and checkpoint is not None:
        done = checkpoint.exists() or committed == total
        detail = f"{teacher.model}, {teacher.teach.epochs} epochs{manner(teacher.teach)}"
        yield PlannedStep(f"teach {teacher.name}", detail, done)
    if teacher.snapshot is not None and checkpoint is not None:
        done = checkpoint.exists() or committed == total
        yield PlannedStep(f"snapshot {teacher.name}", _snapshot_detail(context, teacher.snapshot, done=done), done)
    missing = round(_passes(context) * (1 - committed / total))
    seconds = missing / teacher_rate(context, teacher) if missing else 0.0
    detail = f"{committed} of {total} blocks committed"
    yield PlannedStep(f"cache {teacher.name}", detail, committed == total, missing, seconds)


def teacher_rate(context: RunContext, teacher: TeacherRecipe) -> float:
    """Rows a second of the teacher on one GPU as the budget says, else of its bare forward pass, measured here."""
    given = (context.recipe.budget or BudgetOptions()).rate_of(teacher.name)
    if given is not None:
        return given
    split = next(iter(context.splits.values()))
    return forward_rate(teacher.model, len(split.classes), split.shape, context.recipe.cache.inference, context.device)


def _snapshot_detail(context: RunContext, snapshot: SnapshotOptions, *, done: bool) -> str:
    """What a snapshot is of, and whether that teacher is taught once more to get it."""
    source, options = source_of(context.recipe, snapshot)
    weights, committed = context.checkpoint(source), context.cached(source)
    taught = committed[0] == committed[1] or (weights is not None and weights.exists())
    again = ", taught once more for it" if taught and not done else ""
    return f"{source.name} after {snapshot.epoch} of {options.epochs} epochs{again}"


def _arrays(context: RunContext, teacher: TeacherRecipe, weighed: Size | None) -> Iterator[PlannedArray]:
    """Bytes of a teacher's arrays, measured where blocks are there."""
    estimated = _estimated_row(context, teacher, weighed)
    for name, split in context.job.chosen().items():
        rows = len(split) * split_views(name, context.recipe.views)
        measured = _measured_row(context, teacher.name, name)
        for key, row in (measured or estimated).items():
            sampled = weighed is not None and key == "logits" and not measured
            shared = weighed.shared_bytes if weighed is not None and sampled else 0
            yield PlannedArray(f"{name}/{teacher.name}/{key}", rows, row * rows + shared, bool(measured), sampled)


def _measured_row(context: RunContext, teacher: str, split: str) -> dict[str, float]:
    """Bytes a row by array of the blocks that are committed, empty where none is."""
    store = context.store()
    if store is None or split not in store.splits or teacher not in store.teachers(split):
        return {}
    reader = store.logits(teacher, split)
    return bytes_of_row(reader.commits, tuple(reader.record.arrays))


def _estimated_row(context: RunContext, teacher: TeacherRecipe, weighed: Size | None) -> dict[str, float]:
    """Bytes a row by array before any are stored; features at a byte each."""
    split, options = next(iter(context.splits.values())), context.recipe.cache
    logits = estimated_row(options.encoding, len(split.classes)) if weighed is None else weighed.row_bytes
    sizes = {"logits": logits}
    head = random_network(teacher.model, len(split.classes), split.shape).head if options.features else None
    return sizes if head is None else {**sizes, "features": 1.0 * head.in_features}


def _later_steps(context: RunContext, *, cached: bool) -> Iterator[PlannedStep]:
    """Verify, distill, statistics, timing and report; what depends on a step to do is to be done too."""
    recipe, out = context.recipe, context.out
    students = list(_student_steps(context)) if recipe.students else []
    if students and recipe.sweep.save_logits:
        kept = all(step.done for step in students) and (out / STUDENTS_STORE).exists()
        students.append(PlannedStep("save logits", f"of students, into {STUDENTS_STORE}", kept))
    measured = cached and all(step.done for step in students) and (out / "statistics").exists()
    timed = cached and (recipe.timing is None or (out / "timing.json").exists())
    if recipe.teachers:
        yield PlannedStep("verify", "digests of every block", cached and context.has_mark("verify"))
    yield from students
    if recipe.teachers:
        yield PlannedStep("statistics", "teachers, and students against them", measured)
    if recipe.timing is not None:
        yield PlannedStep("timing", "an epoch by source of targets", timed)
    yield PlannedStep("report", "report.html and figures", measured and timed and (out / "report.html").exists())
    if recipe.study is not None and recipe.students:
        answered = any((folder / "study" / "study.md").exists() for folder in (context.top, out))
        whole = "claims, tables and figures" if recipe.variant is None else "claims, tables and figures of all variants"
        yield PlannedStep("study", whole, measured and answered)


def _student_steps(context: RunContext) -> Iterator[PlannedStep]:
    """Students from the store, and those whose teacher is run in every step."""
    runs = context.runs()
    online = [run for run in runs if run.targets == "online"]
    if len(online) < len(runs):
        yield _student_step(context, "distill", [run for run in runs if run.targets != "online"])
    if online:
        step, done = _student_step(context, "online", online), finished_runs(context.out, online)
        left = [run for run in online if run.run_id not in done]
        yield replace(step, forward_passes=sum(map(online_passes, left)))


def _student_step(context: RunContext, name: str, runs: Sequence[RunSpec]) -> PlannedStep:
    """Students: how many there are, how many are trained, and the time of the rest from those that are."""
    done = finished_runs(context.out, runs)
    missing = [run for run in runs if run.run_id not in done]
    known = {(r["student"], r["samples"]): r["seconds_per_epoch"] / stack_size(r) for r in done.values()}
    times = [known.get((run.model, run.samples)) for run in missing]
    seconds = None
    if all(t is not None for t in times):
        seconds = sum(t * run.training.epochs for t, run in zip(times, missing, strict=True) if t is not None)
    detail = f"{len(done)} of {len(runs)} students trained"
    units = plan_units(context.out, runs, context.recipe.sweep, context.device.type)
    stacks = [len(unit.specs) for unit in units if unit.stacked]
    if stacks:
        detail += f", {sum(stacks)} to train in stacks of up to {max(stacks)}"
    return PlannedStep(name, detail, not missing, seconds=seconds)


def online_passes(run: RunSpec) -> int:
    """Forward passes of its teachers in all steps of a run."""
    return run.samples * run.training.epochs * len(run.teachers)


def _break_even(context: RunContext, passes: int) -> float | None:
    """The number of students from which caching runs the teacher less often than online distillation does."""
    online = [online_passes(run) for run in context.runs() if run.teachers]
    return passes / (sum(online) / len(online)) if online else None
