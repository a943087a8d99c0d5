"""Training: for students of any objective, alone or many at once, and for teachers that a recipe trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from logitcache.errors import InputError
from logitcache.student.batches import Batch, Feed
from logitcache.student.learner import Learner, ObjectiveFunction, SingleLearner
from logitcache.student.loop import Evaluate, GroupFeed, Loop, Member, Progress, Snapshot
from logitcache.student.options import TrainingOptions
from logitcache.student.records import METRICS, EpochRecord, Measured, Outcome, outcome
from logitcache.student.world import ALONE, World

__all__ = [
    "CHECKPOINT",
    "METRICS",
    "EpochRecord",
    "Evaluate",
    "GroupFeed",
    "Measured",
    "Member",
    "Outcome",
    "TrainingOptions",
    "run_training",
    "train",
]

CHECKPOINT = "checkpoint.safetensors"


def train(
    network: nn.Module,
    feed: Feed,
    objective: ObjectiveFunction,
    options: TrainingOptions,
    *,
    folder: Path,
    evaluate: Evaluate,
    seed: int,
    progress: Callable[[EpochRecord], None] | None = None,
    snapshot: Callable[[int, nn.Module], None] | None = None,
) -> Outcome:
    """Train a network in place; go on from the folder's checkpoint where there is one.

    Args:
        network: on its device, with its initial weights; it is turned to channels_last. With ``options.ema`` it
            ends as the average.
        feed: batches on the same device.
        objective: from outputs, batch and epoch to the loss; where it is a module, its parameters are trained too.
        options: all else that decides the weights.
        folder: gets ``metrics.jsonl`` and ``checkpoint.safetensors``; the caller removes the latter when done.
        evaluate: the test accuracy in percent of the network, which is in eval mode meanwhile, alone or with more
            (:class:`Measured`).
        seed: seeds torch's global generators at each step, for dropout and the like.
        progress: called with each finished epoch's record.
        snapshot: called with the epochs done and the network as it would be saved, in eval mode, after each epoch
            and before the checkpoint that has it; after an interruption perhaps twice for an epoch.

    Raises:
        InputError: an empty feed, or a checkpoint that is damaged or of another training.
    """
    learner = SingleLearner(network, objective, options)
    [ended] = run_training(
        learner,
        _Alone(feed),
        [Member(options, seed, folder)],
        checkpoint=folder / CHECKPOINT,
        evaluate=evaluate,
        progress=None if progress is None else lambda _, record: progress(record),
        snapshot=None if snapshot is None else lambda _, done, network: snapshot(done, network),
    )
    [final] = learner.networks()
    if final is not network:
        network.load_state_dict(final.state_dict())
    return ended


def run_training(
    learner: Learner,
    feed: GroupFeed,
    members: Sequence[Member],
    *,
    checkpoint: Path,
    evaluate: Evaluate | Sequence[Evaluate],
    progress: Progress | None = None,
    snapshot: Snapshot | None = None,
    world: World = ALONE,
) -> list[Outcome]:
    """Train all members of a learner to their end; go on from the checkpoint where there is one.

    A member whose loss leaves the finite numbers ends with that epoch as diverged; the others go on.

    Args:
        learner: the networks with their initial weights.
        feed: their batches.
        members: one a network, all of equally many epochs. The first one says how often to save, and its seed is
            that of torch's generators.
        checkpoint: the file of the whole state; the caller removes it when done.
        evaluate: the test accuracy in percent of a network, which is in eval mode meanwhile, alone or with more
            (:class:`Measured`); one for all members, or one a member.
        progress: called with a member's number and its record after each epoch.
        snapshot: called with a member's number, its epochs done and its network, as :func:`train` does.
        world: this process among those that train together; only rank 0 evaluates, writes, and calls ``progress``
            and ``snapshot``.

    Returns:
        One outcome a member; only rank 0's have accuracies.

    Raises:
        InputError: an empty feed, members that differ in epochs, or a checkpoint that is damaged or of another
            training.
    """
    each = evaluate if isinstance(evaluate, Sequence) else (evaluate,) * len(members)
    _check(learner, feed, members, each)
    loop = Loop(learner, feed, members, checkpoint, each, progress, snapshot, world)
    loop.resume()
    world.wait()  # whoever finds nothing left to do may remove the checkpoint: all must have read it
    while not loop.ended:
        loop.train_epoch()
        loop.close_epoch()
    world.wait()  # nobody leaves before everything is written
    return [outcome(records) for records in loop.records]


def _check(learner: Learner, feed: GroupFeed, members: Sequence[Member], evaluate: Sequence[Evaluate]) -> None:
    """Raise InputError where nothing can be trained, or not together."""
    if feed.steps < 1:
        raise InputError(
            f"a training needs at least one batch an epoch; the feed has {feed.steps} (fewer samples than batch?)"
        )
    epochs = [member.options.epochs for member in members]
    if len(members) != learner.members or len(set(epochs)) != 1:
        raise InputError(
            f"{learner.members} networks need as many members, all of equally many epochs; given were members of "
            f"{epochs} epochs; train those that differ apart"
        )
    if len(evaluate) != len(members):
        raise InputError(f"{len(evaluate)} evaluations for {len(members)} members; give one for all, or one a member")


@dataclass(frozen=True)
class _Alone:
    """The feed of one network as that of a group of one."""

    feed: Feed

    @property
    def steps(self) -> int:
        """Steps in one epoch."""
        return self.feed.steps

    @property
    def samples(self) -> int:
        """Samples in one epoch."""
        return self.feed.samples

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Sequence[Batch]]:
        """The batches of an epoch, each as a group of one."""
        return ((batch,) for batch in self.feed.epoch(epoch, start))
