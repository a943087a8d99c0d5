"""A recipe's plan at scale: its store by encoding, objects, requests, hours, what trainings read, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

from logitcache.cache_job import split_views
from logitcache.errors import InputError
from logitcache.pipeline.context import RunContext
from logitcache.pipeline.plan import Plan, teacher_rate
from logitcache.pipeline.plan_sample import Calibration
from logitcache.planning.lessons import Lesson
from logitcache.planning.money import Costs, break_even, caching_costs, gpu_hours, student_costs
from logitcache.planning.options import BudgetOptions
from logitcache.planning.sizes import Size, compared, estimate, kept_row, titled, weigh
from logitcache.planning.traffic import Requests, Step, StoredPart
from logitcache.soft_targets.targets import MEMORY
from logitcache.store.layout import block_shape
from logitcache.sweep import RunSpec

__all__ = ["Scale", "make_scale"]


@dataclass(frozen=True)
class Scale:
    """What a recipe comes to.

    Attributes:
        budget: rates, bandwidths and prices.
        sizes: a row's bytes by encoding, side by side.
        refused: titles of encodings that do not hold the sample.
        own: the title of the recipe's encoding among them.
        parts: each teacher in each split, features among its arrays.
        bytes: of all arrays of the store.
        rates: rows a second of each teacher on one GPU.
        measured: the teachers whose rate was measured on this device.
        lessons: one for each student that reads cached logits.
        online: forward passes of each teacher that each student with teachers would need without a cache.
        device: where rates were measured.
        said: what sizes were measured on; empty where they are estimated.
        staged: whether shards are brought to a stage on a disk of the machine ahead of training.
    """

    budget: BudgetOptions
    sizes: tuple[Size, ...]
    refused: tuple[str, ...]
    own: str
    parts: tuple[StoredPart, ...]
    bytes: float
    rates: Mapping[str, float]
    measured: tuple[str, ...]
    lessons: tuple[Lesson, ...]
    online: tuple[Mapping[str, int], ...]
    device: str
    said: str = ""
    staged: bool = False

    @property
    def rows(self) -> int:
        """Rows of all teachers, splits and views: one forward pass each."""
        return sum(part.rows for part in self.parts)

    @cached_property
    def passes(self) -> dict[str, int]:
        """Forward passes of each teacher that fill the store."""
        names = dict.fromkeys(part.teacher for part in self.parts)
        return {name: sum(part.rows for part in self.parts if part.teacher == name) for name in names}

    @property
    def hours(self) -> float:
        """GPU hours that fill the store."""
        return gpu_hours(self.passes, self.rates)

    @property
    def online_hours(self) -> float:
        """GPU hours of teachers that one student needs without a cache, on average."""
        return fmean(gpu_hours(each, self.rates) for each in self.online) if self.online else 0.0

    @cached_property
    def longest(self) -> Lesson | None:
        """The training that reads the most."""
        return Lesson.longest(self.lessons)

    def requests(self, step: Step) -> Requests:
        """What a step asks for, for the whole store."""
        return sum((part.requests(step) for part in self.parts), Requests())

    @property
    def caching(self) -> Costs:
        """What it costs to make the store and keep it."""
        return caching_costs(self.hours, self.requests("cache"), self.bytes, self.budget)

    @property
    def student(self) -> Costs:
        """What it costs to read it for one student, on average."""
        costs = [self._reading(lesson) for lesson in self.lessons]
        return Costs(requests=fmean(c.requests for c in costs), reading=fmean(c.reading for c in costs))

    @property
    def student_online(self) -> float:
        """What one student's teachers cost without a cache, on average."""
        return self.online_hours * self.budget.gpu_hour

    @property
    def pays_from(self) -> float | None:
        """From how many students on the cache is cheaper, in money; None where it never is."""
        return break_even(self.caching.total, self.student.total, self.student_online)

    def _reading(self, lesson: Lesson) -> Costs:
        """What one student's reading costs."""
        count = self.budget.processes
        return student_costs(lesson.requests(count), count * lesson.bytes, self.budget)


