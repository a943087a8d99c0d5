"""A training in progress: its steps, the end of its epochs, its checkpoints.

A step is replayable: its batches, its learning rates and torch's random numbers are functions of the seed, the
epoch's and the step's number. So a training that was interrupted anywhere goes on from its last checkpoint, which
may lie between any two steps, to bit-identical weights. Nothing waits for the device within a step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from logitcache.errors import InputError
from logitcache.files import sweep_aside
from logitcache.keyed import draw
from logitcache.student import checkpoint as files
from logitcache.student.batches import Batch
from logitcache.student.learner import Learner
from logitcache.student.options import TrainingOptions
from logitcache.student.records import METRICS, EpochRecord, Measured, add_metrics, write_metrics
from logitcache.student.schedule import rate_at
from logitcache.student.world import World

__all__ = ["Evaluate", "GroupFeed", "Loop", "Member", "Progress", "Snapshot"]

Evaluate = Callable[[nn.Module], float | Measured]
"""The test accuracy in percent of a network in eval mode, alone or with what was measured beside it."""

Progress = Callable[[int, EpochRecord], None]
"""Told a member's number and its record after each epoch."""

Snapshot = Callable[[int, int, nn.Module], None]
"""Given a member's number, its epochs done, and its network as it would be saved."""


class GroupFeed(Protocol):
    """The batches of all members of a training, one a member at each step."""

    @property
    def steps(self) -> int:
        """Steps in one epoch."""

    @property
    def samples(self) -> int:
        """Samples that each member sees in one epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Sequence[Batch]]:
        """The batches of an epoch from step ``start`` on, the same on every call."""


@dataclass(frozen=True)
class Member:
    """One student of a training: its options, its seed, and the folder that gets its ``metrics.jsonl``."""

    options: TrainingOptions
    seed: int
    folder: Path


@dataclass
class Loop:
    """All members of a learner, ``step`` steps into ``epoch``; the arguments are those of ``run_training``."""

    learner: Learner
    feed: GroupFeed
    members: Sequence[Member]
    checkpoint: Path
    evaluate: Sequence[Evaluate]
    """One a member."""
    progress: Progress | None
    snapshot: Snapshot | None
    world: World
    records: list[list[EpochRecord]] = field(init=False)
    losses: Tensor = field(init=False)
    """Sums over the epoch's steps, float64 (members,) on the device."""
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    """Of the epoch's steps, up to ``counted``."""
    counted: float = field(init=False)
    saved: float = field(init=False)

    def __post_init__(self) -> None:
        self.records = [[] for _ in self.members]
        self.losses = torch.zeros(len(self.members), dtype=torch.float64, device=self.learner.device)
        self.counted, self.saved = time.perf_counter(), time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether all epochs are done, or all members diverged."""
        return self.epoch == self.members[0].options.epochs or not any(map(_goes_on, self.records))

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self.world.leads and time.monotonic() - self.saved >= self.members[0].options.checkpoint_seconds

    def train_epoch(self) -> None:
        """The steps of the epoch that are left."""
        learner, steps = self.learner, self.feed.steps
        keys = draw(self.members[0].seed, self.epoch, torch.arange(steps), self.world.rank).tolist()
        rates = list(zip(*(_rates(member.options, self.epoch, steps) for member in self.members), strict=True))
        self.counted = time.perf_counter()
        for batches in self.feed.epoch(self.epoch, self.step):
            learner.rates(rates[self.step])
            _seed(learner.device, keys[self.step])
            self.losses += learner.step(batches, self.epoch + self.step / steps)
            self.step += 1
            if self.due and self.step < steps:  # after the last step, the epoch is closed first
                self._count_seconds()
                self._save()
                self.counted = time.perf_counter()
        self._count_seconds()

    def close_epoch(self) -> None:
        """Evaluate, record, save where it is due, and tell."""
        open_members = [number for number, records in enumerate(self.records) if _goes_on(records)]
        networks = self.learner.networks() if self.world.leads else ()
        losses = (self.losses / self.feed.steps).tolist()
        for number in open_members:
            self.records[number].append(self._record(number, losses[number], networks))
        self.epoch, self.step, self.seconds = self.epoch + 1, 0, 0.0
        self.losses.zero_()
        if not self.world.leads:
            return
        if self.snapshot is not None:  # before the checkpoint, which would not come back to this epoch
            for number in open_members:
                if _goes_on(self.records[number]):
                    self.snapshot(number, self.epoch, networks[number].eval())
        if self.ended or self.due:
            self._save()
        for number in open_members:
            record = self.records[number][-1]
            add_metrics(self.members[number].folder, record)
            if self.progress is not None:
                self.progress(number, record)

    def resume(self) -> None:
        """Go back to the last checkpoint, and cut the metrics to what it knows."""
        if self.checkpoint.exists():
            self._restore(*files.load(self.checkpoint))
        if self.world.leads:
            sweep_aside(self.checkpoint)
            for member, records in zip(self.members, self.records, strict=True):
                sweep_aside(member.folder / METRICS)
                write_metrics(member.folder, records)

    def _count_seconds(self) -> None:
        """Wait for the device and add what the steps took since they were last counted."""
        self.losses.tolist()
        self.seconds += time.perf_counter() - self.counted

    def _record(self, number: int, loss: float, networks: Sequence[nn.Module]) -> EpochRecord:
        """What is known of a member's epoch; its network is looked at where that is due and there are networks."""
        options, done = self.members[number].options, self.epoch + 1
        finite = math.isfinite(loss)
        due = done % options.evaluate_every == 0 or done == options.epochs
        found = self._measured(number, networks[number]) if networks and due and finite else None
        return EpochRecord(
            epoch=done,
            loss=loss if finite else None,
            learning_rate=_rates(options, self.epoch, self.feed.steps)[0],
            train_seconds=self.seconds,
            test_accuracy=None if found is None else found.test_accuracy,
            samples=self.feed.samples,
            **({} if found is None else asdict(found.train)),
        )

    def _measured(self, number: int, network: nn.Module) -> Measured:
        """What a member's own evaluation says of its network."""
        found = self.evaluate[number](network.eval())
        return found if isinstance(found, Measured) else Measured(found)

    def _save(self) -> None:
        """Write the checkpoint."""
        state = {
            "training": self._identity(),
            "records": [[asdict(record) for record in records] for records in self.records],
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
        }
        files.save(self.checkpoint, {**self.learner.tensors(), "losses": self.losses}, state)
        self.saved = time.monotonic()

    def _restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Take the state of a checkpoint over."""
        if state["training"] != self._identity():
            raise InputError(
                f"{self.checkpoint} was written with other options or another seed ({state['training']}, "
                f"now {self._identity()}); delete it to train anew, or restore the options"
            )
        losses = tensors.pop("losses")
        try:
            self.learner.restore(tensors)
        except InputError as error:
            raise InputError(
                f"{self.checkpoint} is the checkpoint of another network ({error}); delete it or choose another folder"
            ) from error
        self.losses.copy_(losses)
        self.records = [[EpochRecord(**record) for record in records] for records in state["records"]]
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]

    def _identity(self) -> list[dict[str, Any]]:
        """The options that decide the weights; how often to look and to save does not."""
        skipped = {"evaluate_every", "checkpoint_seconds"}
        return [
            {**member.options.record(without=skipped), "seed": member.seed, "steps": self.feed.steps}
            for member in self.members
        ]


def _goes_on(records: Sequence[EpochRecord]) -> bool:
    """Whether a member with these records has not diverged."""
    return not records or records[-1].loss is not None


def _rates(options: TrainingOptions, epoch: int, steps: int) -> list[float]:
    """The learning rates of an epoch's steps."""
    return [rate_at(options, step, options.epochs * steps) for step in range(epoch * steps, (epoch + 1) * steps)]


def _seed(device: torch.device, key: int) -> None:
    """Seed the generators that a step on a device draws from; ``torch.manual_seed`` costs a hundred times as much."""
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(key)
