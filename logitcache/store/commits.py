"""Commits: a block exists when its commit does. One JSON object a block; a finished view's are folded into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from logitcache.store import schema
from logitcache.store.backend import Backend
from logitcache.store.fidelity import Fidelity

__all__ = ["ArrayDigest", "Commit", "Commits"]


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
    """A block that is there: its rows [start, stop), its shards by array, its measured error."""

    view: int
    block: int
    start: int
    stop: int
    arrays: Mapping[str, ArrayDigest]
    fidelity: Fidelity

    def to_json(self) -> dict[str, Any]:
        """The record that is stored; no clock, no host, so that equal blocks have equal commits."""
        return asdict(self)

    @staticmethod
    def from_json(record: dict[str, Any]) -> Commit:
        """A stored record, read back."""
        arrays = {name: ArrayDigest(**digest) for name, digest in record["arrays"].items()}
        return Commit(**{**record, "arrays": arrays, "fidelity": Fidelity.from_json(record["fidelity"])})


class Commits:
    """The commits of one teacher in one split; ``folder`` is the teacher's."""

    def __init__(self, backend: Backend, folder: str, views: int, blocks: int) -> None:
        self._backend, self._folder = backend, f"{folder}/logits/commits"
        self.views, self.blocks = views, blocks

    def present(self, view: int) -> set[int]:
        """The committed blocks of a view, from names alone."""
        if self._backend.size(self._view_key(view)) is not None:
            return set(range(self.blocks))
        names = self._backend.names(f"{self._folder}/{view}")
        blocks = {int(stem) for stem in (name.removesuffix(".json") for name in names) if stem.isdecimal()}
        # Another writer may have folded the view between the two looks.
        if len(blocks) < self.blocks and self._backend.size(self._view_key(view)) is not None:
            return set(range(self.blocks))
        return blocks

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
        """The commits of a view by block.

        Raises:
            DamageError: a commit record is not what was written.
        """
        folded = self._backend.get(self._view_key(view))
        if folded is not None:
            records = schema.unpack(folded, self._view_key(view))["blocks"]
            return {record["block"]: Commit.from_json(record) for record in records}
        commits = [self._read_one(view, block) for block in sorted(self.present(view))]
        if None in commits:  # another writer folded the view meanwhile
            return self.read(view)
        return {commit.block: commit for commit in commits if commit is not None}

    def add(self, commit: Commit) -> bool:
        """Commit a block; False where another writer has done so."""
        return self._backend.put(self._key(commit.view, commit.block), schema.pack(commit.to_json()))

    def fold(self) -> None:
        """Fold each finished view's commits into one record, and remove the single ones."""
        for view in range(self.views):
            if len(self.present(view)) == self.blocks:
                if self._backend.size(self._view_key(view)) is None:
                    records = [commit.to_json() for _, commit in sorted(self.read(view).items())]
                    self._backend.put(self._view_key(view), schema.pack({"view": view, "blocks": records}))
                for name in self._backend.names(f"{self._folder}/{view}"):
                    self._backend.delete(f"{self._folder}/{view}/{name}")

    def _read_one(self, view: int, block: int) -> Commit | None:
        """A single commit, None where it has just been folded away."""
        data = self._backend.get(self._key(view, block))
        return None if data is None else Commit.from_json(schema.unpack(data, self._key(view, block)))

    def _key(self, view: int, block: int) -> str:
        return f"{self._folder}/{view}/{block}.json"

    def _view_key(self, view: int) -> str:
        return f"{self._folder}/{view}.json"
