"""A plan at scale in lines, for people; warnings come last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from logitcache.pipeline.amounts import money, size, span
from logitcache.pipeline.scaling import Scale
from logitcache.planning.lessons import Lesson
from logitcache.planning.money import gpus_for, request_cost
from logitcache.planning.sizes import Size
from logitcache.planning.traffic import Requests, Step
from logitcache.store.identity import MOST_BLOCKS

__all__ = ["scale_lines"]

_STEPS: dict[Step, str] = {
    "cache": "cache, from nothing",
    "resume": "resume, nothing missing",
    "verify": "verify",
    "decode": "verify --decode",
}
_HOUR = 3600
_WORTH_A_WARNING = 0.1
"""Share of an epoch that is spent waiting."""
_SMALL_SHARD, _MANY_SHARDS = 10**5, 10**5


def scale_lines(scale: Scale) -> Iterator[str]:
    """All that a plan at scale says."""
    yield from _sizes(scale)
    yield from _objects(scale)
    yield from _requests(scale)
    yield from _work(scale)
    yield from _reading(scale)
    yield from _money(scale)
    yield from _warnings(scale)


def _sizes(scale: Scale) -> Iterator[str]:
    """Bytes by encoding."""
    yield f"encodings of {scale.rows:,} rows ({scale.said or 'estimated; --sample measures'}):"
    width = max(len(each.title) for each in scale.sizes)
    for each in scale.sizes:
        total = size(each.total(scale.rows, len(scale.parts)))
        words = [f"  {each.title:<{width}}  {_row(each):>12} bytes a row  {total:>8}"]
        words += [each.chosen] if each.chosen else []
        words += ["the recipe's"] if each.title == scale.own else []
        yield "  ".join(words)
    if scale.refused:
        yield f"  {' and '.join(scale.refused)}: the sample does not fit"


def _row(each: Size) -> str:
    """Bytes of a row."""
    digits = f"{each.row_bytes:,.0f}" if each.row_bytes >= 100 else f"{each.row_bytes:.1f}"
    return f"at most {digits}" if each.at_most else digits


def _objects(scale: Scale) -> Iterator[str]:
    """Objects of the finished store."""
    blocks = sum(part.blocks for part in scale.parts)
    shards = sum(part.blocks * part.arrays for part in scale.parts)
    groups = sum(part.groups for part in scale.parts)
    largest = max(part.block_rows for part in scale.parts)
    yield (
        f"objects: {blocks:,} blocks of up to {largest:,} rows: {shards:,} shards of about "
        f"{size(scale.bytes / shards)}, {groups:,} records of commits"
    )


def _requests(scale: Scale) -> Iterator[str]:
    """Requests of each step, were the store in an object store."""
    rows = [(title, scale.requests(step)) for step, title in _STEPS.items()]
    if scale.longest is not None:
        count = scale.budget.processes
        by = f", {count} processes" if count > 1 else ""
        rows.append((f"an epoch{by}", scale.longest.requests(count, loads=1)))
        rows.append((f"a training of {scale.longest.epochs} epochs{by}", scale.longest.requests(count)))
    width = max(len(title) for title, _ in rows)
    yield "requests, in an object store (a few hundred that open it are left out):"
    yield f"  {'':<{width}}  {'PUT':>13} {'GET':>13} {'HEAD':>13} {'LIST':>13} {'DELETE':>13}"
    for title, requests in rows:
        yield f"  {title:<{width}}  {_counts(requests)}{_cost(scale, requests)}"


def _counts(requests: Requests) -> str:
    """Requests by kind."""
    counts = (requests.put, requests.get, requests.head, requests.list, requests.delete)
    return " ".join(f"{count:>13,}" for count in counts)


def _cost(scale: Scale, requests: Requests) -> str:
    """What requests cost, where they do."""
    cost = request_cost(requests, scale.budget)
    return f"  {money(cost, scale.budget.currency)}" if cost else ""


def _work(scale: Scale) -> Iterator[str]:
    """Forward passes, GPU hours, GPUs for a deadline."""
    rates = ", ".join(
        f"{name} {rate:,.0f} rows/s" + (f" (measured on this {scale.device})" if name in scale.measured else "")
        for name, rate in scale.rates.items()
    )
    deadline = scale.budget.deadline
    line = f"teachers: {scale.rows:,} forward passes, {_hours(scale.hours)} GPU hours from nothing ({rates})"
    if deadline is not None:
        needed = gpus_for(scale.hours, deadline)
        line += f"; {needed:,} worker{'s' * (needed > 1)}, one GPU each, for a deadline of {span(deadline * _HOUR)}"
    yield line


def _reading(scale: Scale) -> Iterator[str]:
    """What the training that reads the most asks of disk and network."""
    lesson, budget = scale.longest, scale.budget
    if lesson is None:
        return
    each = "each process reads" if budget.processes > 1 else "it reads"
    total = f"{size(lesson.bytes)} in {lesson.epochs} epochs ({_residence(lesson)})"
    line = f"a training: {each} {size(lesson.view_bytes)} a view, {total}"
    if budget.student_rate is None:
        yield f"{line}; budget.student_rate tells bytes a second"
        return
    needed = lesson.byte_rate(budget.student_rate)
    together = f", {size(budget.processes * needed)}/s together" if budget.processes > 1 else ""
    yield f"{line}; at {budget.student_rate:,.0f} rows/s that is {size(needed)}/s{together}"


def _residence(lesson: Lesson) -> str:
    """What of the decoded views stays in memory."""
    if not lesson.resident:
        return "in windows, a decoded view does not fit in memory"
    if lesson.loads < lesson.epochs or lesson.epochs == 1:
        return "each view once, all that it walks fit in memory"
    return (
        "one decoded view fits in memory" if lesson.resident == 1 else f"{lesson.resident} decoded views fit in memory"
    )


def _hours(hours: float) -> str:
    """GPU hours with few digits."""
    return f"{hours:.2g}" if hours < 1 else f"{hours:,.1f}" if hours < 1000 else f"{hours:,.0f}"


def _money(scale: Scale) -> Iterator[str]:
    """Costs by cause, and when online is cheaper, in hours and in money."""
    if not scale.online:
        return
    students, currency = len(scale.online), scale.budget.currency
    yield (
        f"teachers without a cache: {_hours(scale.online_hours)} GPU hours a student, for the recipe's {students} "
        f"{_hours(students * scale.online_hours)}; with the cache {_hours(scale.hours)} for any number"
    )
    if not scale.budget.priced:
        return
    made = scale.caching
    yield (
        f"cost: the cache {money(made.total, currency)} (GPUs {money(made.gpu)}, requests {money(made.requests)}, "
        f"{scale.budget.months:g} months of storage {money(made.storage)})"
    )
    if scale.lessons:
        read = scale.student
        yield (
            f"cost: a student {money(read.total, currency)} with the cache (requests {money(read.requests)}, reading "
            f"{money(read.reading)}), {money(scale.student_online, currency)} with teachers in every step"
        )
        yield _cheaper(scale.pays_from, students)


def _cheaper(pays_from: float | None, students: int) -> str:
    """Which way costs less."""
    if pays_from is None:
        return "online distillation costs less for any number of students: reading costs more than running teachers"
    way = "caching" if students >= pays_from else "online distillation"
    return f"caching costs less from {pays_from:.2g} students on; the recipe has {students}: {way} costs less"


def _warnings(scale: Scale) -> Iterator[str]:
    """What would make trainings wait, or objects too many."""
    lesson = scale.longest
    if lesson is not None:
        yield from _waits(scale, lesson)
    scattered = next((each for each in scale.lessons if each.scattered), None)
    if scattered is not None:
        yield (
            f"warning: a student sees {scattered.rows:,} samples of a store whose views do not fit in memory: each "
            "batch decodes as many blocks as it has rows; cache those samples alone (data.samples)"
        )
    largest = max(scale.parts, key=lambda part: part.blocks)
    if largest.blocks > MOST_BLOCKS:
        yield (
            f"warning: {largest.blocks:,} blocks of {largest.teacher} in {largest.split}; a store holds "
            f"{MOST_BLOCKS:,} of a teacher in a split: a larger cache.block makes fewer"
        )
    shards = sum(part.blocks * part.arrays for part in scale.parts)
    if shards > _MANY_SHARDS and scale.bytes / shards < _SMALL_SHARD:
        yield f"warning: shards of {size(scale.bytes / shards)} are small for so many; a larger cache.block makes fewer"


def _waits(scale: Scale, lesson: Lesson) -> Iterator[str]:
    """Trainings that a disk or a network holds up."""
    rate = scale.budget.student_rate
    for name, bandwidth in (("network", scale.budget.network), ("disk", scale.budget.disk)):
        if rate is None or bandwidth is None:
            continue
        pace = lesson.pace(rate, bandwidth)
        pace = replace(pace, overlaps=pace.overlaps or (scale.staged and name == "network"))
        if pace.lost > _WORTH_A_WARNING:
            beside = "" if pace.overlaps else ", one after the other"
            ahead = ", or `distill --stage`, which reads ahead" if name == "network" and not scale.staged else ""
            yield (
                f"warning: training is {name}-bound at {bandwidth:g} MB/s: an epoch computes for "
                f"{span(pace.computing)} and reads for {span(pace.reading)}{beside}, and waits {pace.lost:.0%} of its "
                f"time; what helps: fewer bytes a row (cache.encoding), more bandwidth{ahead}"
            )
