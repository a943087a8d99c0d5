"""What measures need of a store, and what they compare with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from logitcache.statistics.arrays import LogitReader, LogitStore

__all__ = ["FeatureReader", "MeasuredStore", "Other"]


class FeatureReader(LogitReader, Protocol):
    """A reader that may also have penultimate features."""

    @property
    def record(self) -> Any:
        """Its ``features`` says how many there are, 0 for none."""

    def features(self, view: int, block: int) -> NDArray[np.float32]:
        """The features (rows, D) of one block."""


class MeasuredStore(LogitStore, Protocol):
    """What the measures need of a store."""

    @property
    def url(self) -> str:
        """Where it is."""

    @property
    def record(self) -> Any:
        """Its ``views`` is the view policy, a mapping."""

    def split(self, name: str) -> Any:
        """What it records: a ``fingerprint`` of the samples, the ``noise`` of labels or None, a ``probe`` of views."""

    def labels(self, split: str, kind: Literal["clean", "noisy"] = "clean") -> NDArray[np.int64]:
        """The true class of every row (samples,), -1 where nobody knows it; or its noisy label."""

    def logits(self, teacher: str, split: str) -> FeatureReader:
        """The reader of one teacher in one split."""

    def index(self, split: str) -> NDArray[np.int64]:
        """Each sample's index in the full data set."""

    def classifier(self, teacher: str, split: str) -> Mapping[str, NDArray[np.float32]]:
        """The teacher's last layer, ``weight`` and ``bias``; what is not known is absent."""


@dataclass(frozen=True)
class Other:
    """A teacher to compare with, maybe of another store."""

    store: MeasuredStore
    teacher: str

    def name(self, store: MeasuredStore) -> str:
        """What it is called beside a store's own teachers."""
        return self.teacher if self.store.url == store.url else f"{self.store.url}:{self.teacher}"
