"""Cached soft targets for one's own DataLoader: a map-style data set of (input, label, teacher's logits)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from logitcache.data import Split
from logitcache.soft_targets.cached import CachedRows, Item
from logitcache.soft_targets.features import FeatureTargets
from logitcache.soft_targets.targets import SoftTargets
from logitcache.views import ViewOptions

__all__ = ["CachedDataset"]


class CachedDataset(Dataset[Item]):
    """Samples of a split as the teacher saw them, with the teacher's logits.

    Item ``i`` is (input float32 (C, H, W), label int64 (), logits float32 (classes,)), followed by features float32
    (width,) where ``features`` is given. Call :meth:`set_epoch` before each epoch: it chooses the view, the same for
    all of them. Batches come through ``__getitems__``, which DataLoader uses by itself. Where views are mixed, the
    label is the sample's own, the logits are those of the mixed input.

    It works in workers of any start method, persistent ones too. A remote store is refused in forked ones.

    Args:
        dataset: the samples.
        soft: the teacher's logits of them.
        views: the view policy that the teacher saw; without one, every epoch shows the clean view.
        rows: which samples, positions in the split, int64 (M,); item ``i`` is then ``rows[i]``.
        labels: int64 (samples of the split,), instead of the split's own, such as ``split.labels_for("noisy")``.
        features: the teacher's penultimate features.

    Raises:
        MismatchError: the soft targets are of other samples, or of another view policy.
        InputError: counts that differ, or rows that are not there or come twice.
    """

    def __init__(
        self,
        dataset: Split,
        soft: SoftTargets,
        views: ViewOptions | None = None,
        *,
        rows: Tensor | None = None,
        labels: Tensor | None = None,
        features: FeatureTargets | None = None,
    ) -> None:
        self._cached = CachedRows(dataset, soft, views, rows=rows, labels=labels, features=features)
        # Shared, or workers that live on into the next epoch would not hear of it.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def view(self) -> int:
        """The epoch's view."""
        return self._cached.view(int(self._epoch))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's view, and decode it: workers that are forked afterwards share it.

        The view after it is fetched to the store's stage in the background, where there is one.

        Raises:
            MissingError, DamageError: a block of the view is not there or not what was committed.
        """
        self._epoch.fill_(epoch)
        self._cached.decode(self.view)
        self._cached.fetch_ahead(epoch)

    def __len__(self) -> int:
        """Samples of the split, or of the rows chosen from it."""
        return len(self._cached)

    def __getitem__(self, row: int) -> Item:
        """One sample in the epoch's view.

        Raises:
            IndexError: there is no such sample; a loop over the data set ends by it.
        """
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[Item]:
        """Samples in the epoch's view."""
        positions = torch.as_tensor(rows, dtype=torch.int64)
        batches = self._cached.batches(positions, self.view, max(1, len(positions)))
        return [item for batch in batches for item in zip(*batch, strict=True)]
