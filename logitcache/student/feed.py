"""What a training loop is fed: views of a split, their labels, and where there is one, a source of teacher logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from logitcache.soft_targets import SoftTargets, epoch_rows, epoch_view
from logitcache.student.batches import Batch
from logitcache.views import Rendered, Renderer

__all__ = ["FeedOptions", "OnlineTeacher", "ViewFeed"]

OnlineTeacher = Callable[[Tensor], Tensor]
"""Inputs (B, C, H, W) to logits (B, classes): the obvious way, for comparison."""


@dataclass(frozen=True)
class FeedOptions:
    """Batches of one run: their size, the key of their order, and how many augmented views are walked (0: clean)."""

    batch: int
    seed: int
    views: int


class ViewFeed:
    """Batches of views of some rows of a split, in keyed order, with cached or online teacher logits.

    All samples of an epoch show the same view index, so that one decoded view is in use at a time.
    """

    def __init__(
        self,
        renderer: Renderer,
        rows: Tensor | None,
        options: FeedOptions,
        *,
        soft: SoftTargets | None = None,
        online: OnlineTeacher | None = None,
    ) -> None:
        self._renderer, self._options = renderer, options
        self._rows, self._soft, self._online = rows, soft, online
        self._labels = renderer.split.labels.to(renderer.device)
        self.samples = len(renderer.split) if rows is None else len(rows)
        self.steps = math.ceil(self.samples / options.batch)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, a function of its number."""
        view = epoch_view(epoch, self._options.views)
        if self._soft is not None:
            self._soft.prefetch(view)  # the next one must not displace it
            self._soft.prefetch(epoch_view(epoch + 1, self._options.views))
        for rendered in self._renderer.stream([(self._order(epoch), view)], self._options.batch):
            yield self._batch(rendered, view)

    def _order(self, epoch: int) -> Tensor:
        """The rows of an epoch in order."""
        if self._rows is not None:
            return self._rows[epoch_rows(len(self._rows), self._options.seed, epoch)]
        if self._soft is not None:
            return self._soft.order(self._options.seed, epoch)
        return epoch_rows(self.samples, self._options.seed, epoch)

    def _batch(self, rendered: Rendered, view: int) -> Batch:
        """Inputs with their labels and teacher logits."""
        rows, device = rendered.rows, self._renderer.device
        teacher = None if self._soft is None else self._soft.gather(rows, view)
        if self._online is not None:
            teacher = self._online(rendered.inputs)
        partner = None if rendered.partner is None else self._labels[rendered.partner.to(device)]
        return Batch(rendered.inputs, self._labels[rows.to(device)], teacher, partner, rendered.weight)
