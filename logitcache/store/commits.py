"""Commits: a block exists when its commit does. One JSON object a block; a finished view's are folded into one.

A repair that could not restore the very bytes adds a commit that supersedes the block's first one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from logitcache.errors import DamageError
from logitcache.store.backend import Backend, side_by_side
from logitcache.store.documents import pack, parse, unpack
from logitcache.store.encodings import Fidelity

__all__ = ["ArrayDigest", "Commit", "Commits"]

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

    def __init__(self, backend: Backend, folder: str, views: int, blocks: int) -> None:
        self._backend, self._folder = backend, f"{folder}/commits"
        self.views, self.blocks = views, blocks

    def present(self, view: int) -> set[int]:
        """The committed blocks of a view, from names alone."""
        if self._backend.size(self._view_key(view)) is not None:
            return set(range(self.blocks))
        names = self._backend.names(f"{self._folder}/{view}")
        stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        blocks = {int(stem) for stem in stems if stem.isdecimal()} & set(range(self.blocks))
        # Another writer may have folded the view between the two looks.
        if len(blocks) < self.blocks and self._backend.size(self._view_key(view)) is not None:
            return set(range(self.blocks))
        return blocks

    def has(self, view: int, block: int) -> bool:
        """Whether one block is committed, without a look at any other."""
        keys = self._key(view, block), self._view_key(view), self._key(view, block)  # it may be folded meanwhile
        return any(self._backend.size(key) is not None for key in keys)

    def pending(self) -> list[tuple[int, int]]:
        """(view, block) of all blocks without a commit, in order."""
        return [
            (view, block)
            for view in range(self.views)
            for present in (self.present(view),)
            for block in range(self.blocks)
            if block not in present
        ]

    def read(self, view: int) -> dict[int, Commit]:
        """The commits of a view by block, the latest of each.

        Raises:
            DamageError: a commit record is not what was written.
        """
        return {**self._first(view), **self._repairs(view)}

    def supersede(self, commit: Commit) -> None:
        """Add a commit for a block that was written anew; the one with the highest ``repair`` counts."""
        key = f"{self._folder}/{_REPAIRS}/{commit.view}.{commit.block}.{commit.repair}.json"
        self._backend.put(key, pack(commit.to_json()))

    def forget(self, view: int, block: int) -> None:
        """Remove the commit of a block, and all of its view's where they are folded: the blocks are pending again."""
        self._backend.delete(self._key(view, block))
        self._backend.delete(self._view_key(view))
        for name in self._repair_names(view):
            self._backend.delete(f"{self._folder}/{_REPAIRS}/{name}")

    def _first(self, view: int) -> dict[int, Commit]:
        """The commits that were written first."""
        folded = self._backend.get(self._view_key(view))
        if folded is not None:
            return {commit.block: commit for commit in self._parse(folded, view, self._view_key(view))}
        commits = list(side_by_side(self._backend, partial(self._read_one, view), sorted(self.present(view))))
        if None in commits:  # another writer folded the view meanwhile
            return self._first(view)
        return {commit.block: commit for commit in commits if commit is not None}

    def add(self, commit: Commit) -> bool:
        """Commit a block; False where another writer has done so."""
        return self._backend.put(self._key(commit.view, commit.block), pack(commit.to_json()))

    def fold(self) -> None:
        """Fold each finished view's commits into one record, and remove the single ones."""
        for view in range(self.views):
            if len(self.present(view)) == self.blocks:
                if self._backend.size(self._view_key(view)) is None:
                    records = [commit.to_json() for _, commit in sorted(self._first(view).items())]
                    self._backend.put(self._view_key(view), pack({"view": view, "blocks": records}))
                folded = [f"{self._folder}/{view}/{name}" for name in self._backend.names(f"{self._folder}/{view}")]
                for _ in side_by_side(self._backend, self._backend.delete, folded):
                    pass

    def _read_one(self, view: int, block: int) -> Commit | None:
        """A single commit, None where it has just been folded away."""
        data = self._backend.get(self._key(view, block))
        return None if data is None else self._parse(data, view, self._key(view, block))[0]

    def _repairs(self, view: int) -> dict[int, Commit]:
        """The latest of the commits that supersede others."""
        found: dict[int, Commit] = {}
        for name in self._repair_names(view):
            key = f"{self._folder}/{_REPAIRS}/{name}"
            data = self._backend.get(key)
            if data is not None:
                commit = self._parse(data, view, key)[0]
                if commit.block not in found or commit.repair > found[commit.block].repair:
                    found[commit.block] = commit
        return found

    def _parse(self, data: bytes, view: int, key: str) -> tuple[Commit, ...]:
        """The commits of a record, one or all of a view, refused where they are of another view or of no block."""
        record = unpack(data, key)
        folded = isinstance(record, dict) and "blocks" in record
        commits = parse(tuple[Commit, ...], record["blocks"] if folded else [record], key)
        for commit in commits:
            if commit.view != view or not commit.block < self.blocks:
                raise DamageError(f"{key} is damaged: it is of block {commit.block} of view {commit.view}")
        return commits

    def _repair_names(self, view: int) -> list[str]:
        """Names of a view's superseding commits."""
        return sorted(n for n in self._backend.names(f"{self._folder}/{_REPAIRS}") if n.startswith(f"{view}."))

    def _key(self, view: int, block: int) -> str:
        return f"{self._folder}/{view}/{block}.json"

    def _view_key(self, view: int) -> str:
        return f"{self._folder}/{view}.json"
