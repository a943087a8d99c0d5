"""Compare a store with its own records: digests of metadata, commits against shards, values against digests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from logitcache.errors import CheckError, DamageError
from logitcache.records import BlockId, sha256
from logitcache.store import schema
from logitcache.store.read import LogitsReader, Store

__all__ = ["Finding", "Verification", "block_total", "verify"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: where, and what."""

    where: str
    problem: str

    def __str__(self) -> str:
        """The finding on one line; a problem that names the place already does not get it twice."""
        return self.problem if self.where in self.problem else f"{self.where}: {self.problem}"


@dataclass(frozen=True)
class Verification:
    """What was looked at and what was found wrong."""

    blocks: int
    bytes: int
    findings: tuple[Finding, ...]


def verify(store: Store, *, decode: bool = False, progress: Callable[[int], None] | None = None) -> Verification:
    """Look at every block of a store; metadata has been compared when the store was opened.

    Args:
        store: the store.
        decode: also decode every shard and compare its values with their digest.
        progress: called with the number of blocks looked at.
    """
    findings: list[Finding] = []
    blocks = size = 0
    for split in store.splits:
        for teacher in store.teachers(split):
            try:
                reader = store.logits(teacher, split)
            except DamageError as error:
                findings.append(Finding(f"teacher {teacher!r} in split {split!r}", str(error)))
                continue
            for found in _blocks(reader, decode=decode):
                blocks += 1
                if isinstance(found, Finding):
                    findings.append(found)
                else:
                    size += found
                if progress is not None:
                    progress(blocks)
    return Verification(blocks, size, tuple(findings))


def block_total(store: Store) -> int:
    """How many blocks :func:`verify` will look at; teachers whose metadata is damaged have none that can be counted."""
    total = 0
    for split in store.splits:
        for teacher in store.teachers(split):
            with contextlib.suppress(DamageError):
                reader = store.logits(teacher, split)
                total += reader.views * reader.blocks
    return total


def _blocks(reader: LogitsReader, *, decode: bool) -> Iterator[Finding | int]:
    """The bytes of each block, or what is wrong with it."""
    for view in range(reader.views):
        for block in range(reader.blocks):
            try:
                yield _check(reader, view, block, decode=decode)
            except CheckError as error:
                yield Finding(str(BlockId(reader.teacher, reader.split, view, block)), str(error))


def _check(reader: LogitsReader, view: int, block: int, *, decode: bool) -> int:
    """The bytes of a block's shards, after comparing them with the commit."""
    total = 0
    for name, digest in reader.commit(view, block).arrays.items():
        data = reader.shard(name, view, block)
        total += len(data)
        if decode:
            values = schema.shard_to_values(data, reader.record.arrays[name], len(reader.rows(block)))
            if sha256(np.ascontiguousarray(values).data) != digest.values_sha256:
                raise DamageError(f"its {name} decode to other values than were committed")
    return total
