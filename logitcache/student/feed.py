"""What a training loop is fed: views of a split, their labels, and where there is one, a source of soft targets.

A batch is made in two halves, ``rendered`` (the inputs) and ``batch`` (labels and targets for them), so that students
which see equal inputs (``inputs_key``) share one rendering, and where all is equal (``batch_key``) the batch itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from logitcache.errors import InputError
from logitcache.records import sha256
from logitcache.soft_targets import FeatureTargets, SoftTargets, epoch_rows, epoch_view
from logitcache.soft_targets.order import windowed_rows
from logitcache.soft_targets.residency import Coming
from logitcache.student.batches import HIDDEN, Batch
from logitcache.views import Rendered, Renderer

__all__ = ["FeedOptions", "OnlineTeacher", "Shown", "ViewFeed"]

OnlineTeacher = Callable[[Tensor], Tensor]
"""Inputs (B, C, H, W) to logits (B, classes): the obvious way, for comparison."""


@dataclass(frozen=True)
class FeedOptions:
    """Batches of one run.

    Attributes:
        batch: rows of a global batch.
        seed: the key of the order.
        views: how many augmented views are walked; 0 for the clean one.
        rank: which part of each global batch this feed gives.
        world: into how many nearly equal contiguous parts each is cut.
    """

    batch: int
    seed: int
    views: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise InputError(f"a batch of {self.batch} rows; it must have at least 1")
        if not 0 <= self.rank < self.world:
            raise InputError(f"rank {self.rank} of {self.world}; ranks go from 0 to world - 1")

    def part(self, rows: int) -> slice:
        """Which of a global batch's rows are this rank's: the first ``rows % world`` ranks have one more."""
        size, more = divmod(rows, self.world)
        first = self.rank * size + min(self.rank, more)
        return slice(first, first + size + (self.rank < more))


@dataclass(frozen=True)
class Shown(Rendered):
    """Rendered inputs of a batch, or of a rank's part of it.

    Attributes:
        share: the factor of its mean (:class:`Batch`).
        batch: the rows of the global batch that it is a part of, int64 on the host; None where it is all of it.
    """

    share: float = 1.0
    batch: Tensor | None = None


class ViewFeed:
    """Batches of views of some rows of a split, in keyed order, with cached or online soft targets.

    All samples of an epoch show the same view index, so that one decoded view is in use at a time.

    Args:
        renderer: the views.
        rows: positions in the split, int64; None for all of them.
        options: batch, order, views, and the part of each batch in data-parallel training.
        soft: cached logits.
        online: a teacher that is run on the inputs, instead of ``soft``.
        labels: int64 (samples of the split,), instead of the split's own.
        features: cached penultimate features.
        members: give the logits of each of ``soft``'s teachers apart, too.
        labelled: positions in the split, int64, of the samples whose labels are shown; None for all of them.
        clean: give soft targets and features of the clean view, whatever view is shown.
    """

    def __init__(
        self,
        renderer: Renderer,
        rows: Tensor | None,
        options: FeedOptions,
        *,
        soft: SoftTargets | None = None,
        online: OnlineTeacher | None = None,
        labels: Tensor | None = None,
        features: FeatureTargets | None = None,
        members: bool = False,
        labelled: Tensor | None = None,
        clean: bool = False,
    ) -> None:
        given = renderer.split.labels if labels is None else labels
        if given.shape != renderer.split.labels.shape:
            raise InputError(f"{len(given)} labels for {len(renderer.split)} samples; give one a sample")
        if members and soft is None:
            raise InputError("members asked of a feed without soft targets; give it soft")
        self._renderer, self._options, self._rows = renderer, options, rows
        self._soft, self._online, self._features, self._members = soft, online, features, members
        self._clean = clean
        self._shows = None if labelled is None else torch.zeros(len(given), dtype=torch.bool)
        if self._shows is not None:
            self._shows[labelled] = True
            given = given.cpu().where(self._shows, torch.tensor(HIDDEN))
        self._labels = given.to(renderer.device)
        own = labels is None and labelled is None
        self._label_key = None if own else sha256(given.cpu().numpy().tobytes())
        self.samples = len(renderer.split) if rows is None else len(rows)
        self.steps = math.ceil(self.samples / options.batch)

    @property
    def inputs_key(self) -> Hashable:
        """Feeds with equal keys show the same rows in the same order, part by part."""
        rows = self._window if self._rows is None else sha256(self._rows.cpu().numpy().tobytes())
        return self._renderer, rows, self._options

    @property
    def batch_key(self) -> Hashable:
        """Feeds with equal keys give equal batches."""
        targets = self._soft, self._online, self._features, self._members, self._clean
        return self.inputs_key, self._label_key, *targets

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from step ``start`` on, a function of both."""
        self.prefetch(epoch, start)
        for shown in self.rendered(epoch, start):
            yield self.batch(shown, epoch)

    def prefetch(self, epoch: int, start: int = 0) -> None:
        """Start to decode what an epoch from step ``start`` on and the one after it need, and to fetch it to a stage.

        :meth:`epoch` does so itself.
        """
        for targets in (self._soft, self._features):
            if targets is not None:
                targets.prefetch(self._target_view(epoch))  # the next one must not displace it
                targets.prefetch(self._target_view(epoch + 1))
                if targets.staged:
                    targets.fetch_ahead([self._coming(epoch, start, targets), self._coming(epoch + 1, 0, targets)])

    def rendered(self, epoch: int, start: int = 0) -> Iterator[Shown]:
        """The inputs of an epoch from step ``start`` on; what is before is not rendered."""
        if not 0 <= start <= self.steps:
            raise InputError(f"step {start} of an epoch of {self.steps} steps")
        view, order, batch = self._view(epoch), self._order(epoch), self._options.batch
        jobs, shares = self._jobs(order, start)
        part = self._options.part(batch)
        stream = self._renderer.stream([(rows, view) for rows in jobs], max(1, part.stop - part.start))
        for step, (rendered, share) in enumerate(zip(stream, shares, strict=True), start):
            parts = {field.name: getattr(rendered, field.name) for field in fields(rendered)}
            yield Shown(**parts, share=share, batch=order[step * batch : (step + 1) * batch])

    def batch(self, shown: Rendered, epoch: int) -> Batch:
        """Labels and soft targets for rendered inputs of an epoch."""
        rows, device, view = shown.rows, self._renderer.device, self._target_view(epoch)
        teacher, members = self._logits(shown, view)
        return Batch(
            inputs=shown.inputs,
            labels=self._labels[rows.to(device)],
            teacher=teacher,
            partner_labels=None if shown.partner is None else self._labels[shown.partner.to(device)],
            weight=shown.weight,
            features=None if self._features is None else self._features.gather(rows, view),
            members=members,
            share=shown.share if isinstance(shown, Shown) else 1.0,
            whole=self._soft is None or self._soft.whole,
            labelled=None if self._shows is None else self._labelled(shown, self._shows),
        )

    def _logits(self, shown: Rendered, view: int) -> tuple[Tensor | None, Tensor | None]:
        """The teacher's logits, and those of each member where they are wanted."""
        if self._online is not None:
            return self._online(shown.inputs), None
        if self._soft is None:
            return None, None
        if not self._members:
            return self._soft.gather(shown.rows, view), None
        members = self._soft.gather_members(shown.rows, view)
        return self._soft.combine(members), members

    def _labelled(self, shown: Rendered, shows: Tensor) -> float:
        """What the sum of this part's cross-entropy is divided by (:class:`Batch`)."""
        if not isinstance(shown, Shown) or shown.batch is None:
            return float(shows[shown.rows].sum())
        return float(shows[shown.batch].sum()) * shown.share / self._options.world

    def _jobs(self, order: Tensor, start: int) -> tuple[list[Tensor], list[float]]:
        """This rank's rows from a step on, whole batches before the last partial one, and each step's share."""
        batch, part = self._options.batch, self._options.part
        if self._options.world == 1:
            return [order[start * batch :]], [1.0] * (self.steps - start)
        whole = self.samples // batch
        last = order[whole * batch :]
        jobs, shares = [], []
        for rows, steps in ((order[start * batch : whole * batch], whole - start), (last, int(len(last) > 0))):
            if steps > 0:
                size = len(rows) // steps
                mine = part(size)
                count = mine.stop - mine.start
                # where a part is empty, one row that does not count keeps the ranks in step
                shown = mine if count else slice(0, 1)
                jobs.append(rows.view(steps, size)[:, shown].flatten())
                shares += [count * self._options.world / size] * steps
        return jobs, shares

    def _view(self, epoch: int) -> int:
        """The view that all samples show in an epoch."""
        return epoch_view(epoch, self._options.views)

    def _coming(self, epoch: int, start: int, targets: SoftTargets | FeatureTargets) -> Coming:
        """The view of an epoch's targets, and where it is read in windows the rows from a step on, in order."""
        rows = None if targets.window is None else self._order(epoch)[start * self._options.batch :]
        return self._target_view(epoch), rows

    def _target_view(self, epoch: int) -> int:
        """The view whose cached targets they are given."""
        return 0 if self._clean else self._view(epoch)

    @property
    def _window(self) -> tuple[int, int] | None:
        """The tightest of the windows in which soft targets are read; None where all fit in memory."""
        given = [each.window for each in (self._soft, self._features) if each is not None]
        windows = [window for window in given if window is not None]
        return min(windows, key=math.prod, default=None)

    def _order(self, epoch: int) -> Tensor:
        """The rows of an epoch in order."""
        seed, window = self._options.seed, self._window
        if self._rows is not None:
            return self._rows[epoch_rows(len(self._rows), seed, epoch)]
        if window is not None:
            return windowed_rows(self.samples, *window, seed, epoch)
        return epoch_rows(self.samples, seed, epoch)
