"""Read a store: what it holds, and whose logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from logitcache.address import Address, as_address, local_path
from logitcache.errors import DamageError, InputError
from logitcache.store import schema
from logitcache.store.backend import Backend, is_key, open_backend
from logitcache.store.documents import parse
from logitcache.store.encodings import PRIMARY_ARRAYS
from logitcache.store.identity import WHOLE_ARRAYS, SplitRecord, StoreRecord, TeacherRecord, attributes_of, teacher_path
from logitcache.store.reader import LogitsReader
from logitcache.store.settle import check_digests, digests_key
from logitcache.store.staging import Stage, as_stage
from logitcache.store.wholes import read_samples, read_whole, stored_transform, whole_bytes

__all__ = ["LogitsReader", "Opened", "Store", "open_as", "open_store"]

FloatArray = npt.NDArray[np.float32]
S = TypeVar("S", bound="Store")


@dataclass(frozen=True)
class Opened:
    """What was read of a store to open it, which need not be read again: names of splits, and metadata by key."""

    splits: tuple[str, ...]
    metadata: Mapping[str, bytes]


class Store:
    """A store, opened read-only; its metadata has been compared with its digests."""

    def __init__(
        self, url: Address, backend: Backend, stage: Stage | None = None, opened: Opened | None = None
    ) -> None:
        self.url, self.backend, self.stage, self._opened = str(url), backend, stage, opened
        root = attributes_of(self._metadata("zarr.json"))
        known = {key: value for key, value in root.items() if key != "format_version"}
        self.record = parse(StoreRecord, known, "zarr.json")
        self._splits: dict[str, SplitRecord] = {}
        self._primaries: dict[str, str] = {}
        self._teachers: dict[str, TeacherRecord] = {}

    @property
    def path(self) -> Path:
        """The store's folder; :class:`InputError` where it is in an object store."""
        return local_path(self.url)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.record.classes

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return _split_names(self.backend) if self._opened is None else self._opened.splits

    def split(self, name: str) -> SplitRecord:
        """What is recorded of a split.

        Raises:
            InputError: there is no such split.
        """
        if name not in self.splits:
            raise InputError(f"{self.url} has no split {name!r}; it has {', '.join(self.splits)}")
        if name not in self._splits:
            key = f"{name}/zarr.json"
            self._splits[name] = parse(SplitRecord, attributes_of(self._metadata(key)), key)
        return self._splits[name]

    def teachers(self, split: str) -> tuple[str, ...]:
        """Names of the teachers in a split."""
        self.split(split)
        names = sorted(self.backend.names(f"{split}/teachers") - {"zarr.json"})
        return tuple(name for name in names if self._primary(split, name) is not None)

    def labels(self, split: str, kind: Literal["clean", "noisy"] = "clean") -> npt.NDArray[np.int64]:
        """Labels of a split's samples, int64 (samples,); :class:`InputError` where there are no noisy ones."""
        return read_samples(self.backend, self.split(split), "noisy_labels" if kind == "noisy" else "labels")

    def index(self, split: str) -> npt.NDArray[np.int64]:
        """Each sample's index in the full data set, int64 (samples,)."""
        return read_samples(self.backend, self.split(split), "index")

    def logits(self, teacher: str, split: str = "train") -> LogitsReader:
        """The logits of a teacher in a split.

        Raises:
            InputError: there is no such teacher or split.
            DamageError: the teacher's metadata is not what was written.
        """
        self.split(split)
        primary = self._primary(split, teacher) if is_key(teacher) and "/" not in teacher else None
        if primary is None:
            known = ", ".join(self.teachers(split)) or "none"
            raise InputError(f"{self.url} has no teacher {teacher!r} in split {split!r}; it has {known}")
        return LogitsReader(self.backend, self.url, split, self._teacher(split, teacher, primary), self.stage)

    def classifier(self, teacher: str, split: str = "train") -> dict[str, FloatArray]:
        """The teacher's last layer, ``weight`` (class, feature) and ``bias`` (class,), empty where not kept."""
        path = teacher_path(split, teacher)
        names = (n for n in ("weight", "bias") if self.backend.size(f"{path}/classifier_{n}/zarr.json") is not None)
        return {name: read_whole(self.backend, f"{path}/classifier_{name}").astype(np.float32) for name in names}

    def transform(self, teacher: str, split: str = "train") -> dict[str, npt.NDArray[Any]]:
        """``basis`` (component, class), ``mean`` (class,) and ``spread`` (component,), empty where not spectral."""
        return stored_transform(self.backend, teacher_path(split, teacher), self.logits(teacher, split).encoding)

    def wholes(self, teacher: str, split: str = "train") -> dict[str, npt.NDArray[Any]]:
        """All arrays of a teacher that are not cut in blocks, by name."""
        path = teacher_path(split, teacher)
        names = (n for n in WHOLE_ARRAYS if self.backend.size(f"{path}/{n}/zarr.json") is not None)
        return {name: read_whole(self.backend, f"{path}/{name}") for name in names}

    def whole_bytes(self, teacher: str, split: str = "train") -> int:
        """What the arrays of a teacher that are not cut in blocks take on disk, in bytes."""
        path = teacher_path(split, teacher)
        present = self.backend.names(path) & set(WHOLE_ARRAYS)
        return sum(whole_bytes(self.backend, f"{path}/{name}") for name in sorted(present))

    def _teacher(self, split: str, name: str, primary: str) -> TeacherRecord:
        """What is recorded of a teacher, compared with its digests when it is first asked for."""
        path = teacher_path(split, name)
        if path not in self._teachers:
            key = f"{path}/zarr.json"
            metadata = check_digests(self.backend, f"{path}/{primary}")
            record = TeacherRecord.from_json(attributes_of(_present(key, metadata.get(key))))
            if record.samples != self.split(split).samples:
                raise DamageError(f"{key} is damaged: it is of {record.samples} samples, the split is not")
            self._teachers[path] = record
        return self._teachers[path]

    def _primary(self, split: str, teacher: str) -> str | None:
        """The array in whose folder a teacher's digests and commits stand; None where its creation was not finished."""
        path = teacher_path(split, teacher)
        if path not in self._primaries:
            found = (n for n in PRIMARY_ARRAYS if self.backend.size(digests_key(f"{path}/{n}")) is not None)
            primary = next(found, None)
            if primary is None:
                return None
            self._primaries[path] = primary
        return self._primaries[path]

    def _metadata(self, key: str) -> bytes:
        """A metadata object that must be there."""
        known = None if self._opened is None else self._opened.metadata.get(key)
        return known if known is not None else _present(key, self.backend.get(key))


