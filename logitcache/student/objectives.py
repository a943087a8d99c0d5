"""An objective: a loss with its parameters, and the function of logits and batch that it stands for.

``loss = "kl"`` or ``"mse"`` with ``alpha`` is ``(1 - alpha) * CE(labels) + alpha * loss(teacher)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from logitcache.errors import InputError
from logitcache.records import Options
from logitcache.student import losses
from logitcache.student.batches import Batch

__all__ = ["Alpha", "Loss", "Objective", "ObjectiveOptions", "Smoothing", "Tau", "objective"]

Objective = Callable[[Tensor, Batch], Tensor]

Loss = Literal["ce", "kl", "mse"]
Tau = Annotated[float, Field(gt=0, le=1000)]
Alpha = Annotated[float, Field(ge=0, le=1)]
Smoothing = Annotated[float, Field(ge=0, lt=1)]


class ObjectiveOptions(Options):
    """What a student minimises."""

    loss: Literal["ce", "kl", "mse"] = Field(default="ce", description="hard labels, KL at tau, or logit MSE")
    tau: float = Field(default=1.0, gt=0, le=1000, description="kl: the temperature of student and teacher")
    alpha: float = Field(
        default=1.0, ge=0, le=1, description="kl, mse: the share of the distillation loss; CE has the rest"
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="of the cross-entropy with hard labels")

    @property
    def needs_teacher(self) -> bool:
        """Whether batches must carry teacher logits."""
        return self.loss != "ce" and self.alpha > 0

    @property
    def label(self) -> str:
        """A short name for tables, for example ``KL τ=4, α=0.5``."""
        parts = [f"KL τ={self.tau:g}" if self.loss == "kl" else self.loss.upper()]
        if self.loss != "ce" and self.alpha < 1:
            parts.append(f"α={self.alpha:g}")
        if self.label_smoothing and (self.loss == "ce" or self.alpha < 1):
            parts.append(f"smoothing {self.label_smoothing:g}")
        return ", ".join(parts)


def objective(options: ObjectiveOptions) -> Objective:
    """The function of student logits ``(B, K)`` and batch that gives the loss, a float32 scalar."""
    if not options.needs_teacher:
        return lambda logits, batch: _hard(logits, batch, options.label_smoothing)
    if options.alpha == 1:
        return lambda logits, batch: _soft(logits, batch, options)
    return lambda logits, batch: (
        (1 - options.alpha) * _hard(logits, batch, options.label_smoothing)
        + options.alpha * _soft(logits, batch, options)
    )


def _hard(logits: Tensor, batch: Batch, label_smoothing: float) -> Tensor:
    """Cross-entropy with the batch's labels, and with those mixed in where there are any."""
    if batch.partner_labels is None or batch.weight is None:
        return losses.ce(logits, batch.labels, label_smoothing)
    own = losses.ce_rows(logits, batch.labels, label_smoothing)
    partner = losses.ce_rows(logits, batch.partner_labels, label_smoothing)
    return (batch.weight * own + (1 - batch.weight) * partner).mean()


def _soft(logits: Tensor, batch: Batch, options: ObjectiveOptions) -> Tensor:
    """The distillation loss against the batch's teacher logits."""
    if batch.teacher is None:
        raise InputError(
            f"objective {options.label} needs teacher logits, and the batch has none: give the feed a teacher"
        )
    if options.loss == "mse":
        return losses.mse(logits, batch.teacher)
    return losses.kl(logits, batch.teacher, options.tau)
