"""The teacher's logits once more: from the checkpoints of a run, batches cut as the cache step cuts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from store_plain import PlainTeacher

from logitcache.pipeline.context import RunContext, open_context
from logitcache.teacher import Teacher, load_teacher
from logitcache.views import Renderer, ViewOptions

__all__ = ["clean_logits", "teacher_source"]

Part = tuple[int, slice, npt.NDArray[np.float32]]


def teacher_source(run: Path, recipe: Path | None) -> Callable[[PlainTeacher], Iterator[Part]]:
    """Logits of every view and block of a stored teacher, computed anew."""
    context = open_context(recipe or Path("pipelines") / f"{run.name}.toml", [], run, "cpu")
    return lambda stored: teacher_parts(context, stored, stored.views)


def clean_logits(context: RunContext, stored: PlainTeacher) -> npt.NDArray[np.float32]:
    """The clean view's, float32 (samples, classes)."""
    return np.concatenate([logits for _, _, logits in teacher_parts(context, stored, 1)])


def teacher_parts(context: RunContext, stored: PlainTeacher, views: int) -> Iterator[Part]:
    """View, rows and logits of each block, view by view."""
    teacher = open_teacher(context, stored.split, stored.name)
    policy = context.recipe.views if stored.split == "train" else ViewOptions()
    renderer = Renderer(context.splits[stored.split], policy, context.device, context.recipe.cache.workers)
    starts = range(0, stored.samples, stored.block_rows)
    cuts = [slice(start, min(start + stored.block_rows, stored.samples)) for start in starts]
    parts = [(view, cut) for view in range(views) for cut in cuts]
    jobs = ((torch.arange(cut.start, cut.stop), view) for view, cut in parts)
    batches = renderer.stream(jobs, context.recipe.cache.inference.batch)
    for view, cut in parts:
        logits: list[torch.Tensor] = []
        while sum(map(len, logits)) < cut.stop - cut.start:
            logits.append(teacher(next(batches).inputs)[0])
        yield view, cut, torch.cat(logits).numpy()


def open_teacher(context: RunContext, split: str, name: str) -> Teacher:
    """The teacher of that name in the run's recipe."""
    [record] = [teacher for teacher in context.recipe.teachers if teacher.name == name]
    shape, classes = context.splits[split].shape, len(context.splits[split].classes)
    options, inference = context.teacher_options(record), context.recipe.cache.inference
    return load_teacher(options, classes, shape, inference, context.device)
