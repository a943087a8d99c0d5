"""Read the blocks of one teacher in one split, each checked against its commit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.errors import DamageError, InputError, MissingError
from logitcache.records import BlockId, rows_of_block, sha256
from logitcache.store import schema
from logitcache.store.backend import Backend, side_by_side
from logitcache.store.commits import Commit, Commits
from logitcache.store.encodings import Codec, Encoding, make_codec
from logitcache.store.features import decode_features
from logitcache.store.identity import TeacherRecord, teacher_path
from logitcache.store.wholes import stored_transform

__all__ = ["LogitsReader"]

FloatArray = npt.NDArray[np.float32]


class LogitsReader:
    """The stored logits of one teacher in one split, block by block. Safe in threads."""

    def __init__(self, backend: Backend, url: str, split: str, record: TeacherRecord) -> None:
        self.record, self.split = record, split
        self._backend, self._url = backend, url
        self._path = teacher_path(split, record.name)
        self.commits = Commits(backend, f"{self._path}/{record.encoding.primary}", record.views, self.blocks)
        self._known: dict[int, Mapping[int, Commit]] = {}

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

    def rows(self, block: int) -> range:
        """The rows of a block."""
        return rows_of_block(block, self.block_rows, self.samples)

    def has(self, view: int, block: int) -> bool:
        """Whether a block is committed."""
        return block in self._view_commits(view)

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
        names = [name for name in self.record.arrays if name != "features"]
        self.commit(view, block)  # read once, before several ask for it
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
        """The commit of a block; errors as in :meth:`read`."""
        if not (0 <= view < self.views and 0 <= block < self.blocks):
            raise InputError(
                f"view {view}, block {block} asked of teacher {self.teacher!r} in split {self.split!r}, "
                f"which has views 0..{self.views - 1} and blocks 0..{self.blocks - 1}"
            )
        commit = self._view_commits(view).get(block)
        if commit is None:
            raise MissingError(f"{self._url}: {self._name(view, block)} is not committed; run the cache step again")
        return commit

    def shard(self, name: str, view: int, block: int) -> bytes:
        """The bytes of a block's shard in one array, compared with its commit; errors as in :meth:`read`."""
        digest = self.commit(view, block).arrays.get(name)
        if digest is None:
            raise self._damage(view, block, f"its commit has no {name}")
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

    def _view_commits(self, view: int) -> Mapping[int, Commit]:
        """A view's commits; kept once the view is finished."""
        known = self._known.get(view)
        if known is None:
            known = self.commits.read(view)
            if len(known) == self.blocks:
                self._known[view] = known
        return known

    def _name(self, view: int, block: int) -> BlockId:
        return BlockId(self.teacher, self.split, view, block)

    def _damage(self, view: int, block: int, why: str) -> DamageError:
        rows = self.rows(block)
        return DamageError(
            f"{self._url}: {self._name(view, block)} (rows {rows.start}..{rows.stop - 1}) is damaged: {why}"
        )
