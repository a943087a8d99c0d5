"""The teach step: train a recipe's teachers with the same loop that trains students, and take snapshots of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from torch import nn

from logitcache.errors import DivergedError, InputError
from logitcache.pipeline.context import RunContext
from logitcache.pipeline.lessons import Lessons, advice, lessons_fingerprint, prepare
from logitcache.pipeline.schema import TeacherRecipe, TeachOptions
from logitcache.pipeline.snapshots import album
from logitcache.student.training import CHECKPOINT, EpochRecord, Outcome, train
from logitcache.teacher import read_checkpoint_metadata, save_checkpoint

__all__ = ["is_taught", "teach", "teach_again"]


class _TakenError(Exception):
    """All snapshots are taken that a training was for; it need not go on."""


def is_taught(context: RunContext, teacher: TeacherRecipe, options: TeachOptions, checkpoint: Path) -> bool:
    """Whether the checkpoint is there, and from this very recipe.

    Raises:
        InputError: it is there, but was trained otherwise.
    """
    if not checkpoint.exists():
        return False
    trained = read_checkpoint_metadata(checkpoint).get("teach")
    wanted = lessons_fingerprint(context, teacher, options)
    if trained != wanted:
        raise InputError(
            f"{checkpoint} was trained by other settings (fingerprint {trained}, this recipe has {wanted}); "
            f"{advice(context, teacher)}"
        )
    return True


def teach(context: RunContext, teacher: TeacherRecipe, options: TeachOptions, checkpoint: Path) -> Outcome:
    """Train a teacher and write its checkpoint and its snapshots; interrupted, the same call goes on.

    A snapshot that was not yet asked for when its epoch went by is left to :func:`teach_again`.

    Raises:
        DivergedError: its loss left the finite numbers; there is no checkpoint.
        InputError: one of its snapshots is there, and of another training.
    """
    lessons = prepare(context, teacher, options)
    folder = _folder(checkpoint, lessons)
    wanted = album(context, teacher, lessons.inputs, lessons.evaluator.accuracy)
    outcome = _train(context, teacher, lessons, folder, wanted.take)
    metadata = {"teach": lessons.inputs, "test_accuracy": f"{outcome.test_accuracy:.2f}"}
    save_checkpoint(checkpoint, lessons.network, teacher.model, metadata)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return outcome


def teach_again(context: RunContext, teacher: TeacherRecipe, options: TeachOptions, checkpoint: Path) -> None:
    """Train a teacher once more, up to its snapshots that are missing, and write those; all that it left stays.

    Raises:
        DivergedError: its loss left the finite numbers before.
        InputError: one of its snapshots is there, and of another training.
    """
    lessons = prepare(context, teacher, options)
    folder = _folder(checkpoint, lessons) / "again"
    wanted = album(context, teacher, lessons.inputs, lessons.evaluator.accuracy)
    wanted.turn_back(folder / CHECKPOINT)

    def take(epochs: int, network: nn.Module) -> None:
        wanted.take(epochs, network)
        if epochs == wanted.last:
            raise _TakenError

    with suppress(_TakenError):
        _train(context, teacher, lessons, folder, take)
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _folder(checkpoint: Path, lessons: Lessons) -> Path:
    """Where a training keeps its state; other settings never go on from there."""
    return checkpoint.with_suffix(".training") / lessons.inputs


def _train(
    context: RunContext,
    teacher: TeacherRecipe,
    lessons: Lessons,
    folder: Path,
    take: Callable[[int, nn.Module], None],
) -> Outcome:
    """Train to the end, from the folder's checkpoint where there is one."""
    options = lessons.options
    folder.mkdir(parents=True, exist_ok=True)
    with context.screen.bar(f"teach {teacher.name}", options.epochs, "epochs") as bar:

        def advance(record: EpochRecord) -> None:
            note = "" if record.test_accuracy is None else f"test {record.test_accuracy:.2f} %"
            bar.advance(1, note)

        outcome = train(
            lessons.network,
            lessons.feed,
            lessons.objective,
            options,
            folder=folder,
            evaluate=lessons.evaluate,
            seed=options.seed,
            progress=advance,
            snapshot=take,
        )
    if outcome.status != "done":
        raise DivergedError(
            f"teacher {teacher.name!r} diverged in epoch {outcome.epochs} of {options.epochs}; "
            f"lower teachers.teach.learning_rate = {options.learning_rate:g}"
        )
    return outcome