def make_scale(
    context: RunContext, plan: Plan, sample: Calibration | None = None, weighed: Size | None = None
) -> Scale:
    """What a recipe comes to, reckoned from its plan; it takes no longer for more rows.

    Args:
        context: the recipe's run, with splits that stand for absent data where there are any.
        plan: its plan.
        sample: logits to weigh encodings on; estimated without.
        weighed: what was weighed of them in the recipe's own encoding.
    """
    recipe, classes = context.recipe, len(next(iter(context.splits.values())).classes)
    options = recipe.cache.encoding
    sizes, refused = _sizes(context, classes, sample, weighed)
    own = _as_stored(next(size for size in sizes if size.title == titled(options)), plan)
    sizes = tuple(own if size.title == own.title else size for size in sizes)
    arrays = {teacher.name: _arrays(plan, teacher.name) or own.arrays for teacher in recipe.teachers}
    budget = recipe.budget or BudgetOptions()
    rates = {teacher.name: teacher_rate(context, teacher) for teacher in recipe.teachers}
    runs = context.runs() if recipe.students else []
    return Scale(
        budget=budget,
        sizes=sizes,
        refused=refused,
        own=own.title,
        parts=tuple(_parts(context, arrays)),
        bytes=sum(array.bytes for array in plan.arrays),
        rates=rates,
        measured=tuple(name for name in rates if budget.rate_of(name) is None),
        lessons=tuple(_lessons(context, plan, runs, arrays)),
        online=tuple(_online(run) for run in runs if run.teachers),
        device=context.device.type,
        said="" if sample is None else sample.said,
        staged=recipe.sweep.stage is not None,
    )


def _sizes(
    context: RunContext, classes: int, sample: Calibration | None, weighed: Size | None
) -> tuple[tuple[Size, ...], tuple[str, ...]]:
    """A row's bytes by encoding, and the titles of those that the sample does not fit."""
    sizes, refused = [], []
    for options in compared(context.recipe.cache.encoding, classes):
        title = titled(options)
        if sample is None:
            sizes.append(estimate(options, classes))
        elif weighed is not None and title == weighed.title:
            sizes.append(weighed)
        else:
            try:
                sizes.append(weigh(options, sample.sample))
            except InputError:
                refused.append(title)
    return tuple(sizes), tuple(refused)


def _as_stored(size: Size, plan: Plan) -> Size:
    """The size of the recipe's encoding as the store has it, where all teachers are in it already."""
    logits = [array for array in plan.arrays if not array.name.endswith("/features")]
    if not logits or not all(array.measured for array in logits):
        return size
    rows = sum({array.name.rpartition("/")[0]: array.rows for array in logits}.values())
    row_bytes = sum(array.bytes for array in logits) / rows
    return replace(size, row_bytes=row_bytes, shared_bytes=0, chosen="as stored", measured=True, at_most=False)


def _arrays(plan: Plan, teacher: str) -> int:
    """How many arrays hold a teacher's logits in the store that is there; 0 where nothing is stored."""
    names = {
        array.name.rpartition("/")[2]
        for array in plan.arrays
        if array.measured and array.name.split("/")[1] == teacher and not array.name.endswith("/features")
    }
    return len(names)


def _parts(context: RunContext, arrays: Mapping[str, int]) -> Iterator[StoredPart]:
    """Each teacher in each split, as the cache step cuts it."""
    recipe = context.recipe
    for name, count in arrays.items():
        for split, data in context.job.chosen().items():
            rows = block_shape(len(data), len(data.classes), recipe.cache.block)[0]
            views = split_views(split, recipe.views)
            yield StoredPart(name, split, len(data), views, rows, count + recipe.cache.features)


def _lessons(context: RunContext, plan: Plan, runs: Sequence[RunSpec], arrays: Mapping[str, int]) -> Iterator[Lesson]:
    """What each student reads that reads cached logits."""
    parts = {part.teacher: part for part in _parts(context, arrays) if part.split == "train"}
    classes = len(context.splits["train"].classes) if parts else 0
    kept = kept_row(context.recipe.cache.encoding, classes)
    for run in runs:
        if run.teachers and run.targets != "online" and parts:
            yield Lesson(
                epochs=run.training.epochs,
                rows=run.samples,
                views=run.views if run.targets == "views" else 0,
                parts=tuple(replace(parts[name], arrays=arrays[name]) for name in run.teachers),
                row_bytes=tuple(_row_bytes(plan, name) for name in run.teachers),
                kept_bytes=kept * len(run.teachers),
                memory=MEMORY,
            )


def _row_bytes(plan: Plan, teacher: str) -> float:
    """Stored bytes of a row of a teacher's logits in the train split."""
    logits = [a for a in plan.arrays if a.name.startswith(f"train/{teacher}/") and not a.name.endswith("/features")]
    return sum(array.bytes / array.rows for array in logits)


def _online(run: RunSpec) -> dict[str, int]:
    """Forward passes of each of a student's teachers, were they run in every step."""
    return dict.fromkeys(run.teachers, run.samples * run.training.epochs)
