"""Write a store: create it, then one block after another, each durable before it is committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.errors import CheckError, InputError
from logitcache.records import BlockId, rows_of_block, sha256
from logitcache.store import schema
from logitcache.store.backend import Backend, open_backend
from logitcache.store.commits import ArrayDigest, Commit, Commits
from logitcache.store.encodings import decode, encode, kl_bound
from logitcache.store.fidelity import TAUS, Fidelity, measure
from logitcache.store.identity import SplitRecord, StoreRecord, TeacherRecord, teacher_path
from logitcache.store.settle import Objects, settle

__all__ = ["SplitContent", "TeacherContent", "TeacherWriter", "create_store"]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SplitContent:
    """A split to be created: its record, labels (samples,) and indices in the full data set (samples,)."""

    record: SplitRecord
    labels: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TeacherContent:
    """A teacher to be created in a split, with the weight and bias of its classifier where they are kept."""

    split: str
    record: TeacherRecord
    classifier: Mapping[str, FloatArray]


def create_store(
    url: str | Path, store: StoreRecord, splits: Sequence[SplitContent], teachers: Sequence[TeacherContent]
) -> list[TeacherWriter]:
    """Create a store, or open the one that is there when it is the same; a writer for each teacher, in order.

    Raises:
        MismatchError: the store at ``url`` is of another data set, view policy, teacher or encoding.
        InputError: a split's labels do not match its samples.
    """
    backend = open_backend(url)
    root = store.objects()
    groups = [
        Objects({**root, **split.record.objects(split.labels, split.index)}, f"{split.record.name}/labels")
        for split in splits
    ]
    groups += [
        Objects(
            teacher.record.objects(teacher.split, teacher.classifier),
            f"{teacher_path(teacher.split, teacher.record.name)}/logits",
        )
        for teacher in teachers
    ]
    settle(backend, groups)
    index = {split.record.name: split.index for split in splits}
    return [TeacherWriter(backend, t.split, t.record, index[t.split]) for t in teachers]


class TeacherWriter:
    """Writes the blocks of one teacher in one split. Safe in threads, and beside another writer."""

    def __init__(self, backend: Backend, split: str, record: TeacherRecord, index: npt.NDArray[np.int64]) -> None:
        self.split, self.record = split, record
        self._backend, self._index = backend, index
        self._path = teacher_path(split, record.name)
        self._commits = Commits(backend, self._path, record.views, record.logits.blocks)

    @property
    def blocks(self) -> int:
        """Blocks of all views."""
        return self.record.views * self.record.logits.blocks

    def pending(self) -> list[tuple[int, int]]:
        """(view, block) of the blocks that are not committed yet, in order."""
        return self._commits.pending()

    def rows(self, block: int) -> range:
        """The rows of a block."""
        return rows_of_block(block, self.record.block_rows, self.record.samples)

    def write(self, view: int, block: int, logits: FloatArray, features: FloatArray | None = None) -> None:
        """Encode, measure and store one block, then commit it.

        Args:
            view: the view's index, 0 for the clean one.
            block: the block's index in the view.
            logits: float32 (rows, classes).
            features: float32 (rows, features), when the teacher's record has features.

        Raises:
            InputError: a shape is wrong, or a number is not finite or does not fit the encoding.
            CheckError: an uncommitted shard is in the way that is damaged or breaks the bound for these logits.
        """
        rows = self.rows(block)
        values = self._encode(logits, features, rows)
        shards = {name: self._put(view, block, name, array) for name, array in values.items()}
        fidelity = measure(logits, decode(shards["logits"].values, self.record.encoding), self.record.taus or TAUS)
        if any(shard.adopted for shard in shards.values()):
            self._check_adopted(view, block, fidelity)
        digests = {name: shard.digest() for name, shard in shards.items()}
        self._commits.add(Commit(view, block, rows.start, rows.stop, digests, fidelity))

    def finish(self) -> None:
        """Fold the commits of finished views and tidy up; call it when no more blocks come."""
        self._commits.fold()
        self._backend.sweep()

    def _encode(self, logits: FloatArray, features: FloatArray | None, rows: range) -> dict[str, npt.NDArray[Any]]:
        """What each array stores for a block."""
        index = self._index[rows.start : rows.stop]
        _check(logits, (len(rows), self.record.classes), "logits", index)
        values: dict[str, npt.NDArray[Any]] = {"logits": encode(logits, self.record.encoding, index)}
        if self.record.features:
            if features is None:
                raise InputError(f"teacher {self.record.name!r} stores features, but the block came without")
            _check(features, (len(rows), self.record.features), "features", index)
            values["features"] = _half(features, index)
        return values

    def _put(self, view: int, block: int, name: str, values: npt.NDArray[Any]) -> _Shard:
        """Store a block's shard of one array, or adopt the uncommitted one that stands there."""
        spec, key = self.record.arrays[name], f"{self._path}/{schema.shard_key(name, view, block)}"
        data = schema.values_to_shard(values, spec)
        if self._backend.put(key, data):
            return _Shard(data, values, adopted=False)
        stored = self._backend.get(key) or b""
        if stored == data:
            return _Shard(data, values, adopted=False)
        try:
            return _Shard(stored, schema.shard_to_values(stored, spec, len(values)), adopted=True)
        except ValueError as error:  # what zarr and its codecs raise
            raise self._in_the_way(view, block, name, f"a damaged uncommitted shard ({error})") from error

    def _check_adopted(self, view: int, block: int, fidelity: Fidelity) -> None:
        """Refuse foreign bytes that do not keep the store's promise for these logits."""
        encoding, error = self.record.encoding, fidelity.largest_range
        if not kl_bound(error, encoding.tau_min) <= encoding.max_kl:  # NaN is refused too
            why = f"an uncommitted shard of other values (error range {error:.3g}, from another device or software?)"
            raise self._in_the_way(view, block, "logits", why)

    def _in_the_way(self, view: int, block: int, name: str, what: str) -> CheckError:
        block_name = BlockId(self.record.name, self.split, view, block)
        key = f"{self._path}/{schema.shard_key(name, view, block)}"
        return CheckError(f"{block_name}: {what} is in the way; delete {key} and run again")


@dataclass(frozen=True)
class _Shard:
    """A shard as it is stored: its bytes, the values they hold, and whether another writer put them there."""

    data: bytes
    values: npt.NDArray[Any]
    adopted: bool

    def digest(self) -> ArrayDigest:
        """What the commit says of it."""
        return ArrayDigest(len(self.data), sha256(self.data), sha256(np.ascontiguousarray(self.values).data))


def _half(features: FloatArray, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
    """Finite features as float16; refuses those beyond its range, by the sample's index."""
    with np.errstate(over="ignore"):
        values = features.astype(np.float16)
    rows = np.flatnonzero(np.isinf(values).any(axis=1))
    if rows.size:
        sample, largest = int(index[rows[0]]), float(np.abs(features[rows[0]]).max())
        raise InputError(
            f"a feature of sample {sample} is {largest:.4g}, beyond float16's 65504; set cache.features = false"
        )
    return values


def _check(values: FloatArray, shape: tuple[int, int], what: str, index: npt.NDArray[np.int64]) -> None:
    """Refuse values of another shape, and values that are not finite, by the sample's index."""
    if values.shape != shape:
        raise InputError(f"{what} of a block have shape {values.shape}; expected {shape}")
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InputError(
            f"{what} of sample {int(index[row])} are not finite: {values[row][~np.isfinite(values[row])][:3]}"
        )
