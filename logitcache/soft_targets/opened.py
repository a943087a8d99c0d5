"""A store as users open it: the reader of its blocks, and the soft targets of its splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from logitcache.errors import InputError
from logitcache.soft_targets.targets import MEMORY, CombineOptions, SoftTargets
from logitcache.store import Store, store_info
from logitcache.store import open_store as open_plain

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

    def info(self) -> dict[str, Any]:
        """What the store holds, as :func:`logitcache.store.store_info` says."""
        return store_info(self)


def open_store(url: str | Path) -> CachedStore:
    """Open a store read-only; errors as in :func:`logitcache.store.open_store`."""
    store = open_plain(url)
    return CachedStore(store.url, store.backend)
