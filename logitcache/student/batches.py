"""What a training step reads: a batch of tensors, and the feed that supplies them epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

__all__ = ["Batch", "Feed"]


@dataclass(frozen=True)
class Batch:
    """One training step's tensors, all on the network's device.

    Attributes:
        inputs: float32 ``(B, C, H, W)``, normalised.
        labels: int64 ``(B,)``.
        teacher: float32 logits ``(B, K)`` of the soft targets, or None for hard labels.
        partner_labels: int64 ``(B,)``, the labels of the samples mixed in by mixup or CutMix, or None.
        weight: float32 ``(B,)``, the share of each sample's own label when mixed, or None.
    """

    inputs: Tensor
    labels: Tensor
    teacher: Tensor | None = None
    partner_labels: Tensor | None = None
    weight: Tensor | None = None


class Feed(Protocol):
    """A source of batches whose epochs are pure functions of the epoch's number, so that any can be replayed."""

    @property
    def steps(self) -> int:
        """Batches in one epoch."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch (counted from 0), the same on every call."""
