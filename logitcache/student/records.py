"""What is known of a training: a record an epoch, one JSON line each, and the outcome that they amount to."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from logitcache.files import write_atomically

__all__ = [
    "METRICS",
    "TRAIN_MEASURES",
    "EpochRecord",
    "Measured",
    "Outcome",
    "TrainMeasures",
    "add_metrics",
    "outcome",
    "write_metrics",
]

METRICS = "metrics.jsonl"
"""The file of a run's records."""


@dataclass(frozen=True)
class TrainMeasures:
    """A network on the clean view of the train samples that it sees; ``d`` is its logits minus the teacher's.

    None is what there is not: without a teacher its mean and the distances, without a distance its share, and numbers
    that are not finite.

    Attributes:
        train_accuracy: in percent, against the labels that it is trained on.
        logit_mean: of its logits, over samples and classes.
        teacher_logit_mean: of the teacher's logits, likewise.
        logit_distance: the mean over samples of the Euclidean norm of ``d``.
        mean_share: the sum over samples of K times the squared mean of the K entries of ``d``, over the sum of the
            squared norms of ``d``: the part of the distance that shifts all logits of a sample alike, from 0 to 1.
    """

    train_accuracy: float | None = None
    logit_mean: float | None = None
    teacher_logit_mean: float | None = None
    logit_distance: float | None = None
    mean_share: float | None = None


TRAIN_MEASURES = tuple(field.name for field in fields(TrainMeasures))
"""Their names, in order."""


@dataclass(frozen=True)
class Measured:
    """What is known of a network at an epoch's end: its test accuracy in percent, and itself on its train samples."""

    test_accuracy: float
    train: TrainMeasures = TrainMeasures()


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a training, one line of ``metrics.jsonl``.

    Attributes:
        epoch: epochs done, from 1.
        loss: the mean over the epoch's steps; None where it left the finite numbers.
        learning_rate: of the epoch's first step.
        train_seconds: this epoch's steps alone, without evaluation and checkpoints. Students that were trained
            together all have the seconds of the group.
        test_accuracy: in percent at the epoch's end; None where none was asked for.
        samples: seen in the epoch.
        train_accuracy, logit_mean, teacher_logit_mean, logit_distance, mean_share: as in :class:`TrainMeasures`, at
            the epoch's end; None where they were not asked for.
    """

    epoch: int
    loss: float | None
    learning_rate: float
    train_seconds: float
    test_accuracy: float | None
    samples: int
    train_accuracy: float | None = None
    logit_mean: float | None = None
    teacher_logit_mean: float | None = None
    logit_distance: float | None = None
    mean_share: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        test_accuracy: in percent, after the last epoch; None where the training diverged.
        best_test_accuracy: the largest of those that were measured; None where there was none.
        train_seconds: of all epochs, those before an interruption included.
        epochs: epochs done.
        status: ``diverged`` where a loss was not finite; the records end with that epoch.
        loss: the last epoch's mean; None where the training diverged.
        train: of the last epoch; all None where nothing was measured on train samples.
    """

    test_accuracy: float | None
    best_test_accuracy: float | None
    train_seconds: float
    epochs: int
    status: Literal["done", "diverged"]
    loss: float | None
    train: TrainMeasures = TrainMeasures()


def outcome(records: Sequence[EpochRecord]) -> Outcome:
    """What the records of all epochs, at least one, amount to."""
    last = records[-1]
    measured = [record.test_accuracy for record in records if record.test_accuracy is not None]
    return Outcome(
        test_accuracy=last.test_accuracy,
        best_test_accuracy=max(measured, default=None),
        train_seconds=math.fsum(record.train_seconds for record in records),
        epochs=len(records),
        status="diverged" if last.loss is None else "done",
        loss=last.loss,
        train=TrainMeasures(**{name: getattr(last, name) for name in TRAIN_MEASURES}),
    )


def write_metrics(folder: Path, records: Sequence[EpochRecord]) -> None:
    """Write the whole file anew, one line a record."""
    write_atomically(folder / METRICS, "".join(map(_line, records)).encode())


def add_metrics(folder: Path, record: EpochRecord) -> None:
    """Add the line of one epoch."""
    with (folder / METRICS).open("a", encoding="utf-8") as file:
        file.write(_line(record))


def _line(record: EpochRecord) -> str:
    """An epoch as one JSON line."""
    return json.dumps(asdict(record), allow_nan=False) + "\n"
