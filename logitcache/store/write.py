"""Write a store: create it, then one block after another, each durable before it is committed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.address import Address
from logitcache.errors import CheckError, InputError
from logitcache.records import BlockId, rows_of_block
from logitcache.store import schema
from logitcache.store.backend import Backend, open_backend, side_by_side
from logitcache.store.commits import Commit, Commits
from logitcache.store.encodings import TAUS, Encoded, TopKCodec, make_codec
from logitcache.store.encodings.codec import Logits
from logitcache.store.encodings.topk import TopK
from logitcache.store.features import check_values, keeps_step, measured, with_features
from logitcache.store.groups import Group
from logitcache.store.identity import SplitRecord, StoreRecord, TeacherRecord, teacher_path
from logitcache.store.settle import Objects, settle
from logitcache.store.shards import Shard, same_values
from logitcache.store.wholes import stored_transform

__all__ = ["SplitContent", "TeacherContent", "TeacherWriter", "create_store", "store_objects"]


@dataclass(frozen=True)
class SplitContent:
    """A split to be created: its record, and by sample its label, index in the full data set and noisy label.

    ``noisy_labels`` and the record's ``noise`` go together; ``labels`` are the clean ones.
    """

    record: SplitRecord
    labels: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]
    noisy_labels: npt.NDArray[np.int64] | None = None

    def objects(self) -> dict[str, bytes]:
        """The split's group and arrays.

        Raises:
            InputError: counts that differ from the record's, or noisy labels without a record of their noise.
        """
        arrays = {"labels": self.labels, "index": self.index, "noisy_labels": self.noisy_labels}
        return self.record.objects({name: values for name, values in arrays.items() if values is not None})


@dataclass(frozen=True)
class TeacherContent:
    """A teacher to be created in a split, with its arrays that are not cut in blocks.

    ``wholes`` are the transform of a spectral encoding (``basis``, ``mean``, ``spread``), as
    :func:`logitcache.store.choose_encoding` returns it, and ``classifier_weight``, ``classifier_bias`` where they are
    kept.
    """

    split: str
    record: TeacherRecord
    wholes: Mapping[str, npt.NDArray[Any]]


def create_store(
    url: Address, store: StoreRecord, splits: Sequence[SplitContent], teachers: Sequence[TeacherContent]
) -> list[TeacherWriter]:
    """Create a store, or open the one that is there when it is the same; a writer for each teacher, in order.

    Raises:
        MismatchError: the store at ``url`` is of another data set, view policy, teacher or encoding.
        InputError: a split's labels do not match its samples.
    """
    backend = open_backend(url)
    settle(backend, store_objects(store, splits, teachers))
    index = {split.record.name: split.index for split in splits}
    return [TeacherWriter(backend, t.split, t.record, index[t.split]) for t in teachers]


def store_objects(
    store: StoreRecord, splits: Sequence[SplitContent], teachers: Sequence[TeacherContent]
) -> list[Objects]:
    """All objects of a store that do not belong to a block: a group for each split and each teacher.

    Raises:
        InputError: a split's labels do not match its samples.
    """
    root = store.objects()
    groups = [Objects({**root, **split.objects()}, f"{split.record.name}/labels") for split in splits]
    return groups + [
        Objects(
            teacher.record.objects(teacher.split, teacher.wholes),
            f"{teacher_path(teacher.split, teacher.record.name)}/{teacher.record.encoding.primary}",
        )
        for teacher in teachers
    ]


class TeacherWriter:
    """Writes the blocks of one teacher in one split. Safe in threads, and beside another writer."""

    def __init__(self, backend: Backend, split: str, record: TeacherRecord, index: npt.NDArray[np.int64]) -> None:
        self.split, self.record = split, record
        self._backend, self._index = backend, index
        self._path = teacher_path(split, record.name)
        self._commits = Commits(backend, f"{self._path}/{record.encoding.primary}", record.groups)
        self._around: tuple[Group, dict[int, Commit]] | None = None
        # What another writer's calibration put there counts, to the last bit, not what ours came to.
        transform = stored_transform(backend, self._path, record.encoding)
        self._codec = make_codec(record.encoding, record.classes, transform)

    @property
    def blocks(self) -> int:
        """Blocks of all views."""
        return self.record.views * self.record.blocks

    def pending(self, *, by_block: bool = False) -> Iterator[tuple[int, int]]:
        """(view, block) of the blocks that are not committed yet, looked for on the way; in order.

        With ``by_block``, all views of a block come together.
        """
        return self._commits.pending(by_block=by_block)

    def has(self, view: int, block: int) -> bool:
        """Whether a block is committed."""
        return self._commits.has(view, block)

    def rows(self, block: int) -> range:
        """The rows of a block."""
        return rows_of_block(block, self.record.block_rows, self.record.samples)

    def write(self, view: int, block: int, logits: Logits | TopK, features: Logits | None = None) -> None:
        """Encode, measure and store one block, then commit it.

        Args:
            view: the view's index, 0 for the clean one.
            block: the block's index in the view.
            logits: float32 (rows, classes), an array or a tensor on any device; or the rows' largest entries, where
                the encoding is ``topk``.
            features: float32 (rows, features), when the teacher's record has features.

        Raises:
            InputError: a shape is wrong, or a number is not finite or does not fit the encoding.
            CheckError: an uncommitted shard is in the way that is damaged or breaks the bound for these logits.
        """
        encoded = self._encode(logits, features, self.rows(block))
        put = partial(self._put, view, block)
        shards = dict(zip(encoded.values, side_by_side(self._backend, put, encoded.values.items()), strict=True))
        if any(shard.adopted for shard in shards.values()):
            encoded = self._adopt(view, block, shards, encoded, (logits, features if self.record.features else None))
        self._commits.add(self._commit(view, block, shards, encoded))

    def rewrite(self, view: int, block: int, logits: Logits | TopK, features: Logits | None = None) -> bool:
        """Write a committed block anew, in place of what is damaged; arguments and errors as in :meth:`write`.

        Returns:
            Whether the very bytes were restored; otherwise a superseding commit says what is there now.
        """
        encoded = self._encode(logits, features, self.rows(block))
        around = self._commits_around(view, block)
        known, spec = around[block], self.record.arrays
        shards = {
            name: Shard(schema.values_to_shard(values, spec[name]), values, adopted=False)
            for name, values in encoded.values.items()
        }
        same = {name: shard.digest() for name, shard in shards.items()} == dict(known.arrays)
        if not same:
            around[block] = replace(self._commit(view, block, shards, encoded), repair=known.repair + 1)
            self._commits.supersede(around[block])
        for name, shard in shards.items():
            self._backend.replace(f"{self._path}/{spec[name].key(view, block)}", shard.data)
        return same

    def copy(self, commit: Commit, shards: Mapping[str, bytes]) -> None:
        """Store a block as another store has it: its shards' bytes by array, compared with its commit by the caller.

        Raises:
            CheckError: an uncommitted shard of other bytes is in the way.
        """
        for name, data in shards.items():
            key = f"{self._path}/{self.record.arrays[name].key(commit.view, commit.block)}"
            if not self._backend.put(key, data) and self._backend.get(key) != data:
                raise self._in_the_way(commit.view, commit.block, name, "an uncommitted shard of other bytes")
        self._commits.add(replace(commit, repair=0))

    def forget(self, view: int, block: int) -> None:
        """Drop the commit of a block whose record is damaged, so that it is pending again."""
        self._around = None
        self._commits.forget(view, block)

    def discard(self, view: int, block: int) -> None:
        """Remove the shards of a block that is not committed."""
        for spec in self.record.arrays.values():
            self._backend.delete(f"{self._path}/{spec.key(view, block)}")

    def finish(self, *, sweep: bool = True) -> None:
        """Fold the commits of finished groups of blocks; call it when no more blocks come.

        ``sweep`` also removes what killed writers left aside, for which it walks through the whole store.
        """
        self._commits.fold()
        if sweep:
            self._backend.sweep()

    def _commits_around(self, view: int, block: int) -> dict[int, Commit]:
        """The commits of the group that a committed block is in, read once for all of them."""
        group, around = self._commits.groups.of(view, block), self._around
        if around is None or around[0] != group or block not in around[1]:
            around = self._around = group, self._commits.read(group)
        return around[1]

    def _commit(self, view: int, block: int, shards: Mapping[str, Shard], encoded: Encoded) -> Commit:
        """What is recorded of a block."""
        rows = self.rows(block)
        digests = {name: shard.digest() for name, shard in shards.items()}
        return Commit(view, block, rows.start, rows.stop, digests, encoded.fidelity)

    def _encode(self, logits: Logits | TopK, features: Logits | None, rows: range) -> Encoded:
        """What each array stores for a block."""
        index = self._index[rows.start : rows.stop]
        if isinstance(logits, TopK):
            encoded = self._encode_entries(logits, rows)
        else:
            check_values(logits, (len(rows), self.record.classes), "logits", index)
            encoded = self._codec.encode(logits, index, self.record.taus or TAUS)
        if not self.record.features:
            return encoded
        if features is None:
            raise InputError(f"teacher {self.record.name!r} stores features, but the block came without")
        check_values(features, (len(rows), self.record.features), "features", index)
        return with_features(encoded, features, self.record.feature_step, index)

    def _encode_entries(self, entries: TopK, rows: range) -> Encoded:
        """The same for rows of which only the largest entries are known."""
        if not isinstance(self._codec, TopKCodec):
            kind = self.record.encoding.kind
            raise InputError(f"only the largest entries of each row came; the encoding must be topk, not {kind}")
        if len(entries.classes) != len(rows):
            raise InputError(f"entries of {len(entries.classes)} rows came for a block of {len(rows)}")
        return self._codec.encode_entries(entries)

    def _put(self, view: int, block: int, item: tuple[str, npt.NDArray[Any]]) -> Shard:
        """Store a block's shard of one array, by name, or adopt the uncommitted one that stands there."""
        name, values = item
        spec = self.record.arrays[name]
        key, data = f"{self._path}/{spec.key(view, block)}", schema.values_to_shard(values, spec)
        if self._backend.put(key, data):
            return Shard(data, values, adopted=False)
        stored = self._backend.get(key) or b""
        if stored == data:
            return Shard(data, values, adopted=False)
        try:
            return Shard(stored, schema.shard_to_values(stored, spec, values.shape[spec.axis - 1]), adopted=True)
        except ValueError as error:  # what zarr and its codecs raise
            raise self._in_the_way(view, block, name, f"a damaged uncommitted shard ({error})") from error

    def _adopt(
        self, view: int, block: int, shards: Mapping[str, Shard], encoded: Encoded, given: tuple[Any, Any]
    ) -> Encoded:
        """What foreign bytes hold: the same values, or others that keep the store's promises for what was given."""
        values, (logits, features) = {name: shard.values for name, shard in shards.items()}, given
        other = [name for name, array in values.items() if not same_values(array, encoded.values[name])]
        if not other:
            return encoded
        promised = not isinstance(logits, TopK) and self._codec.encoding.bound(self._codec.encoding.tau_min) is not None
        if not promised or not self._codec.keeps_promise(logits, values):
            width = f"error range {self._codec.measure(logits, values).largest_range:.3g}, " if promised else ""
            why = f"an uncommitted shard of other values ({width}from another device or software?)"
            raise self._in_the_way(view, block, other[0], why)
        if "features" in other and not keeps_step(values["features"], features, self.record.feature_step):
            raise self._in_the_way(view, block, "features", "an uncommitted shard of other features")
        fidelity = self._codec.measure(logits, values, self.record.taus or TAUS)
        if encoded.fidelity is not None:
            checked = max(fidelity.kl_checked, encoded.fidelity.kl_checked)
            refined = int((values["level"] > 0).sum()) if "level" in values else 0
            fidelity = replace(fidelity, kl_checked=checked, refined=refined)
        adopted = Encoded(values, fidelity)
        return adopted if features is None else measured(adopted, features, self.record.feature_step)

    def _in_the_way(self, view: int, block: int, name: str, what: str) -> CheckError:
        block_name = BlockId(self.record.name, self.split, view, block)
        key = f"{self._path}/{self.record.arrays[name].key(view, block)}"
        return CheckError(f"{block_name}: {what} is in the way; delete {key} and run again")
