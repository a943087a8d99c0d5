"""Small stores, splits and teachers, and a backend that dies, for tests in several folders."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import torch
from torch import nn

from logitcache.data import Preprocess, Split, memory_split
from logitcache.models import build_model
from logitcache.models.weights import weight_fingerprint
from logitcache.store import (
    Choice,
    EncodingOptions,
    Sample,
    SplitContent,
    SplitRecord,
    StoreRecord,
    TeacherContent,
    TeacherRecord,
    TeacherWriter,
    choose_encoding,
    create_store,
)
from logitcache.store.backend import LocalBackend
from logitcache.teacher import Teacher


@dataclass(frozen=True)
class Plan:
    """A small store: two views of 20 samples in three blocks. ``sample(row)`` is the index in the full data set."""

    views: int = 2
    samples: int = 20
    classes: int = 4
    block_rows: int = 8
    features: int = 0
    feature_step: float = 0.0
    encoding: EncodingOptions = field(default_factory=lambda: EncodingOptions(kind="uniform"))
    teacher: str = "big"
    split: str = "train"
    seed: int = 0
    weights: str = "w" * 16
    fingerprint: str = "f" * 16
    probe: str | None = None
    dataset: str = "numbers"
    policy: tuple[tuple[str, object], ...] = (("kind", "crop_flip"), ("padding", 4))
    noise: Mapping[str, object] | None = None
    commit_group: int = 0

    def sample(self, row: int) -> int:
        return 100 + 3 * row

    @property
    def index(self) -> np.ndarray:
        return 100 + 3 * np.arange(self.samples)

    @property
    def labels(self) -> np.ndarray:
        return np.arange(self.samples) % self.classes

    @property
    def noisy_labels(self) -> np.ndarray | None:
        """Every third one is wrong; None without noise."""
        return None if self.noise is None else (self.labels + (np.arange(self.samples) % 3 == 0)) % self.classes

    @property
    def logits(self) -> np.ndarray:
        """What goes in: float32 (views, samples, classes)."""
        shape = self.views, self.samples, self.classes
        return np.random.default_rng(self.seed).normal(0, 4, shape).astype(np.float32)

    @property
    def penultimate(self) -> np.ndarray:
        shape = self.views, self.samples, self.features
        return np.random.default_rng(self.seed + 1).normal(0, 1, shape).astype(np.float32)

    @cached_property
    def choice(self) -> Choice:
        """The encoding, and its transform where it has one: chosen from the clean view itself."""
        return choose_encoding(self.encoding, Sample(torch.from_numpy(self.logits[0]), self.views * self.samples))

    @property
    def record(self) -> TeacherRecord:
        return TeacherRecord(
            name=self.teacher,
            model="cnn",
            weights=self.weights,
            precision="float32",
            provenance="network",
            encoding=self.choice.encoding,
            views=self.views,
            samples=self.samples,
            classes=self.classes,
            block_rows=self.block_rows,
            chunk_rows=self.block_rows // 2,
            features=self.features,
            feature_step=self.feature_step,
            commit_group=self.commit_group,
        )

    def writer(self, path: Path) -> TeacherWriter:
        """Create the store, or find it, and return the teacher's writer."""
        classes = tuple("abcdefghij"[: self.classes]) if self.classes <= 10 else tuple(map(str, range(self.classes)))
        record = SplitRecord(self.split, self.samples, self.fingerprint, self.probe, self.noise)
        split = SplitContent(record, self.labels, self.index, self.noisy_labels)
        shape = self.classes, self.features
        classifier = {
            "classifier_weight": np.ones(shape, np.float32),
            "classifier_bias": np.zeros(self.classes, np.float32),
        }
        wholes = {**self.choice.wholes, **(classifier if self.features else {})}
        teacher = TeacherContent(self.split, self.record, wholes)
        [writer] = create_store(path, StoreRecord(self.dataset, classes, dict(self.policy)), [split], [teacher])
        return writer

    def write_block(self, writer: TeacherWriter, view: int, block: int) -> None:
        rows = slice(writer.rows(block).start, writer.rows(block).stop)
        features = self.penultimate[view, rows] if self.features else None
        writer.write(view, block, self.logits[view, rows], features)

    def write(self, path: Path, leave_out: Collection[tuple[int, int]] = ()) -> TeacherWriter:
        """Do what the cache step does: open the writer, write what is pending, finish."""
        writer = self.writer(path)
        for view, block in writer.pending():
            if (view, block) not in leave_out:
                self.write_block(writer, view, block)
        writer.finish()
        return writer


