"""Read a store: what it holds, and whose logits."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

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
from logitcache.store.wholes import read_samples, read_whole, stored_transform, whole_bytes

__all__ = ["LogitsReader", "Store", "open_store"]

FloatArray = npt.NDArray[np.float32]


class Store:
    """A store, opened read-only; its metadata has been compared with its digests."""

    def __init__(self, url: Address, backend: Backend) -> None:
        self.url, self.backend = str(url), backend
        root = attributes_of(_metadata(backend, "zarr.json"))
        known = {key: value for key, value in root.items() if key != "format_version"}
        self.record = parse(StoreRecord, known, "zarr.json")
        self._splits: dict[str, SplitRecord] = {}

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
        return _split_names(self.backend)

    def split(self, name: str) -> SplitRecord:
        """What is recorded of a split.

        Raises:
            InputError: there is no such split.
        """
        if name not in self.splits:
            raise InputError(f"{self.url} has no split {name!r}; it has {', '.join(self.splits)}")
        if name not in self._splits:
            key = f"{name}/zarr.json"
            self._splits[name] = parse(SplitRecord, attributes_of(_metadata(self.backend, key)), key)
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
        path = teacher_path(split, teacher)
        check_digests(self.backend, f"{path}/{primary}")
        record = TeacherRecord.from_json(attributes_of(_metadata(self.backend, f"{path}/zarr.json")))
        if record.samples != self.split(split).samples:
            raise DamageError(f"{path}/zarr.json is damaged: it is of {record.samples} samples, the split is not")
        return LogitsReader(self.backend, self.url, split, record)

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
        return sum(whole_bytes(self.backend, f"{path}/{name}") for name in WHOLE_ARRAYS)

    def _primary(self, split: str, teacher: str) -> str | None:
        """The array in whose folder a teacher's digests and commits stand; None where its creation was not finished."""
        path = teacher_path(split, teacher)
        found = (n for n in PRIMARY_ARRAYS if self.backend.size(digests_key(f"{path}/{n}")) is not None)
        return next(found, None)


def open_store(url: Address) -> Store:
    """Open a store read-only and compare its metadata, labels and indices with their digests.

    ``url`` is its folder, or its address in an object store, as ``s3://bucket/prefix``.

    Raises:
        InputError: there is no store, or it is of a format this version does not read.
        DamageError: metadata, labels or indices are not what was written.
        RemoteError: the object store cannot be reached, or refuses.
    """
    url = as_address(url)
    backend = open_backend(url)
    data = backend.get("zarr.json")
    if data is None:
        raise InputError(f"{url} is not a logit store: it has no zarr.json")
    for split in _split_names(backend):  # before anything is made of what the metadata say
        check_digests(backend, f"{split}/labels")
    version = _version(data)
    if version is None:
        raise InputError(f"{url} is a Zarr group, but not a logit store")
    if version != schema.FORMAT_VERSION:
        raise InputError(f"{url} has format version {version}; this logitcache reads {schema.FORMAT_VERSION}")
    return Store(url, backend)


def _split_names(backend: Backend) -> tuple[str, ...]:
    """Names of the splits whose creation was finished."""
    names = sorted(backend.names("") - {"zarr.json"})
    return tuple(n for n in names if backend.size(digests_key(f"{n}/labels")) is not None)


def _version(root: bytes) -> int | None:
    """The format version in a root group's metadata."""
    version = attributes_of(root).get("format_version")
    return version if isinstance(version, int) else None


def _metadata(backend: Backend, key: str) -> bytes:
    """A metadata object that must be there."""
    data = backend.get(key)
    if data is None:
        raise DamageError(f"{key} is missing")
    return data
