"""Cached soft targets for one's own DataLoader: a map-style data set of (input, label, teacher's logits)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from logitcache.data import Split
from logitcache.errors import InputError
from logitcache.matching import check_split
from logitcache.soft_targets.order import epoch_view
from logitcache.soft_targets.targets import SoftTargets
from logitcache.views import Renderer, ViewOptions

__all__ = ["CachedDataset"]

Item = tuple[Tensor, Tensor, Tensor]


class CachedDataset(Dataset[Item]):
    """Samples of a split as the teacher saw them, with the teacher's logits.

    Item ``row`` is (input float32 (C, H, W), label int64 (), logits float32 (classes,)). Call :meth:`set_epoch`
    before each epoch: it chooses the view, the same for input and logits. Batches come through ``__getitems__``,
    which DataLoader uses by itself. Without ``views`` every epoch shows the clean view.

    Raises:
        MismatchError: the soft targets are of other samples, or of another view policy.
    """

    def __init__(self, dataset: Split, soft: SoftTargets, views: ViewOptions | None = None) -> None:
        if len(dataset) != soft.samples:
            raise InputError(f"the data set has {len(dataset)} samples, the soft targets have {soft.samples}")
        if soft.store is not None:
            check_split(soft.store, dataset, views)
        self._split, self._soft, self._views = dataset, soft, views or ViewOptions()
        self._renderer = Renderer(dataset, self._views)
        self.view = self._view(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's view, and decode it: workers that are forked afterwards share it.

        Raises:
            MissingError, DamageError: a block of the view is not there or not what was committed.
        """
        self.view = self._view(epoch)
        self._soft.gather(torch.arange(0), self.view)

    def __len__(self) -> int:
        """Samples of the split."""
        return len(self._split)

    def __getitem__(self, row: int) -> Item:
        """One sample in the epoch's view."""
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[Item]:
        """Samples in the epoch's view."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        inputs = torch.cat([r.inputs for r in self._renderer.stream([(index, self.view)], len(index))])
        logits = self._soft.gather(index, self.view)
        return list(zip(inputs, self._split.labels[index], logits, strict=True))

    def _view(self, epoch: int) -> int:
        """The view of an epoch, among those that are rendered and stored."""
        return epoch_view(epoch, min(self._views.count, self._soft.views - 1))
