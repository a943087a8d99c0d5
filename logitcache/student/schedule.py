"""The learning rate as a pure function of the step: nothing is remembered, so nothing need be restored.

Every schedule starts with an optional linear warm-up. ``one_cycle`` rises along a cosine to the peak rate
and falls along a cosine to almost nothing (Smith and Topin 2018; the constants are those of PyTorch's
``OneCycleLR``: start at a 25th of the peak, end at a 10 000th of the start).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator

from logitcache.records import Options

__all__ = ["ScheduleOptions", "rate_at"]

_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = _ONE_CYCLE_START / 10_000


class ScheduleOptions(Options):
    """A peak learning rate and the way it changes from the first step to the last."""

    learning_rate: float = Field(default=0.05, gt=0, description="the peak learning rate")
    schedule: Literal["multistep", "cosine", "one_cycle", "constant"] = Field(
        default="cosine", description="how the learning rate changes over the steps"
    )
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(0.5, 0.75),
        description="multistep: fractions of all steps, ascending, at which the rate is multiplied by gamma",
    )
    gamma: float = Field(default=0.1, gt=0, le=1, description="multistep: the factor at each milestone")
    warmup: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="fraction of all steps over which the rate rises (unset: 0.3 for one_cycle, else 0)",
    )

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        """Refuse milestones out of order."""
        if list(milestones) != sorted(set(milestones)):
            raise ValueError("milestones must ascend, for example [0.5, 0.75]")
        return milestones

    @property
    def warmup_fraction(self) -> float:
        """The fraction of all steps over which the rate rises."""
        if self.warmup is not None:
            return self.warmup
        return 0.3 if self.schedule == "one_cycle" else 0.0


def rate_at(options: ScheduleOptions, step: int, steps: int) -> float:
    """The learning rate of one step.

    Args:
        options: peak rate and schedule.
        step: from 0 to ``steps - 1``.
        steps: all steps of the training.
    """
    if options.schedule == "one_cycle":
        return options.learning_rate * _one_cycle(step, steps, options.warmup_fraction)
    warmup = options.warmup_fraction * steps
    if step + 1 < warmup:
        return options.learning_rate * (step + 1) / warmup
    if options.schedule == "multistep":
        passed = sum(step >= round(milestone * steps) for milestone in options.milestones)
        return options.learning_rate * options.gamma**passed
    if options.schedule == "cosine":
        return options.learning_rate * _cosine(1.0, 0.0, (step - warmup) / max(steps - warmup, 1.0))
    return options.learning_rate


def _one_cycle(step: int, steps: int, warmup: float) -> float:
    """The factor of the peak rate, which comes one step before the warm-up's end, as in PyTorch's ``OneCycleLR``."""
    peak = warmup * steps - 1
    if step < peak:
        return _cosine(_ONE_CYCLE_START, 1.0, step / peak)
    return _cosine(1.0, _ONE_CYCLE_END, (step - peak) / (steps - 1 - peak))


def _cosine(start: float, end: float, fraction: float) -> float:
    """From ``start`` to ``end`` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * min(max(fraction, 0.0), 1.0))) / 2
