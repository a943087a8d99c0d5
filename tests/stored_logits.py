"""Stores in memory for the measures: readers over arrays that note what was read."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logitcache.errors import MissingError


@dataclass
class MemoryReader:
    """Logits (views, samples, classes), and features beside them where there are any."""

    values: NDArray[np.float32]
    block_rows: int
    penultimate: NDArray[np.float32] | None = None
    missing: tuple[tuple[int, int], ...] = ()
    reads: list[tuple[int, int]] = field(default_factory=list)

    @property
    def views(self) -> int:
        return self.values.shape[0]

    @property
    def samples(self) -> int:
        return self.values.shape[1]

    @property
    def classes(self) -> int:
        return self.values.shape[2]

    @property
    def blocks(self) -> int:
        return -(-self.samples // self.block_rows)

    @property
    def record(self) -> Any:
        return SimpleNamespace(features=0 if self.penultimate is None else self.penultimate.shape[2])

    def read(self, view: int, block: int) -> NDArray[np.float32]:
        if (view, block) in self.missing:
            raise MissingError(f"block {block} of view {view} was never committed")
        self.reads.append((view, block))
        return self.values[view, block * self.block_rows : (block + 1) * self.block_rows]

    def features(self, view: int, block: int) -> NDArray[np.float32]:
        assert self.penultimate is not None
        return self.penultimate[view, block * self.block_rows : (block + 1) * self.block_rows]


@dataclass
class MemoryStore:
    """Readers by (teacher, split), and true and noisy labels by split."""

    readers: dict[tuple[str, str], MemoryReader]
    truth: dict[str, NDArray[np.int64]]
    classes: tuple[str, ...] = ()
    url: str = "memory"
    indices: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    noisy: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=lambda: {"kind": "crop_flip", "seed": 0})
    probe: str | None = None
    fingerprint: str = "images"

    @property
    def record(self) -> Any:
        return SimpleNamespace(views=self.policy)

    def split(self, name: str) -> Any:
        noise = {"rate": 0.2} if name in self.noisy else None
        return SimpleNamespace(noise=noise, probe=self.probe, fingerprint=self.fingerprint)

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.truth)

    def teachers(self, split: str) -> tuple[str, ...]:
        return tuple(teacher for teacher, where in self.readers if where == split)

    def labels(self, split: str, kind: str = "clean") -> NDArray[np.int64]:
        return self.noisy[split] if kind == "noisy" else self.truth[split]

    def index(self, split: str) -> NDArray[np.int64]:
        return self.indices.get(split, np.arange(len(self.truth[split])))

    def logits(self, teacher: str, split: str) -> MemoryReader:
        return self.readers[teacher, split]

    def classifier(self, teacher: str, split: str) -> dict[str, NDArray[np.float32]]:
        del teacher, split
        return {}


def memory_store(block_rows: int = 20, *, samples: int = 53, classes: int = 7, views: int = 3, seed: int = 0):
    """Two teachers in two splits; every fifth label is unknown."""
    random = np.random.default_rng(seed)
    readers, truth = {}, {}
    for split in ("train", "test"):
        truth[split] = np.where(np.arange(samples) % 5 == 4, -1, random.integers(0, classes, samples))
        for teacher in ("big", "small"):
            values = random.normal(3, 4, (views, samples, classes)).astype(np.float32)
            readers[teacher, split] = MemoryReader(values, block_rows)
    return MemoryStore(readers, truth, tuple("abcdefghij"[:classes]))
