"""Stage 1, all that needs a teacher: teach, cache, verify, and the timing of students' epochs beside an online teacher.

Each step is a function of the run's context, does only what is not done yet, and can be run again at any time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from logitcache.cache_job import Part, split_views
from logitcache.caching import CacheOutcome, run_cache, tidy_up
from logitcache.errors import CheckError, InputError
from logitcache.files import write_text
from logitcache.pipeline.checking import verify_with_bar
from logitcache.pipeline.context import RunContext
from logitcache.pipeline.lessons import lessons_fingerprint, manner, source_of
from logitcache.pipeline.schema import SnapshotOptions, TeacherRecipe, TeachOptions
from logitcache.pipeline.snapshots import is_taken
from logitcache.pipeline.teaching import is_taught, teach, teach_again
from logitcache.pipeline.timing import TimingOptions, time_epochs
from logitcache.records import fingerprint
from logitcache.teacher import load_teacher, read_checkpoint_metadata
from logitcache.views import Renderer

__all__ = ["WriteBlocks", "cache", "run_stage_one", "say_outcome", "teach_all", "time_sources", "verify_store"]


WriteBlocks = Callable[[RunContext, TeacherRecipe, int], None]
"""Writes what is missing of a teacher, given the number of blocks; its weights are at hand."""


def run_stage_one(context: RunContext, write: WriteBlocks | None = None, part: Part | None = None) -> None:
    """Teach and cache every teacher, then verify the store.

    Args:
        context: the run.
        write: writes blocks; without, they are computed and written in this process.
        part: the blocks that this process writes, while others write the rest: then nothing is taught or verified.

    Raises:
        InputError: a teacher's weights are to be made first, and this is one of several processes.
    """
    part = part or Part()
    for teacher in context.recipe.teachers:
        if not part.whole:
            _need_weights(context, teacher)
        cache(context, teacher, write or partial(_cache_blocks, part=part))
    if not part.whole:
        context.screen.say(f"part {part} is written; when all parts are: logitcache verify {context.store_path}")
    elif context.recipe.teachers:
        verify_store(context)


def teach_all(context: RunContext) -> None:
    """Make the weights of all teachers that the recipe says how to make, and cache none.

    Raises:
        InputError: a teacher learns from another's cached logits, and these are not in the store.
    """
    for teacher in context.recipe.teachers:
        _make_weights(context, teacher)


def cache(context: RunContext, teacher: TeacherRecipe, write: WriteBlocks | None = None) -> None:
    """Cache one teacher, after its weights are made where the recipe says how; nothing where all of it is stored."""
    checkpoint = context.checkpoint(teacher)
    committed, total = context.cached(teacher)
    at_hand = checkpoint is not None and checkpoint.exists()
    if committed == total and not at_hand:
        context.screen.say(f"cache {teacher.name}: all {total} blocks are in the store")
        return
    _make_weights(context, teacher)
    try:
        (write or _cache_blocks)(context, teacher, total - committed)
    finally:
        if committed < total:
            context.opened.forget()


def _make_weights(context: RunContext, teacher: TeacherRecipe) -> None:
    """Teach a teacher, or take the snapshot that it is; nothing where its weights come from elsewhere."""
    checkpoint = context.checkpoint(teacher)
    if teacher.teach is not None and checkpoint is not None:
        _teach(context, teacher, teacher.teach, checkpoint)
    if teacher.snapshot is not None and checkpoint is not None:
        _take(context, teacher, teacher.snapshot, checkpoint)


def _need_weights(context: RunContext, teacher: TeacherRecipe) -> None:
    """Refuse to go on where weights are not made yet: several processes would make them at the same time."""
    checkpoint, made = context.checkpoint(teacher), True
    if teacher.teach is not None and checkpoint is not None:
        made = is_taught(context, teacher, teacher.teach, checkpoint)
    if teacher.snapshot is not None:
        made = is_taken(context, teacher, lessons_fingerprint(context, *source_of(context.recipe, teacher.snapshot)))
    if not made:
        raise InputError(
            f"teacher {teacher.name!r} is not taught yet, and this is one of several processes; "
            "run `logitcache teach RECIPE` first"
        )


def _teach(context: RunContext, teacher: TeacherRecipe, options: TeachOptions, checkpoint: Path) -> None:
    """Make a teacher's weights and the snapshots of it."""
    if is_taught(context, teacher, options, checkpoint):
        context.screen.say(f"teach {teacher.name}: done before")
        return
    with context.screen.step(f"teach {teacher.name} ({teacher.model}{manner(options)})"):
        outcome = teach(context, teacher, options, checkpoint)
    context.screen.say(f"  test accuracy {outcome.test_accuracy:.2f} %")


