"""Seconds per student epoch with hard labels, with cached soft targets, and with the teacher run in every step."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from logitcache.models import ModelName, build_model
from logitcache.records import Options
from logitcache.soft_targets import SoftTargets
from logitcache.student.feed import FeedOptions, ViewFeed
from logitcache.student.objectives import ObjectiveOptions, objective
from logitcache.student.training import TrainingOptions, train
from logitcache.views import Renderer

__all__ = ["TimingOptions", "measure_epochs", "time_epochs"]


class TimingOptions(Options):
    """The comparison of a student's epoch with hard labels, cached soft targets and an online teacher."""

    model: ModelName = Field(description="the student")
    training: TrainingOptions = Field(description="its training; one epoch of it is timed")
    rounds: int = Field(3, ge=1, le=100, description="epochs of each kind, taken in turn; the median counts")
    tau: float = Field(4.0, gt=0, description="temperature of the KL that is trained on")

    @property
    def timed_epochs(self) -> int:
        """Epochs in all: three kinds, and a round that warms up."""
        return 3 * (self.rounds + 1)


def time_epochs(
    options: TimingOptions,
    renderer: Renderer,
    soft: SoftTargets,
    online: Callable[[Tensor], Tensor],
    views: int,
    *,
    progress: Callable[[], None] | None = None,
) -> dict[str, float]:
    """Median seconds of one epoch by source of targets; arguments as in :func:`measure_epochs`."""
    seconds = measure_epochs(options, renderer, soft, online, views, progress=progress)
    return {kind: statistics.median(values) for kind, values in seconds.items()}


def measure_epochs(
    options: TimingOptions,
    renderer: Renderer,
    soft: SoftTargets,
    online: Callable[[Tensor], Tensor],
    views: int,
    *,
    progress: Callable[[], None] | None = None,
) -> dict[str, list[float]]:
    """Seconds of each epoch by source of targets; kinds take turns, so that a busy machine treats all alike.

    Args:
        options: student, training, rounds.
        renderer: views of the train split.
        soft: its cached soft targets.
        online: the teacher's forward pass.
        views: augmented views that are walked.
        progress: called after each epoch, :attr:`TimingOptions.timed_epochs` times.
    """
    ce, kl = ObjectiveOptions(loss="ce"), ObjectiveOptions(loss="kl", tau=options.tau)
    feed = FeedOptions(options.training.batch, 0, views)
    kinds = {
        "hard labels": (ce, ViewFeed(renderer, None, feed)),
        "cached soft targets": (kl, ViewFeed(renderer, None, feed, soft=soft)),
        "online teacher": (kl, ViewFeed(renderer, None, feed, online=online)),
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    training = options.training.model_copy(update={"epochs": 1, "evaluate_every": 1})
    for turn in range(options.rounds + 1):
        for kind, (objective_options, source) in kinds.items():
            elapsed = _time_one(options.model, renderer, source, objective_options, training)
            if turn:  # the first round warms caches up
                seconds[kind].append(elapsed)
            if progress is not None:
                progress()
    return seconds


def _time_one(
    model: str, renderer: Renderer, source: ViewFeed, objective_options: ObjectiveOptions, training: TrainingOptions
) -> float:
    """Seconds of one epoch of the product's own training loop."""
    split = renderer.split
    torch.manual_seed(0)
    network = build_model(model, len(split.classes), split.shape).to(renderer.device)
    with tempfile.TemporaryDirectory() as folder:
        outcome = train(
            network,
            source,
            objective(objective_options),
            training,
            folder=Path(folder),
            evaluate=lambda _: 0.0,
            seed=0,
            progress=None,
        )
    return outcome.train_seconds
