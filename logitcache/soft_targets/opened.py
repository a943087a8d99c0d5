"""A store as users open it: the reader of its blocks, and the soft targets of its splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from logitcache.address import Address
from logitcache.errors import InputError
from logitcache.soft_targets.features import FeatureTargets
from logitcache.soft_targets.targets import MEMORY, CombineOptions, SoftTargets
from logitcache.store import Stage, Store, store_info
from logitcache.store.read import open_as

__all__ = ["CachedStore", "open_store"]


class CachedStore(Store):
    """A store opened read-only, with its soft targets."""

    def soft_targets(
        self,
        teachers: Sequence[str] | None = None,
        split: str = "train",
        *,
        combine: str = "mean_logits",
        tau: float | None = None,
        weights: Sequence[float] | None = None,
        device: torch.device | str = "cpu",
        memory: int = MEMORY,
    ) -> SoftTargets:
        """The soft targets of a split.

        Args:
            teachers: names; all of the split without.
            split: the split's name.
            combine: ``mean_logits``, or ``mean_probs`` with ``tau``.
            tau: the temperature of ``mean_probs``.
            weights: one a teacher, in the order of ``teachers``.
            device: where gathered logits are wanted.
            memory: bytes that decoded logits may take.

        Raises:
            InputError: there is no such split or teacher, or the combination is not one.
        """
        names = tuple(teachers) if teachers else self.teachers(split)
        if not names:
            raise InputError(f"{self.url} has no teachers in split {split!r}; run the cache step first")
        chosen = None if weights is None else tuple(weights)
        try:
            options = CombineOptions.model_validate({"combine": combine, "tau": tau, "weights": chosen})
        except ValidationError as error:
            raise InputError("; ".join(each["msg"] for each in error.errors())) from error
        readers = [self.logits(name, split) for name in names]
        return SoftTargets(readers, options, device=device, memory=memory, store=self)

    def feature_targets(
        self,
        teacher: str | None = None,
        split: str = "train",
        *,
        device: torch.device | str = "cpu",
        memory: int = MEMORY,
    ) -> FeatureTargets:
        """The penultimate features of one teacher in a split.

        Args:
            teacher: its name; without one, the split must have a single teacher.
            split: the split's name.
            device: where gathered features are wanted.
            memory: bytes that decoded features may take.

        Raises:
            InputError: there is no such split or teacher, or it was cached without features.
        """
        names = self.teachers(split) if teacher is None else (teacher,)
        if len(names) != 1:
            raise InputError(f"{self.url} has the teachers {', '.join(names) or 'none'} in split {split!r}; name one")
        return FeatureTargets(self.logits(names[0], split), device=device, memory=memory)

    def info(self) -> dict[str, Any]:
        """What the store holds, as :func:`logitcache.store.store_info` says."""
        return store_info(self)


def open_store(url: Address, *, stage: Stage | Path | str | None = None) -> CachedStore:
    """Open a store read-only; arguments and errors as of :func:`logitcache.store.open_store`.

    With a stage, what students read next is fetched to it in the background, and what they read again is read there::

        store = lc.open_store("s3://bucket/mine.zarr", stage=lc.Stage("/scratch/stage", "200GB"))
    """
    return open_as(CachedStore, url, stage)
