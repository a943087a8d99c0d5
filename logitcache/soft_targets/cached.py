"""What torch's data sets of a store have in common: inputs, labels and the teacher's rows, of chosen samples."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from logitcache.data import Split
from logitcache.errors import InputError
from logitcache.matching import check_split
from logitcache.soft_targets.features import FeatureTargets
from logitcache.soft_targets.order import epoch_view
from logitcache.soft_targets.targets import SoftTargets
from logitcache.views import Renderer, ViewOptions

__all__ = ["CachedRows", "Item"]

Item = tuple[Tensor, ...]
"""Input, label, teacher's logits and, where they were asked for, its features; of one sample or of a batch."""


class CachedRows:
    """Samples of a split as the teacher saw them, by their position among the chosen rows.

    Args:
        split: the samples.
        soft: the teacher's logits of them.
        views: the view policy; without one, every epoch shows the clean view.
        rows: positions in the split, int64 (M,), each once; all of them without.
        labels: int64 (samples of the split,), instead of the split's own.
        features: the teacher's penultimate features of the same samples.

    Raises:
        MismatchError: the soft targets are of other samples, or of another view policy.
        InputError: counts that differ, rows that are not there or come twice.
    """

    def __init__(
        self,
        split: Split,
        soft: SoftTargets,
        views: ViewOptions | None = None,
        *,
        rows: Tensor | None = None,
        labels: Tensor | None = None,
        features: FeatureTargets | None = None,
    ) -> None:
        _check_count(len(split), "the soft targets have", soft.samples)
        if soft.store is not None:
            check_split(soft.store, split, views)
        if features is not None:
            _check_count(len(split), "the features have", features.samples)
        if labels is not None:
            _check_count(len(split), "the labels are", len(labels))
        self.rows = torch.arange(len(split)) if rows is None else _checked_rows(rows, len(split))
        self.labels = split.labels if labels is None else labels
        self._soft, self._features = soft, features
        self._targets = [targets for targets in (soft, features) if targets is not None]
        self._views = views or ViewOptions()
        self._renderer = Renderer(split, self._views)
        self._process = _Process()

    def __len__(self) -> int:
        """How many rows were chosen."""
        return len(self.rows)

    def view(self, epoch: int) -> int:
        """The view of an epoch, among those that are rendered and stored."""
        stored = min(targets.views for targets in self._targets)
        return epoch_view(epoch, min(self._views.count, stored - 1))

    def decode(self, view: int) -> None:
        """Decode a view, or where it does not fit in memory its first block: workers forked afterwards share it.

        Raises:
            MissingError, DamageError: a block of the view is not there or not what was committed.
        """
        for targets in self._targets:
            targets.gather(torch.arange(0), view)

    def fetch_ahead(self, epoch: int, order: Callable[[int], Tensor] | None = None) -> None:
        """Start to bring what an epoch and the next one read to the stage, where the store was opened with one.

        Args:
            epoch: its number.
            order: gives the positions of an epoch in the order in which they are read, where that is known.
        """
        for targets in self._targets:
            if targets.staged:
                known = None if targets.window is None else order
                epochs = (epoch, epoch + 1)
                rows = [None if known is None else self.rows[known(each)] for each in epochs]
                targets.fetch_ahead(list(zip(map(self.view, epochs), rows, strict=True)))

    def order(self, seed: int, epoch: int) -> Tensor:
        """Positions of all chosen rows in the order of an epoch, cheap to read in; a function of (seed, epoch)."""
        windowed = [targets for targets in self._targets if targets.window is not None]
        tightest = min(windowed, key=lambda targets: math.prod(targets.window or ()), default=self._soft)
        order = tightest.order(seed, epoch)
        position = torch.full((len(self.labels),), -1)
        position[self.rows] = torch.arange(len(self.rows))
        found = position[order]
        return found[found >= 0]

    def batches(self, positions: Tensor, view: int, size: int) -> Iterator[Item]:
        """Batches of ``size`` rows, the last one of what is left: (B, ...) each.

        Raises:
            InputError: the store is remote and this process a fork of the one that opened it.
        """
        self._check_process()
        for rendered in self._renderer.stream([(self.rows[positions], view)], size):
            rows = rendered.rows
            yield rendered.inputs, self.labels[rows], *(targets.gather(rows, view) for targets in self._targets)

    def _check_process(self) -> None:
        """Refuse to let a client hang that its parent process has used."""
        store = self._soft.store
        if store is not None and store.backend.remote and self._process.forked:
            raise InputError(
                f"{store.url} is remote, and this worker was forked from the process that opened it, where a "
                'client hangs; give the DataLoader multiprocessing_context="forkserver" or "spawn"'
            )


class _Process:
    """Knows in which process it was made or unpickled."""

    def __init__(self) -> None:
        self._number = os.getpid()

    def __reduce__(self) -> tuple[type[_Process], tuple[()]]:
        return _Process, ()

    @property
    def forked(self) -> bool:
        """Whether this is another process."""
        return self._number != os.getpid()


def _check_count(samples: int, what: str, count: int) -> None:
    """Refuse what is not of the split's samples."""
    if count != samples:
        raise InputError(f"the data set has {samples} samples, {what} {count}")


def _checked_rows(rows: Tensor, samples: int) -> Tensor:
    """Rows that are there, each once."""
    if rows.ndim != 1 or rows.dtype != torch.int64 or len(rows) == 0:
        raise InputError(f"rows are {rows.dtype} of shape {tuple(rows.shape)}; they must be int64 (M,), at least one")
    if int(rows.min()) < 0 or int(rows.max()) >= samples:
        raise InputError(f"rows {int(rows.min())}..{int(rows.max())} asked; the data set has 0..{samples - 1}")
    if len(rows.unique()) < len(rows):
        raise InputError("rows has some of them twice; give each once, and let a sampler repeat them")
    return rows
