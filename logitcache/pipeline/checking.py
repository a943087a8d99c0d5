"""Checks of a whole store and their mending, with bars: a large store takes minutes."""

from __future__ import annotations

from dataclasses import replace

from logitcache.address import Address
from logitcache.cache_job import split_views
from logitcache.errors import InputError
from logitcache.pipeline.context import RunContext
from logitcache.pipeline.progress import Screen
from logitcache.pipeline.recipe import TeacherRecipe
from logitcache.recomputing import Recomputed, recompute
from logitcache.repairing import damaged_teachers, repair_splits, repair_teacher
from logitcache.store import open_store
from logitcache.store.verify import Verification, block_total, verify_url
from logitcache.teacher import Teacher, load_teacher

__all__ = ["recompute_rows", "repair_store", "verify_with_bar"]


def verify_with_bar(url: Address, screen: Screen, *, decode: bool = False) -> Verification:
    """What :func:`logitcache.store.verify.verify_url` finds, with a bar over the blocks."""
    with screen.bar("verify", block_total(url), "blocks") as bar:
        return verify_url(url, decode=decode, progress=lambda _: bar.advance(1))


def recompute_rows(context: RunContext, url: Address, rows: int) -> list[Recomputed]:
    """Stored rows beside the recipe's teachers, as many of each split and teacher.

    Raises:
        InputError: the store has none of the recipe's teachers.
    """
    store = open_store(url)
    job = replace(context.job, store=url)
    stored = {name for split in job.chosen() if split in store.splits for name in store.teachers(split)}
    teachers = [teacher for teacher in context.recipe.teachers if teacher.name in stored]
    if not teachers:
        raise InputError(f"{url} has none of the recipe's teachers; it has {', '.join(sorted(stored)) or 'none'}")
    found = []
    for teacher in teachers:
        with context.screen.bar(f"recompute {teacher.name}", rows * len(job.chosen()), "rows") as bar:
            found += recompute(job, _load(context, teacher), context.device, rows, bar.advance)
    return found


def repair_store(context: RunContext, url: Address) -> Verification:
    """Mend what is damaged or missing in a store from the recipe that made it; returns what is wrong afterwards.

    Raises:
        CheckError: what the recipe makes is not what was there.
    """
    job, screen = replace(context.job, store=url), context.screen
    findings = verify_with_bar(url, screen, decode=True).findings
    for finding in findings:
        screen.say(f"found: {finding}")
    if any(finding.kind == "metadata" for finding in findings):
        screen.say(f"{repair_splits(job)} objects of splits restored")
        findings = verify_with_bar(url, screen, decode=True).findings
    hurt = {teacher for split, teacher in damaged_teachers(findings)}
    passes = sum(len(split) * split_views(name, job.views) for name, split in job.chosen().items())
    for teacher in context.recipe.teachers:
        if teacher.name in hurt:
            network = _load(context, teacher)
            with screen.bar(f"repair {teacher.name}", passes, "rows") as bar:
                done = repair_teacher(job, network, context.device, findings, bar.advance)
            others = f", {done.superseded} with other bytes within the bound" if done.superseded else ""
            screen.say(
                f"{teacher.name}: {done.objects} objects and {done.identical} blocks restored byte for byte{others}"
            )
    context.opened.forget()
    return verify_with_bar(url, screen, decode=True)


def _load(context: RunContext, teacher: TeacherRecipe) -> Teacher:
    """One of the recipe's teachers, ready to run."""
    split = next(iter(context.splits.values()))
    options, inference = context.teacher_options(teacher), context.recipe.cache.inference
    return load_teacher(options, len(split.classes), split.shape, inference, context.device)
