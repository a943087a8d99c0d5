"""Stores of very many blocks, with commits that are real files and without shards: what blocks cost beside bytes.

A block is one row of two classes. Keys, commits and folded records are those of any store; a shard is one text in
memory, the same for all.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch

from logitcache.cache_job import CacheJob, CacheOptions
from logitcache.caching import split_contents
from logitcache.data import Preprocess, memory_split
from logitcache.store import (
    EncodingOptions,
    LogitsReader,
    Store,
    StoreRecord,
    TeacherContent,
    TeacherRecord,
    create_store,
    resolve,
)
from logitcache.store.backend import LocalBackend
from logitcache.store.commits import ArrayDigest, Commit, Commits
from logitcache.store.encodings import Fidelity
from logitcache.store.groups import commit_group
from logitcache.teacher_options import TeacherOptions
from logitcache.views import ViewOptions, view_policy

__all__ = ["TEACHER", "Made", "Shape", "commit_of", "create", "design", "folder_for", "shapes"]

TEACHER = TeacherOptions(name="many", model="cnn-4-8")
BLOCKS_A_VIEW = 100
SHARD = b"a shard of which nobody reads more than its length and its digest"
DIGEST = ArrayDigest(len(SHARD), sha256(SHARD).hexdigest(), "0" * 64)
FIDELITY = Fidelity(
    rows=1,
    values=2,
    largest_error=0.0478515625,
    largest_range=0.091796875,
    largest_shift=0.0123291015625,
    squared_error=0.00312042236328125,
    top1_kept=1,
    taus=(0.5, 1.0, 2.0, 4.0, 20.0),
    kl_largest=(0.000812530517578, 0.00021839141845, 5.61237335205e-05, 1.4126300811767e-05, 5.66244125366e-07),
    kl_sum=(0.000812530517578, 0.00021839141845, 5.61237335205e-05, 1.4126300811767e-05, 5.66244125366e-07),
    kl_checked=0.000812530517578,
)
_ROOM = 8 << 10
"""Bytes that a block's commit takes in a file system in memory, with room to spare."""


@dataclass(frozen=True)
class Shape:
    """So many blocks: in one view, or in as many views as give each a hundred."""

    name: str
    views: int
    blocks: int

    @property
    def total(self) -> int:
        """Blocks of all views."""
        return self.views * self.blocks


def shapes(total: int) -> tuple[Shape, ...]:
    """The two ways to have so many blocks."""
    views = max(1, total // BLOCKS_A_VIEW)
    return Shape("one view", 1, total), Shape("many views", views, total // views)


class Shardless(LocalBackend):
    """A store in a folder whose shards are all the same text."""

    def get(self, key: str, limit: int | None = None) -> bytes | None:
        """The object's bytes."""
        return SHARD if _is_shard(key) else super().get(key, limit)

    def size(self, key: str) -> int | None:
        """The object's length."""
        return len(SHARD) if _is_shard(key) else super().size(key)


def _is_shard(key: str) -> bool:
    """Whether a key is that of a block's shard."""
    return "/logits/c/" in key


@dataclass(frozen=True)
class Made:
    """Where a store is or is to be, and the job that it is of."""

    path: Path
    shape: Shape
    job: CacheJob

    @property
    def uncommitted(self) -> int:
        """Blocks at the end that are left out where 99 % are to be committed."""
        return max(1, self.shape.total // 100)

    def places(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """(view, block) of the blocks from the first to before the last, in order."""
        return (divmod(number, self.shape.blocks) for number in range(first, last))

    def commits(self) -> Commits:
        """The commits, as writers and readers see them."""
        return self.reader().commits

    def store(self) -> Store:
        """The store, opened."""
        return Store(self.path, Shardless(self.path))

    def reader(self) -> LogitsReader:
        """The teacher's reader, who has read nothing yet."""
        return self.store().logits(TEACHER.name)


def commit_of(view: int, block: int) -> Commit:
    """A commit as long as those of real blocks."""
    return Commit(view, block, block, block + 1, {"logits": DIGEST}, FIDELITY)


def design(path: Path, shape: Shape) -> Made:
    """What a store is to be; nothing is written."""
    split = memory_split(
        dataset="blocks",
        name="train",
        images=torch.zeros(shape.blocks, 1, 1, 1, dtype=torch.uint8),
        labels=torch.arange(shape.blocks) % 2,
        classes=("a", "b"),
        preprocess=Preprocess((0.5,), (0.5,)),
    )
    views = ViewOptions(kind="crop_flip", count=shape.views - 1, padding=1) if shape.views > 1 else ViewOptions()
    options = CacheOptions(encoding=EncodingOptions(kind="uniform"), block=1, splits=("train",), workers=0)
    return Made(path, shape, CacheJob(path, {"train": split}, views, options))


def create(made: Made) -> int:
    """Create the store, without a commit."""
    shape, job = made.shape, made.job
    record = TeacherRecord(
        name=TEACHER.name,
        model=TEACHER.model,
        weights="0" * 16,
        precision=job.options.inference.precision,
        provenance="made for a benchmark",
        encoding=resolve(job.options.encoding),
        views=shape.views,
        samples=shape.blocks,
        classes=2,
        block_rows=1,
        chunk_rows=1,
        commit_group=commit_group(shape.blocks, 1),
    )
    split = job.splits["train"]
    store = StoreRecord(split.dataset, split.classes, view_policy(split, job.views))
    create_store(made.path, store, split_contents(job), [TeacherContent("train", record, {})])
    return shape.total


def folder_for(blocks: int) -> tuple[Path, str]:
    """An empty folder, in memory where there is room for the commits of so many blocks; and what it is, in words."""
    memory = Path("/dev/shm")  # noqa: S108  # a file system in memory, not a place for files of others
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > blocks * _ROOM:
        return Path(tempfile.mkdtemp(prefix="bench_blocks_", dir=memory)), "a file system in memory"
    return Path(tempfile.mkdtemp(prefix="bench_blocks_")), "a folder on disk"
