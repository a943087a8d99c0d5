"""Read the blocks of one teacher in one split, each checked against its commit."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.errors import DamageError, InputError, MissingError
from logitcache.records import BlockId, rows_of_block, sha256
from logitcache.store import schema
from logitcache.store.backend import Backend, side_by_side
from logitcache.store.commits import ArrayDigest, Commit, Commits
from logitcache.store.encodings import Codec, Encoding, make_codec
from logitcache.store.features import decode_features
from logitcache.store.identity import TeacherRecord, teacher_path
from logitcache.store.known import KnownShards, ShardDigest
from logitcache.store.staging import Stage
from logitcache.store.wholes import stored_transform

__all__ = ["LogitsReader"]

FloatArray = npt.NDArray[np.float32]


class LogitsReader:
    """The stored logits of one teacher in one split, block by block. Safe in threads."""

    def __init__(
        self, backend: Backend, url: str, split: str, record: TeacherRecord, stage: Stage | None = None
    ) -> None:
        self.record, self.split, self.stage = record, split, stage
        self._backend, self._url = backend, url
        self._path = teacher_path(split, record.name)
        self.commits = Commits(backend, f"{self._path}/{record.encoding.primary}", record.groups)
        self._known = KnownShards(self.commits)

    @property
    def teacher(self) -> str:
        """The teacher's name."""
        return self.record.name

    @property
    def views(self) -> int:
        """How many views are stored, the clean one included."""
        return self.record.views

    @property
    def samples(self) -> int:
        """Samples of the split."""
        return self.record.samples

    @property
    def classes(self) -> int:
        """Logits a row."""
        return self.record.classes

    @property
    def block_rows(self) -> int:
        """Rows of a block; the last one may have fewer."""
        return self.record.block_rows

    @property
    def blocks(self) -> int:
        """Blocks a view."""
        return self.record.blocks

    @property
    def encoding(self) -> Encoding:
        """How the logits are stored."""
        return self.record.encoding

    @property
    def logit_arrays(self) -> tuple[str, ...]:
        """Names of the arrays that a block's logits are in, the primary one first."""
        return tuple(name for name in self.record.arrays if name != "features")

    def rows(self, block: int) -> range:
        """The rows of a block."""
        return rows_of_block(block, self.block_rows, self.samples)

    def has(self, view: int, block: int) -> bool:
        """Whether a block is committed."""
        return self._known.shards(view, block) is not None

    def read(self, view: int, block: int) -> FloatArray:
        """The decoded logits of a block, float32 (rows, classes).

        Raises:
            InputError: there is no such view or block.
            MissingError: the block was never committed.
            DamageError: its bytes are not those that were committed.
        """
        return self.codec.decode(self.values(view, block))

    @cached_property
    def codec(self) -> Codec:
        """What turns stored arrays into logits."""
        return make_codec(self.encoding, self.classes, stored_transform(self._backend, self._path, self.encoding))

    def values(self, view: int, block: int) -> dict[str, npt.NDArray[Any]]:
        """The stored arrays of a block's logits by name, samples at their axis; errors as in :meth:`read`."""
        names = self.logit_arrays
        self.digest(names[0], view, block)  # read once, before several ask for it
        arrays = side_by_side(self._backend, lambda name: self._values(name, view, block), names)
        return dict(zip(names, arrays, strict=True))

    def features(self, view: int, block: int) -> FloatArray:
        """The penultimate features of a block, float32 (rows, features); errors as in :meth:`read`."""
        return decode_features(self.feature_codes(view, block), self.record.feature_step)

    def feature_codes(self, view: int, block: int) -> npt.NDArray[Any]:
        """The features of a block as they are stored: multiples of the step, or float16 where that is 0."""
        if not self.record.features:
            raise InputError(f"teacher {self.teacher!r} of {self._url} was cached without features")
        return self._values("features", view, block)

    def commit(self, view: int, block: int) -> Commit:
        """The commit of a block, read anew each time, and in a finished group those of all its blocks with it.

        Errors are those of :meth:`read`.
        """
        self._check_place(view, block)
        commit = self.commits.read_one(view, block)
        if commit is None:
            raise self._missing(view, block)
        return commit

    def digest(self, name: str, view: int, block: int) -> ShardDigest:
        """The length and SHA-256 that a block's shard in one array is to have; errors as in :meth:`read`."""
        self._check_place(view, block)
        shards = self._known.shards(view, block)
        if shards is None:
            raise self._missing(view, block)
        if name not in shards:
            raise self._damage(view, block, f"its commit has no {name}")
        return shards[name]

    def shard(self, name: str, view: int, block: int) -> bytes:
        """The bytes of a block's shard in one array, compared with its commit; errors as in :meth:`read`."""
        digest = self.digest(name, view, block)
        fetch = partial(self.fetch, name, view, block, digest)
        return fetch() if self.stage is None else self.stage.get(digest.sha256, digest.bytes, fetch)

    def bring(self, reader: object, name: str, view: int, block: int) -> bool:
        """Have a block's shard in one array on the stage before it is read; errors as in :meth:`read`.

        Returns:
            False where the stage has no room before ``reader`` reads what it brought (:meth:`Stage.bring`).
        """
        digest = self.digest(name, view, block)
        fetch = partial(self.fetch, name, view, block, digest)
        return self.stage is None or self.stage.bring(reader, digest.sha256, digest.bytes, fetch)

    def fetch(self, name: str, view: int, block: int, digest: ShardDigest | ArrayDigest) -> bytes:
        """The bytes of a block's shard in one array, compared with what its commit says; errors as in :meth:`read`."""
        key = f"{self._path}/{self.record.arrays[name].key(view, block)}"
        try:
            data = self._backend.get(key, digest.bytes)  # nothing longer than it should be is read at all
        except DamageError:
            size = self._backend.size(key)
            raise self._damage(
                view, block, f"its {name} shard has {size} bytes, committed were {digest.bytes}"
            ) from None
        if data is None:
            raise self._damage(view, block, f"its {name} shard is missing")
        if len(data) != digest.bytes:
            raise self._damage(view, block, f"its {name} shard has {len(data)} bytes, committed were {digest.bytes}")
        if sha256(data) != digest.sha256:
            raise self._damage(view, block, f"its {name} shard has other bytes than were committed")
        return data

    def _values(self, name: str, view: int, block: int) -> npt.NDArray[Any]:
        """The values of a block in one array."""
        data = self.shard(name, view, block)
        try:
            return schema.shard_to_values(data, self.record.arrays[name], len(self.rows(block)))
        except ValueError as error:
            raise self._damage(view, block, f"its {name} shard cannot be decoded ({error})") from error

    def _check_place(self, view: int, block: int) -> None:
        """Refuse views and blocks that there are not."""
        if not (0 <= view < self.views and 0 <= block < self.blocks):
            raise InputError(
                f"view {view}, block {block} asked of teacher {self.teacher!r} in split {self.split!r}, "
                f"which has views 0..{self.views - 1} and blocks 0..{self.blocks - 1}"
            )

    def _name(self, view: int, block: int) -> BlockId:
        return BlockId(self.teacher, self.split, view, block)

    def _missing(self, view: int, block: int) -> MissingError:
        return MissingError(f"{self._url}: {self._name(view, block)} is not committed; run the cache step again")

    def _damage(self, view: int, block: int, why: str) -> DamageError:
        rows = self.rows(block)
        return DamageError(
            f"{self._url}: {self._name(view, block)} (rows {rows.start}..{rows.stop - 1}) is damaged: {why}"
        )
