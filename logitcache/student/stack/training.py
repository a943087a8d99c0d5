"""Many students at once: whether they can be, how, and their training.

There are two ways, equal within rounding: :class:`StackedLearner` runs each layer once for all members, and
:class:`LoopLearner` steps them one after another (on a GPU in streams) on shared batches. Which one is faster
depends on device and network, so it is measured where the training runs.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from logitcache.errors import InputError
from logitcache.files import write_text
from logitcache.student.batches import Batch
from logitcache.student.feed import ViewFeed
from logitcache.student.learner import ObjectiveFunction
from logitcache.student.loop import Evaluate, GroupFeed, Member, Progress
from logitcache.student.options import TrainingOptions
from logitcache.student.records import Outcome
from logitcache.student.stack.feed import StackFeed
from logitcache.student.stack.looping import LoopLearner
from logitcache.student.stack.stackable import check_stack
from logitcache.student.stack.stacking import StackedLearner
from logitcache.student.training import run_training

__all__ = ["Way", "choose_way", "train_stack"]

Way = Literal["stacked", "loop"]

_LEARNERS: dict[Way, type[StackedLearner | LoopLearner]] = {"stacked": StackedLearner, "loop": LoopLearner}
_WARM_UP, _ROUNDS, _STEPS = 3, 3, 4


def train_stack(
    networks: Sequence[nn.Module],
    feeds: Sequence[ViewFeed],
    objectives: Sequence[ObjectiveFunction],
    members: Sequence[Member],
    *,
    checkpoint: Path,
    evaluate: Evaluate | Sequence[Evaluate],
    progress: Progress | None = None,
    way: Way | Literal["auto"] = "auto",
) -> list[Outcome]:
    """Train several networks in place in one loop; go on from the checkpoint where there is one.

    Args:
        networks: on one device, with their initial weights. With ``ema`` they end as their averages.
        feeds: one a network; what they have in common is read and rendered once a step.
        objectives: one a network.
        members: one a network; their folders get their ``metrics.jsonl``.
        checkpoint: the file of the whole stack, which the caller removes when done; beside it lies a note of the
            way in which the stack is trained (suffix ``.way``), so that it goes on in the same bits.
        evaluate: the test accuracy in percent of a network in eval mode, alone or with more (``Measured``); one for
            all, or one a member.
        progress: called with a member's number and its record after each epoch.
        way: "auto" measures the two at the beginning and takes the faster one.

    Returns:
        One outcome a member.

    Raises:
        InputError: the networks do not stack (:func:`can_stack`), the feeds differ in length, or the checkpoint is
            damaged or of another training.
    """
    options = [member.options for member in members]
    check_stack(networks, objectives, options)
    feed = StackFeed(feeds)
    taken = _noted_way(checkpoint, networks, objectives, options, feed) if way == "auto" else way
    learner = _LEARNERS[taken](networks, objectives, options)
    outcomes = run_training(learner, feed, members, checkpoint=checkpoint, evaluate=evaluate, progress=progress)
    for network, final in zip(networks, learner.networks(), strict=True):
        if final is not network:
            network.load_state_dict(final.state_dict())
    return outcomes


def choose_way(
    networks: Sequence[nn.Module],
    objectives: Sequence[ObjectiveFunction],
    options: Sequence[TrainingOptions],
    batches: Sequence[Batch],
) -> Way:
    """The faster way to train a stack, from a few steps of both on copies: nothing that is given changes.

    Networks that ``torch.func.vmap`` cannot run are trained in a loop.

    Args:
        networks: the members.
        objectives: one a network.
        options: one a network.
        batches: one a network, of the usual size.

    Raises:
        InputError: the networks draw random numbers while they train.
    """
    learners: dict[Way, StackedLearner | LoopLearner] = {
        way: learner(*copy.deepcopy((list(networks), list(objectives))), options) for way, learner in _LEARNERS.items()
    }
    try:
        _seconds(learners["stacked"], batches, _WARM_UP)
    except RuntimeError as error:
        if "random" in str(error):
            raise InputError(
                f"these networks do not stack: they draw random numbers ({error}); train them one by one"
            ) from error
        return "loop"
    _seconds(learners["loop"], batches, _WARM_UP)
    best: dict[Way, float] = dict.fromkeys(learners, float("inf"))
    for _ in range(_ROUNDS):  # by turns, since other work comes and goes
        for way, learner in learners.items():
            best[way] = min(best[way], _seconds(learner, batches, _STEPS))
    return min(best, key=lambda way: best[way])


def _noted_way(
    checkpoint: Path,
    networks: Sequence[nn.Module],
    objectives: Sequence[ObjectiveFunction],
    options: Sequence[TrainingOptions],
    feed: GroupFeed,
) -> Way:
    """The way in which a stack was begun; where it was not, it is chosen and noted."""
    note = checkpoint.with_suffix(".way")
    if note.exists():
        text = note.read_text(encoding="utf-8").strip()
        for way in _LEARNERS:
            if text == way:
                return way
        raise InputError(f"{note} says {text!r}, which is none of {', '.join(_LEARNERS)}; delete it")
    batches = next(iter(feed.epoch(0)), None)
    if batches is None:
        raise InputError("a training needs at least one batch an epoch, and the feeds have none; give them samples")
    chosen = choose_way(networks, objectives, options, batches)
    write_text(note, chosen + "\n")
    return chosen


def _seconds(learner: StackedLearner | LoopLearner, batches: Sequence[Batch], steps: int) -> float:
    """How long some steps take, the device's work included."""
    _wait(learner.device)
    start = time.perf_counter()
    for _ in range(steps):
        learner.step(batches, 0.0)
    _wait(learner.device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    """Return when a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