def open_store(url: Address, *, stage: Stage | Path | str | None = None) -> Store:
    """Open a store read-only and compare its metadata, labels and indices with their digests.

    Args:
        url: its folder, or its address in an object store, as ``s3://bucket/prefix``.
        stage: keeps copies of the shards that are read, on a disk of this machine; or the folder of one.

    Raises:
        InputError: there is no store, or it is of a format this version does not read; or the stage cannot be used.
        DamageError: metadata, labels or indices are not what was written.
        RemoteError: the object store cannot be reached, or refuses.
    """
    return open_as(Store, url, stage)


def open_as(kind: type[S], url: Address, stage: Stage | Path | str | None) -> S:
    """The store as :func:`open_store` opens it, of a class of one's own."""
    url = as_address(url)
    backend = open_backend(url)
    opened = _look_at(url, backend)
    return kind(url, backend, as_stage(stage), opened)


def _look_at(url: Address, backend: Backend) -> Opened:
    """Read and compare what a store says it is."""
    data = backend.get("zarr.json")
    if data is None:
        raise InputError(f"{url} is not a logit store: it has no zarr.json")
    metadata, splits = {"zarr.json": data}, _split_names(backend)
    for split in splits:  # before anything is made of what the metadata say
        metadata |= check_digests(backend, f"{split}/labels", metadata)
    version = _version(data)
    if version is None:
        raise InputError(f"{url} is a Zarr group, but not a logit store")
    if version != schema.FORMAT_VERSION:
        raise InputError(f"{url} has format version {version}; this logitcache reads {schema.FORMAT_VERSION}")
    return Opened(splits, metadata)


def _split_names(backend: Backend) -> tuple[str, ...]:
    """Names of the splits whose creation was finished."""
    names = sorted(backend.names("") - {"zarr.json"})
    return tuple(n for n in names if backend.size(digests_key(f"{n}/labels")) is not None)


def _version(root: bytes) -> int | None:
    """The format version in a root group's metadata."""
    version = attributes_of(root).get("format_version")
    return version if isinstance(version, int) else None


def _present(key: str, data: bytes | None) -> bytes:
    """An object that must be there."""
    if data is None:
        raise DamageError(f"{key} is missing")
    return data