def tree(path: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by relative name."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): sha256(file.read_bytes()).hexdigest() for file in files}


KINDS = {
    "uniform": EncodingOptions(kind="uniform"),
    "lossless": EncodingOptions(kind="lossless"),
    "spectral": EncodingOptions(kind="spectral", max_kl=0.01),
    "head": EncodingOptions(kind="spectral", max_kl=0.1, head=2),
    "step": EncodingOptions(kind="spectral", step=0.5),
    "topk": EncodingOptions(kind="topk", entries=3),
    "portable": EncodingOptions(kind="spectral", max_kl=0.01, codec="portable"),
}
"""An encoding of each kind, for ``Plan(encoding=...)``."""


class KilledError(Exception):
    """What a killed process looks like from inside."""


class DyingBackend:
    """A local backend whose process dies after a number of changes: from then on nothing answers."""

    remote = False

    def __init__(self, root: Path, changes: int) -> None:
        self._inner, self._left, self._lock = LocalBackend(root), changes, Lock()

    def put(self, key: str, data: bytes) -> bool:
        with self._lock:
            self._spend()
            return self._inner.put(key, data)

    def delete(self, key: str) -> None:
        with self._lock:
            self._spend()
            self._inner.delete(key)

    def sweep(self) -> None:
        with self._lock:
            self._spend()
            self._inner.sweep()

    def get(self, key: str, limit: int | None = None) -> bytes | None:
        return self._alive().get(key, limit)

    def size(self, key: str) -> int | None:
        return self._alive().size(key)

    def names(self, folder: str) -> set[str]:
        return self._alive().names(folder)

    def _alive(self) -> LocalBackend:
        if self._left < 0:
            raise KilledError
        return self._inner

    def _spend(self) -> None:
        self._left -= 1
        self._alive()


@contextmanager
def dies_after(changes: int) -> Iterator[None]:
    """Stores opened for writing inside die after a number of changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logitcache.store.write.open_backend", lambda url: DyingBackend(Path(url), changes))
        yield


def make_split(samples: int = 30, classes: int = 3, *, seed: int = 0, name: str = "train", side: int = 8) -> Split:
    """Random grey images in memory, float mean and std that are no powers of two."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (samples, 1, side, side), generator=generator, dtype=torch.uint8)
    return memory_split(
        dataset="noise",
        name=name,
        images=images,
        labels=torch.arange(samples) % classes,
        classes=tuple("abcdefghij"[:classes]),
        preprocess=Preprocess((0.3,), (0.7,)),
    )


def lazy(split: Split) -> Split:
    """The same samples, opened one by one."""
    assert split.images is not None
    return replace(split, images=None, open=split.images.__getitem__)


def make_teacher(split: Split, *, seed: int = 0, name: str = "big", scale: float = 8.0) -> Teacher:
    """A small network with random weights, its logits spread out like a trained one's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_model("cnn-4-8", len(split.classes), split.shape).eval()
        assert isinstance(network.head, nn.Linear)
        nn.init.normal_(network.head.weight, std=scale)
    fingerprint = weight_fingerprint(network.core.state_dict())
    network.requires_grad_(requires_grad=False)
    return Teacher(name, "cnn-4-8", network, fingerprint, "float32", network, network.with_features)
