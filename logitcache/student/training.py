"""The one training loop: for students of any objective, and for teachers that a recipe trains.

An epoch is replayable: its batches, its learning rates and torch's random state are functions of the seed
and the epoch's number. So a training that was interrupted anywhere goes on from its last checkpoint, which
is always at the end of an epoch, to bit-identical weights. Nothing waits for the device within an epoch.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from logitcache.errors import InputError
from logitcache.files import write_atomically
from logitcache.keyed import draw
from logitcache.student import checkpoint
from logitcache.student.batches import Feed
from logitcache.student.objectives import Objective
from logitcache.student.schedule import ScheduleOptions, rate_at

__all__ = ["CHECKPOINT", "METRICS", "EpochRecord", "Evaluate", "Outcome", "TrainingOptions", "make_optimizer", "train"]

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"

Evaluate = Callable[[nn.Module], float]
Progress = Callable[["EpochRecord"], None]


class TrainingOptions(ScheduleOptions):
    """How a network is trained: length, optimizer, schedule, precision, and how often to look and to save."""

    epochs: int = Field(gt=0, description="passes over the feed")
    batch: int = Field(default=64, gt=0, description="samples in a step")
    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", description="SGD with momentum, or AdamW")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd: momentum")
    nesterov: bool = Field(default=True, description="sgd: Nesterov's form, where momentum is not 0")
    weight_decay: float = Field(
        default=5e-4, ge=0, description="weight decay of parameters with two or more dimensions"
    )
    decay_norm: bool = Field(default=False, description="decay biases and normalisation weights too")
    precision: Literal["float32", "bf16"] = Field(default="float32", description="bf16: autocast to bfloat16")
    evaluate_every: int = Field(
        default=1, gt=0, description="epochs between test accuracies; the last epoch always has one"
    )
    checkpoint_seconds: float = Field(default=30.0, ge=0, description="least seconds between two checkpoints")


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a training, one line of ``metrics.jsonl``.

    Attributes:
        epoch: epochs done, from 1.
        loss: the mean over the epoch's steps; None where it left the finite numbers.
        learning_rate: of the epoch's first step.
        train_seconds: this epoch's steps alone, without evaluation and checkpoint.
        test_accuracy: in percent at the epoch's end; None where none was asked for.
    """

    epoch: int
    loss: float | None
    learning_rate: float
    train_seconds: float
    test_accuracy: float | None


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        test_accuracy: in percent, after the last epoch; None where the training diverged.
        best_test_accuracy: the largest of those that were measured; None where there was none.
        train_seconds: of all epochs, those before an interruption included.
        epochs: epochs done.
        status: ``diverged`` where a loss was not finite; the training stopped at the end of that epoch.
        loss: the last epoch's mean; None where the training diverged.
    """

    test_accuracy: float | None
    best_test_accuracy: float | None
    train_seconds: float
    epochs: int
    status: Literal["done", "diverged"]
    loss: float | None


@dataclass
class _Run:
    """A training in progress: what the steps of :func:`train` share."""

    network: nn.Module
    feed: Feed
    objective: Objective
    options: TrainingOptions
    folder: Path
    seed: int
    optimizer: torch.optim.Optimizer
    records: list[EpochRecord] = field(default_factory=list)


def train(
    network: nn.Module,
    feed: Feed,
    objective: Objective,
    options: TrainingOptions,
    *,
    folder: Path,
    evaluate: Evaluate,
    seed: int,
    progress: Progress | None = None,
) -> Outcome:
    """Train a network in place; go on from the folder's checkpoint where there is one.

    Args:
        network: on its device, with its initial weights; it is turned to channels_last.
        feed: batches on the same device.
        objective: from logits and batch to the loss.
        options: all else that decides the weights.
        folder: gets ``metrics.jsonl`` and ``checkpoint.safetensors``; the caller removes the latter when done.
        evaluate: the test accuracy in percent of the network, which is in eval mode meanwhile.
        seed: seeds torch's global generators at each epoch, for dropout and the like.
        progress: called with each finished epoch's record.

    Raises:
        InputError: an empty feed, or a checkpoint that is damaged or of another training.
    """
    if feed.steps < 1:
        raise InputError(
            f"a training needs at least one batch an epoch; the feed has {feed.steps} (fewer samples than batch?)"
        )
    network.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, options)
    run = _Run(network, feed, objective, options, folder, seed, optimizer)
    _resume(run)
    saved = time.monotonic()
    while len(run.records) < options.epochs:
        record = _epoch(run, evaluate)
        run.records.append(record)
        last = len(run.records) == options.epochs
        if record.loss is not None and (last or time.monotonic() - saved >= options.checkpoint_seconds):
            _save(run)
            saved = time.monotonic()
        _append_metrics(run.folder / METRICS, record)
        if progress is not None:
            progress(record)
        if record.loss is None:
            break
    return _outcome(run.records)


def make_optimizer(network: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """SGD or AdamW over the trainable parameters, with decay on those of two or more dimensions only unless asked."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decayed = [p for p in parameters if options.decay_norm or p.dim() > 1]
    kept = [p for p in parameters if not (options.decay_norm or p.dim() > 1)]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": options.weight_decay}]
    if kept:
        groups.append({"params": kept, "weight_decay": 0.0})
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=options.learning_rate, fused=True)
    nesterov = options.nesterov and options.momentum > 0
    return torch.optim.SGD(groups, lr=options.learning_rate, momentum=options.momentum, nesterov=nesterov, fused=True)


