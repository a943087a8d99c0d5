"""Commits: a block exists when its commit does. One JSON object a block; those of a finished group are folded into one.

A repair that could not restore the very bytes adds a commit that supersedes the block's first one. Nothing here holds
more than the commits of one group of blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

from logitcache.errors import DamageError
from logitcache.store.backend import Backend, side_by_side
from logitcache.store.documents import LARGEST_DOCUMENT, pack, parse, unpack
from logitcache.store.encodings import Fidelity
from logitcache.store.groups import Group, Groups

__all__ = ["ArrayDigest", "Commit", "Commits", "read_commits"]

_REPAIRS = "repairs"


@dataclass(frozen=True)
class ArrayDigest:
    """A block's shard in one array: its length and digest, and a digest of the decoded values.

    Another version of the compressor may write other bytes for the same values.
    """

    bytes: int
    sha256: str
    values_sha256: str


@dataclass(frozen=True)
class Commit:
    """A block that is there: its rows [start, stop), its shards by array, its measured error where logits are known.

    ``repair`` counts how often the block was written anew with other bytes.
    """

    view: int
    block: int
    start: int
    stop: int
    arrays: Mapping[str, ArrayDigest]
    fidelity: Fidelity | None
    repair: int = 0

    def to_json(self) -> dict[str, Any]:
        """The record that is stored; no clock, no host, so that equal blocks have equal commits."""
        record = asdict(self)
        return record if self.repair else {key: value for key, value in record.items() if key != "repair"}

    @staticmethod
    def from_json(record: dict[str, Any]) -> Commit:
        """A stored record, read back."""
        arrays = {name: ArrayDigest(**digest) for name, digest in record["arrays"].items()}
        known = record["fidelity"]
        fidelity = None if known is None else Fidelity.from_json(known)
        return Commit(**{**record, "arrays": arrays, "fidelity": fidelity})


class Commits:
    """The commits of one teacher in one split; ``folder`` is that of its primary array."""

    def __init__(self, backend: Backend, folder: str, groups: Groups) -> None:
        self._backend, self._folder = backend, f"{folder}/commits"
        self.groups = groups

    def present(self, group: Group) -> Collection[int]:
        """The committed blocks of a group, from names alone."""
        if self._is_folded(group):
            return group.blocks
        names = self._backend.names(f"{self._folder}/{group.key}")
        stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        blocks = {int(stem) for stem in stems if stem.isdecimal() and int(stem) in group.blocks}
        # Another writer may have folded the group between the two looks.
        if len(blocks) < len(group.blocks) and self._is_folded(group):
            return group.blocks
        return blocks

    def complete(self, view: int) -> bool:
        """Whether all blocks of a view are committed, from names alone."""
        return all(len(self.present(group)) == len(group.blocks) for group in self.groups.of_view(view))

    def committed(self) -> int:
        """How many blocks of all views are committed, from names alone."""
        return sum(len(self.present(group)) for group in self.groups)

    def has(self, view: int, block: int) -> bool:
        """Whether one block is committed, without a look at any other."""
        single, folded = self.key(view, block), self._group_key(self.groups.of(view, block))
        return any(self._backend.size(key) is not None for key in (single, folded, single))  # folded meanwhile

    def pending(self, *, by_block: bool = False) -> Iterator[tuple[int, int]]:
        """(view, block) of all blocks without a commit, one group after another, in order; looked for on the way.

        With ``by_block``, all views of a block come together.
        """
        if not by_block:
            for group in self.groups:
                yield from ((group.view, block) for block in self._absent(group))
            return
        for number, blocks in enumerate(group.blocks for group in self.groups.of_view(0)):
            absent = [set(self._absent(self.groups.at(view, number))) for view in range(self.groups.views)]
            yield from ((view, block) for block in blocks for view, found in enumerate(absent) if block in found)

    def read(self, group: Group) -> dict[int, Commit]:
        """The commits of a group by block, the latest of each.

        Raises:
            DamageError: a commit record is not what was written.
        """
        return {**self._first(group), **self._repairs(group)}

    def read_folded(self, group: Group) -> dict[int, Commit] | None:
        """Likewise of a group whose commits are folded; None where they are not."""
        folded = self._folded(group)
        return None if folded is None else {**folded, **self._repairs(group)}

    def read_one(self, view: int, block: int) -> Commit | None:
        """The latest commit of one block, None where it has none; errors as of :meth:`read`.

        Cheap where the group is not folded; else all of it is read.
        """
        group = self.groups.of(view, block)
        commit = self._single(group, block) or (self._folded(group) or {}).get(block) or self._single(group, block)
        return None if commit is None else self._repairs(group, block).get(block, commit)

    def records(self, group: Group) -> Iterator[tuple[str, Collection[int]]]:
        """Keys of a group's commit records and the blocks that each is of: one for all or one each, then repairs."""
        if self._is_folded(group):
            yield self._group_key(group), group.blocks
        else:
            names = self._backend.names(f"{self._folder}/{group.key}")
            yield from ((self.key(group.view, block), (block,)) for block in group.blocks if f"{block}.json" in names)
        yield from ((key, (block,)) for key, block in self._repair_keys(group))

    def key(self, view: int, block: int) -> str:
        """The key of a block's own commit."""
        return f"{self._folder}/{self.groups.of(view, block).key}/{block}.json"

    def walk(self) -> Iterator[Commit]:
        """The latest commits of all blocks in order, one group in memory at a time; errors as of :meth:`read`."""
        for group in self.groups:
            yield from self.read(group).values()

    def supersede(self, commit: Commit) -> None:
        """Add a commit for a block that was written anew; the one with the highest ``repair`` counts."""
        folder = f"{self._folder}/{_REPAIRS}/{self.groups.of(commit.view, commit.block).key}"
        self._backend.put(f"{folder}/{commit.block}.{commit.repair}.json", pack(commit.to_json()))

    def forget(self, view: int, block: int) -> None:
        """Remove the commit of a block, and all of its group's where they are folded: the blocks are pending again."""
        group = self.groups.of(view, block)
        folded = self._is_folded(group)
        for key, repaired in self._repair_keys(group):
            if folded or repaired == block:
                self._backend.delete(key)
        self._backend.delete(self._group_key(group))
        self._backend.delete(self.key(view, block))

    def add(self, commit: Commit) -> bool:
        """Commit a block; False where another writer has done so."""
        return self._backend.put(self.key(commit.view, commit.block), pack(commit.to_json()))

    def fold(self) -> None:
        """Fold each finished group's commits into one record, and remove the single ones."""
        for group in self.groups:
            if not self._is_folded(group):
                if len(self.present(group)) < len(group.blocks):
                    continue
                records = [commit.to_json() for _, commit in sorted(self._first(group).items())]
                self._backend.put(self._group_key(group), pack({"view": group.view, "blocks": records}))
            folder = f"{self._folder}/{group.key}"
            single = [f"{folder}/{name}" for name in self._backend.names(folder)]
            for _ in side_by_side(self._backend, self._backend.delete, single):
                pass

    def _absent(self, group: Group) -> Iterator[int]:
        """The blocks of a group without a commit."""
        present = self.present(group)
        return (block for block in group.blocks if block not in present)

    def _first(self, group: Group) -> dict[int, Commit]:
        """The commits that were written first."""
        folded = self._folded(group)
        if folded is not None:
            return folded
        commits = list(side_by_side(self._backend, partial(self._single, group), sorted(self.present(group))))
        if None in commits:  # another writer folded the group meanwhile
            return self._first(group)
        return {commit.block: commit for commit in commits if commit is not None}

    def _folded(self, group: Group) -> dict[int, Commit] | None:
        """The commits of a folded group, None where it is not."""
        key = self._group_key(group)
        data = self._backend.get(key, LARGEST_DOCUMENT)
        return None if data is None else {each.block: each for each in _checked(data, key, group.view, group.blocks)}

    def _single(self, group: Group, block: int) -> Commit | None:
        """A single commit, None where there is none, or it has just been folded away."""
        key = self.key(group.view, block)
        data = self._backend.get(key, LARGEST_DOCUMENT)
        return None if data is None else _only(data, key, group.view, block)

    def _repairs(self, group: Group, block: int | None = None) -> dict[int, Commit]:
        """The latest of the commits that supersede others, of all blocks or of one."""
        found: dict[int, Commit] = {}
        for key, repaired in self._repair_keys(group):
            data = self._backend.get(key, LARGEST_DOCUMENT) if block in (None, repaired) else None
            if data is not None:
                commit = _only(data, key, group.view, repaired)
                if commit.block not in found or commit.repair > found[commit.block].repair:
                    found[commit.block] = commit
        return found

    def _repair_keys(self, group: Group) -> Iterator[tuple[str, int]]:
        """Keys of a group's superseding commits, each with its block."""
        folder = f"{self._folder}/{_REPAIRS}/{group.key}"
        names = [(f"{folder}/{name}", name.split(".")) for name in sorted(self._backend.names(folder))]
        names += self._flat.get(group.key, [])
        for key, (block, *rest) in names:
            if len(rest) == 2 and block.isdecimal() and int(block) in group.blocks:
                yield key, int(block)

    @cached_property
    def _flat(self) -> dict[str, list[tuple[str, list[str]]]]:
        """Keys by view of what lies in the folder of repairs itself, as earlier versions wrote it; looked for once."""
        found: dict[str, list[tuple[str, list[str]]]] = {}
        for name in () if self.groups.size else sorted(self._backend.names(f"{self._folder}/{_REPAIRS}")):
            view, *rest = name.split(".")
            if rest:
                found.setdefault(view, []).append((f"{self._folder}/{_REPAIRS}/{name}", rest))
        return found

    def _is_folded(self, group: Group) -> bool:
        """Whether a group's commits are in one record."""
        return self._backend.size(self._group_key(group)) is not None

    def _group_key(self, group: Group) -> str:
        return f"{self._folder}/{group.key}.json"


def read_commits(data: bytes, key: str) -> tuple[Commit, ...]:
    """The commits of a record: of one block or of a group.

    Raises:
        DamageError: it is not what was written; the message names its key.
    """
    record = unpack(data, key)
    folded = isinstance(record, dict) and "blocks" in record
    return parse(tuple[Commit, ...], record["blocks"] if folded else [record], key)


def _checked(data: bytes, key: str, view: int, blocks: Collection[int]) -> tuple[Commit, ...]:
    """The same, refused where they are of another view or of other blocks."""
    commits = read_commits(data, key)
    for commit in commits:
        if commit.view != view or commit.block not in blocks:
            raise DamageError(f"{key} is damaged: it is of block {commit.block} of view {commit.view}")
    return commits


def _only(data: bytes, key: str, view: int, block: int) -> Commit:
    """The commit of a record that is to have one."""
    commits = _checked(data, key, view, (block,))
    if len(commits) != 1:
        raise DamageError(f"{key} is damaged: it has {len(commits)} commits, and is to have one")
    return commits[0]
