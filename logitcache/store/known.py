"""Which bytes each block's shards are to have, as far as a reader has met their commits; bounded, and safe in threads.

Of a commit, reading needs the length and SHA-256 of each shard, which is 40 bytes. A million of them are kept, so that
blocks may be read in any order though a folded record has the commits of a thousand of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

import numpy as np

from logitcache.store.commits import ArrayDigest, Commit, Commits
from logitcache.store.groups import Group

__all__ = ["KnownShards", "ShardDigest"]

MOST_SHARDS = 1 << 20
"""Shards of folded groups that are kept: 42 MB."""

_MOST_SINGLE = 1024
_OVERHEAD = 16
"""What a group takes beside its shards, in shards: views of very few blocks are bounded too."""


@dataclass(frozen=True)
class ShardDigest:
    """The length and SHA-256 that a shard is to have."""

    bytes: int
    sha256: str


class KnownShards:
    """Shards by block, from the commits of one teacher in one split; the group met longest ago makes room.

    A finished group is read once. Of one that is not finished, or not folded yet, the commits asked for are read, one
    by one. Pickles without what it knows.
    """

    def __init__(self, commits: Commits, most: int = MOST_SHARDS) -> None:
        self._commits, self._most = commits, most
        self._tables: dict[str, _Table] = {}
        self._single: dict[tuple[int, int], Mapping[str, ShardDigest]] = {}
        self._size = 0
        self._begin()

    def __reduce__(self) -> tuple[type[KnownShards], tuple[Commits, int]]:
        """Without locks and tables, which are this process's."""
        return KnownShards, (self._commits, self._most)

    def __len__(self) -> int:
        """How many shards of folded groups are kept."""
        return sum(table.shards for table in list(self._tables.values()))

    def shards(self, view: int, block: int) -> Mapping[str, ShardDigest] | None:
        """The shards of a block by array; None where it is not committed.

        Raises:
            DamageError: a commit record is not what was written.
        """
        if self._process != os.getpid():  # forked, maybe while another thread held a lock
            self._begin()
        group = self._commits.groups.of(view, block)
        table = self._table(group)
        if table is not None:
            return table.get(block)
        found = self._single.get((view, block))
        if found is None:
            found = self._load(group, block)
        return found

    def _begin(self) -> None:
        """Locks of this process."""
        self._process, self._lock, self._loading = os.getpid(), Lock(), Lock()

    def _table(self, group: Group) -> _Table | None:
        """What is known of a folded group, as the one met last."""
        with self._lock:
            table = self._tables.pop(group.key, None)
            if table is not None:
                self._tables[group.key] = table
        return table

    def _load(self, group: Group, block: int) -> Mapping[str, ShardDigest] | None:
        """Read a group where it is folded, else the commit of a block."""
        with self._loading:  # not by several threads at once: it takes longer than reading a shard
            table = self._table(group)
            if table is None:
                commits = self._commits.read_folded(group)
                table = None if commits is None else self._keep(group, _Table(commits))
        if table is not None:
            return table.get(block)
        commit = self._commits.read_one(group.view, block)
        if commit is None:
            return None
        found = {name: ShardDigest(array.bytes, array.sha256) for name, array in commit.arrays.items()}
        with self._lock:
            while len(self._single) >= _MOST_SINGLE:
                self._single.pop(next(iter(self._single)))
            self._single[group.view, block] = found
        return found

    def _keep(self, group: Group, table: _Table) -> _Table:
        """Keep a group; those met longest ago make room."""
        with self._lock:
            self._tables[group.key] = table
            self._size += table.shards + _OVERHEAD
            while self._size > self._most and len(self._tables) > 1:
                oldest = self._tables.pop(next(iter(self._tables)))
                self._size -= oldest.shards + _OVERHEAD
        return table


class _Table:
    """The shards of a group's blocks, packed."""

    def __init__(self, commits: Mapping[int, Commit]) -> None:
        self._names = tuple(dict.fromkeys(name for commit in commits.values() for name in commit.arrays))
        shape = len(commits), len(self._names)
        self._blocks = np.array(sorted(commits), np.int64)
        self._bytes = np.full(shape, -1, np.int64)
        self._sha256 = np.zeros((*shape, 32), np.uint8)
        for row, block in enumerate(self._blocks.tolist()):
            for column, name in enumerate(self._names):
                self._put(row, column, commits[block].arrays.get(name))

    @property
    def shards(self) -> int:
        """How many there are."""
        return self._bytes.size

    def get(self, block: int) -> Mapping[str, ShardDigest] | None:
        """Those of a block by array, None where it has no commit."""
        row = int(np.searchsorted(self._blocks, block))
        if row == len(self._blocks) or self._blocks[row] != block:
            return None
        lengths = zip(self._names, self._bytes[row].tolist(), self._sha256[row], strict=True)
        return {name: ShardDigest(size, digest.tobytes().hex()) for name, size, digest in lengths if size >= 0}

    def _put(self, row: int, column: int, array: ArrayDigest | None) -> None:
        """Take down one shard, as far as the commit has it; what is no digest agrees with no bytes."""
        if array is not None:
            self._bytes[row, column] = array.bytes
            with suppress(ValueError):
                self._sha256[row, column] = np.frombuffer(bytes.fromhex(array.sha256), np.uint8)
