"""Snapshots: teachers that are another one at an epoch of its training, taken while that one is taught.

A snapshot is written when its epoch ends and before the training's checkpoint knows of it, so that a training that was
interrupted anywhere comes by that epoch again or has its snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import nn

from logitcache.errors import InputError
from logitcache.models import Network
from logitcache.pipeline.context import RunContext
from logitcache.pipeline.lessons import advice
from logitcache.pipeline.schema import TeacherRecipe
from logitcache.student import checkpoint as training_checkpoint
from logitcache.teacher import read_checkpoint_metadata, save_checkpoint

__all__ = ["Album", "Shot", "album", "is_taken"]


@dataclass(frozen=True)
class Shot:
    """A snapshot that is to be taken: after how many epochs, of what network, into which file."""

    epoch: int
    model: str
    path: Path


@dataclass(frozen=True)
class Album:
    """The snapshots of one training that are still to be taken, and how."""

    shots: Sequence[Shot]
    inputs: str
    """The fingerprint of the training."""
    accuracy: Callable[[nn.Module], float]
    """The test accuracy in percent of a network."""

    @property
    def last(self) -> int:
        """The epoch after which all are taken; 0 where there are none."""
        return max((shot.epoch for shot in self.shots), default=0)

    def take(self, epochs: int, network: nn.Module) -> None:
        """Write the snapshots that are due after so many epochs."""
        for shot in self.shots:
            if shot.epoch == epochs:
                accuracy = f"{self.accuracy(network):.2f}"
                metadata = {"teach": self.inputs, "epoch": str(epochs), "test_accuracy": accuracy}
                save_checkpoint(shot.path, cast("Network", network), shot.model, metadata)

    def turn_back(self, checkpoint: Path) -> None:
        """Remove a training's checkpoint from which some snapshot is no longer to be had: it begins anew.

        Raises:
            InputError: the checkpoint is damaged, or of another version.
        """
        if not self.shots or not checkpoint.exists():
            return
        _, state = training_checkpoint.load(checkpoint)
        if state["epoch"] >= min(shot.epoch for shot in self.shots):
            checkpoint.unlink()


def album(context: RunContext, source: TeacherRecipe, inputs: str, accuracy: Callable[[nn.Module], float]) -> Album:
    """The recipe's snapshots of a teacher that are neither on disk nor wholly cached.

    Args:
        context: the run.
        source: the teacher that is taught.
        inputs: the fingerprint of its training.
        accuracy: the test accuracy in percent of a network.

    Raises:
        InputError: a snapshot is there, and of another training.
    """
    shots = []
    for teacher in context.recipe.teachers:
        snapshot, path = teacher.snapshot, context.checkpoint(teacher)
        if snapshot is None or snapshot.of != source.name or path is None or is_taken(context, teacher, inputs):
            continue
        committed, total = context.cached(teacher)
        if committed < total:
            shots.append(Shot(snapshot.epoch, teacher.model, path))
    return Album(shots, inputs, accuracy)


def is_taken(context: RunContext, teacher: TeacherRecipe, inputs: str) -> bool:
    """Whether a teacher that is a snapshot is there, and from the training of this fingerprint.

    Raises:
        InputError: it is there, but of another training or epoch.
    """
    snapshot, path = teacher.snapshot, context.checkpoint(teacher)
    if snapshot is None or path is None or not path.exists():
        return False
    metadata = read_checkpoint_metadata(path)
    found, wanted = [metadata.get("teach"), metadata.get("epoch")], [inputs, str(snapshot.epoch)]
    if found != wanted:
        raise InputError(
            f"{path} is of another training or epoch (fingerprint {found[0]}, epoch {found[1]}; this recipe has "
            f"{inputs}, epoch {snapshot.epoch}); {advice(context, teacher)}"
        )
    return True
