"""What passes between feed, student and objective: batches, a student's outputs, and the feed that supplies batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

__all__ = ["HIDDEN", "Batch", "Feed", "Outputs"]

HIDDEN = -100
"""The label of a sample whose label is not shown; torch's cross-entropy leaves such rows out."""


@dataclass(frozen=True)
class Batch:
    """One training step's tensors, all on the network's device.

    Attributes:
        inputs: float32 ``(B, C, H, W)``, normalised.
        labels: int64 ``(B,)``; :data:`HIDDEN` where a sample's label is not shown.
        teacher: float32 logits ``(B, K)`` of the soft targets, or None where no objective reads them.
        partner_labels: int64 ``(B,)``, the labels of the samples mixed in by mixup or CutMix, or None.
        weight: float32 ``(B,)``, the share of each sample's own label when mixed, or None.
        features: float32 ``(B, F)``, the teacher's penultimate features, or None.
        members: float32 ``(M, B, K)``, the logits of each teacher of an ensemble, or None.
        share: rows of this part times the parts over the rows of the global batch: the factor that makes the mean of
            all parts' mean losses the mean over the global batch. 1 where a batch is not cut; 0 for the one row that
            stands in for an empty part.
        whole: whether the soft targets have every logit; those of a ``topk`` store have the largest only.
        labelled: where labels are hidden, what the sum of the cross-entropy is divided by: the labelled rows of the
            global batch times this part's share of its rows, so that all parts' means make the mean over these rows;
            0 where there is none. None where every label is shown.
    """

    inputs: Tensor
    labels: Tensor
    teacher: Tensor | None = None
    partner_labels: Tensor | None = None
    weight: Tensor | None = None
    features: Tensor | None = None
    members: Tensor | None = None
    share: float = 1.0
    whole: bool = True
    labelled: float | None = None


@dataclass(frozen=True)
class Outputs:
    """What a student says of a batch.

    Attributes:
        logits: ``(B, K)``.
        features: penultimate features ``(B, F)``, only where the objective needs them.
    """

    logits: Tensor
    features: Tensor | None = None


class Feed(Protocol):
    """A source of batches whose epochs are pure functions of the epoch's number, so that any can be replayed."""

    @property
    def steps(self) -> int:
        """Batches in one epoch."""

    @property
    def samples(self) -> int:
        """Samples in one epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch (counted from 0) from step ``start`` on, the same on every call."""