def _epoch(run: _Run, evaluate: Evaluate) -> EpochRecord:
    """Train one epoch and look at the result where it is due."""
    epoch = len(run.records)
    torch.manual_seed(int(draw(run.seed, epoch)))
    run.network.train()
    start = time.perf_counter()
    loss = float(_steps(run, epoch))
    seconds = time.perf_counter() - start
    run.network.eval()
    finite = math.isfinite(loss)
    due = (epoch + 1) % run.options.evaluate_every == 0 or epoch + 1 == run.options.epochs
    return EpochRecord(
        epoch=epoch + 1,
        loss=loss if finite else None,
        learning_rate=_rate(run, epoch, 0),
        train_seconds=seconds,
        test_accuracy=evaluate(run.network) if due and finite else None,
    )


def _steps(run: _Run, epoch: int) -> Tensor:
    """All steps of one epoch; the mean loss, still on the device."""
    network, optimizer, objective = run.network, run.optimizer, run.objective
    device = next(network.parameters()).device.type
    bf16 = run.options.precision == "bf16"
    losses = []
    for step, batch in enumerate(run.feed.epoch(epoch)):
        rate = _rate(run, epoch, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            logits = network(batch.inputs)
        loss = objective(logits, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return torch.stack(losses).mean()


def _rate(run: _Run, epoch: int, step: int) -> float:
    """The learning rate of one step of one epoch."""
    return rate_at(run.options, epoch * run.feed.steps + step, run.options.epochs * run.feed.steps)


def _resume(run: _Run) -> None:
    """Go back to the last checkpoint, and cut the metrics to what it knows."""
    path = run.folder / CHECKPOINT
    if path.exists():
        state = checkpoint.load(path, run.network, run.optimizer)
        if state["training"] != _identity(run):
            raise InputError(
                f"{path} was written with other options or another seed ({state['training']}, now {_identity(run)}); "
                "delete it to train anew, or restore the options"
            )
        run.records = [EpochRecord(**record) for record in state["records"]]
    lines = "".join(_line(record) for record in run.records)
    write_atomically(run.folder / METRICS, lines.encode())


def _save(run: _Run) -> None:
    """Write the checkpoint of the last finished epoch."""
    state = {"training": _identity(run), "records": [asdict(record) for record in run.records]}
    checkpoint.save(run.folder / CHECKPOINT, run.network, run.optimizer, state)


def _identity(run: _Run) -> dict[str, Any]:
    """The options that decide the weights; how often to look and to save does not."""
    options = run.options.model_dump(mode="json", exclude={"evaluate_every", "checkpoint_seconds"})
    return {**options, "seed": run.seed, "steps": run.feed.steps}


def _append_metrics(path: Path, record: EpochRecord) -> None:
    """Add a line for one epoch."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(record))


def _line(record: EpochRecord) -> str:
    """An epoch as one JSON line."""
    return json.dumps(asdict(record), allow_nan=False) + "\n"


def _outcome(records: list[EpochRecord]) -> Outcome:
    """What the records of all epochs amount to."""
    last = records[-1]
    measured = [record.test_accuracy for record in records if record.test_accuracy is not None]
    return Outcome(
        test_accuracy=last.test_accuracy,
        best_test_accuracy=max(measured, default=None),
        train_seconds=math.fsum(record.train_seconds for record in records),
        epochs=len(records),
        status="diverged" if last.loss is None else "done",
        loss=last.loss,
    )
