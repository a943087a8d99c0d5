"""Students whose teacher is run in every step: the control beside the cached soft targets. This needs the teachers.

They are trained after all others, by the same sweep, and what they leave is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from logitcache.errors import InputError, MismatchError
from logitcache.pipeline.board import watch
from logitcache.pipeline.context import RunContext
from logitcache.pipeline.staged import told_of_stage
from logitcache.student.feed import OnlineTeacher
from logitcache.sweep import RunSpec, finished_runs, run_sweep
from logitcache.teacher import load_teacher
from logitcache.teacher_options import InferenceOptions, TeacherOptions

__all__ = ["OnlineTeachers", "train_online"]


@dataclass(frozen=True)
class OnlineTeachers:
    """How teachers are loaded where students are trained, by name; picklable.

    Attributes:
        teachers: their networks and weights.
        weights: the fingerprints that the store says they have, one a teacher.
        classes: of the data set.
        shape: ``(C, H, W)`` of one input.
        inference: the arithmetic in which they were cached.
    """

    teachers: tuple[TeacherOptions, ...]
    weights: tuple[str, ...]
    classes: int
    shape: tuple[int, int, int]
    inference: InferenceOptions

    def __call__(self, name: str, device: torch.device) -> OnlineTeacher:
        """Load a teacher; what comes back makes inputs ``(B, C, H, W)`` to float32 logits ``(B, K)``.

        Raises:
            InputError: its weights cannot be read.
            MismatchError: they are not those that were cached.
        """
        [(options, stored)] = [
            (each, weights) for each, weights in zip(self.teachers, self.weights, strict=True) if each.name == name
        ]
        teacher = load_teacher(options, self.classes, self.shape, self.inference, device)
        if teacher.fingerprint != stored:
            advice = "bring back the weights that were cached, or use another --out"
            raise MismatchError(f"weight fingerprint of teacher {name!r}", stored, teacher.fingerprint, advice)
        # a copy: what comes out of inference mode has no part in a training
        return lambda inputs: teacher(inputs)[0].clone()


def train_online(context: RunContext) -> None:
    """Train the students with ``targets = "online"`` that are not trained yet; nothing where there are none.

    Raises:
        InputError: the weights of a teacher are gone, or it is not in the store.
        CheckError: some of them failed; all others are trained.
    """
    runs = context.runs()
    online = [run for run in runs if run.targets == "online"]
    if not online:
        return
    done = finished_runs(context.out, online)
    missing = [run for run in online if run.run_id not in done]
    if not missing:
        context.screen.say(f"online: all {len(online)} students are trained")
        return
    sweep = replace(context.sweep(), online=_teachers(context, missing))
    epochs = {run.run_id: run.training.epochs for run in missing}
    title = f"online {len(missing)} of {len(online)} students, the teacher in every step"
    options = context.recipe.sweep
    telling = told_of_stage(context.screen, options.staging)
    with context.screen.step(title), telling as of_stage, watch(context.screen, epochs) as listener:
        run_sweep(sweep, runs, options, listeners=[listener, *of_stage])


def _teachers(context: RunContext, runs: Sequence[RunSpec]) -> OnlineTeachers:
    """The teachers of some runs, whose weights are at hand and known to the store."""
    names = {name for run in runs for name in run.teachers}
    teachers = tuple(context.teacher_options(each) for each in context.recipe.teachers if each.name in names)
    for each in teachers:
        if each.checkpoint is not None and not each.checkpoint.exists():
            raise InputError(
                f"{each.checkpoint} is gone, and students with targets = 'online' need teacher {each.name!r} in every "
                "step; bring the file back, or set targets = 'views' to train them from the store"
            )
    split = context.splits["train"]
    return OnlineTeachers(
        teachers=teachers,
        weights=tuple(_stored_weights(context, each.name) for each in teachers),
        classes=len(split.classes),
        shape=split.shape,
        inference=context.recipe.cache.inference,
    )


def _stored_weights(context: RunContext, name: str) -> str:
    """The fingerprint of the weights that a teacher was cached with."""
    store = context.store()
    if store is None or "train" not in store.splits or name not in store.teachers("train"):
        raise InputError(f"teacher {name!r} is not in {context.store_path}; run the cache step first")
    return store.logits(name, "train").record.weights