def _take(context: RunContext, teacher: TeacherRecipe, snapshot: SnapshotOptions, path: Path) -> None:
    """Make a teacher of an epoch of another one's training, where that training did not."""
    source, options = source_of(context.recipe, snapshot)
    inputs, weights = lessons_fingerprint(context, source, options), context.checkpoint(source)
    if weights is not None and not is_taken(context, teacher, inputs):
        again = f"{source.name} is taught once more for {snapshot.epoch} of {options.epochs} epochs, as it was"
        with context.screen.step(f"snapshot {teacher.name}: {again}"):
            teach_again(context, source, options, weights)
    accuracy = read_checkpoint_metadata(path)["test_accuracy"]
    where = f"{source.name} after {snapshot.epoch} of {options.epochs} epochs"
    context.screen.say(f"snapshot {teacher.name}: {where}, test accuracy {accuracy} %")


def _cache_blocks(context: RunContext, teacher: TeacherRecipe, missing: int, part: Part | None = None) -> None:
    """Run the teacher over what is missing; with nothing missing its weights are still compared with the store's."""
    job, recipe, part = context.job, context.recipe, part or Part()
    split = next(iter(context.splits.values()))
    options = context.teacher_options(teacher)
    network = load_teacher(options, len(split.classes), split.shape, recipe.cache.inference, context.device)
    passes = sum(len(s) * split_views(name, recipe.views) for name, s in job.chosen().items()) // part.of
    store = context.store()
    if not missing and store is not None:
        tidy_up(job, network, store, sweep=part.whole)
        context.screen.say(f"cache {teacher.name}: all blocks are in the store")
        return
    of_all = "" if part.whole else f"part {part}, "
    title = f"cache {teacher.name} ({of_all}{passes:,} forward passes, {missing} blocks missing)"
    with context.screen.step(title), context.screen.bar(f"cache {teacher.name}", passes, "rows") as bar:
        outcome = run_cache(job, network, context.device, bar.advance, context.screen.say, part=part)
    say_outcome(context, outcome)


def say_outcome(context: RunContext, outcome: CacheOutcome) -> None:
    """What a cache step did."""
    rate = outcome.forward_passes / max(outcome.seconds, 1e-9)
    context.screen.say(f"  {outcome.written} blocks written, {outcome.found} found, {rate:,.0f} rows/s")


def verify_store(context: RunContext) -> None:
    """Compare the store with its own records.

    Raises:
        CheckError: naming every damaged or missing block.
    """
    store = context.store()
    if store is None:
        raise InputError(f"{context.store_path} does not exist; run the cache step first")
    context.note_shared_store()
    inputs = context.store_fingerprint(whole=True)
    if context.was_done("verify", inputs):
        context.screen.say("verify: done before")
        return
    with context.screen.step("verify"):
        result = verify_with_bar(context.store_path, context.screen)
    if result.findings:
        raise CheckError("\n".join(str(finding) for finding in result.findings))
    context.screen.say(f"  {result.blocks} blocks, {result.bytes:,} bytes, all intact")
    context.mark_done("verify", inputs)


def time_sources(context: RunContext) -> None:
    """Time a student's epoch by source of targets, when the recipe asks for it and the teacher is at hand."""
    options, path = context.recipe.timing, context.out / "timing.json"
    if options is None or not context.recipe.teachers:
        return
    inputs = fingerprint({"options": options.model_dump(mode="json"), "store": context.store_fingerprint()})
    if path.exists() and context.was_done("timing", inputs):
        context.screen.say("timing: done before")
        return
    teacher = context.recipe.teachers[0]
    checkpoint = context.checkpoint(teacher)
    if checkpoint is not None and not checkpoint.exists():
        context.screen.say(f"timing: skipped, {checkpoint} is gone and online distillation needs the teacher")
        return
    with context.screen.step("timing of an epoch by source of targets"):
        record = _time(context, options, teacher)
    write_text(path, json.dumps(record, indent=1) + "\n")
    context.mark_done("timing", inputs)


def _time(context: RunContext, options: TimingOptions, teacher: TeacherRecipe) -> dict[str, object]:
    """The record of ``timing.json``."""
    split, store = context.splits["train"], context.store()
    if store is None:
        raise InputError(f"{context.store_path} does not exist; run the cache step first")
    network = load_teacher(
        context.teacher_options(teacher),
        len(split.classes),
        split.shape,
        context.recipe.cache.inference,
        context.device,
    )
    renderer = Renderer(split, context.recipe.views, context.device, context.recipe.cache.workers)
    soft = store.soft_targets([teacher.name], "train", device=context.device)
    with context.screen.bar("timing", options.timed_epochs, "epochs") as bar:
        seconds = time_epochs(
            options,
            renderer,
            soft,
            lambda inputs: network(inputs)[0].clone(),
            context.recipe.views.count,
            progress=lambda: bar.advance(1),
        )
    return {
        "student": options.model,
        "teacher": teacher.model,
        "samples": len(split),
        "batch": options.training.batch,
        "threads": torch.get_num_threads(),
        "device": context.device.type,
        "seconds_per_epoch": seconds,
    }
