"""What a store says it is: its data set, splits and teachers, as frozen records and as Zarr objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.errors import InputError
from logitcache.store import layout, schema
from logitcache.store.documents import check_shape, parse, read_attributes
from logitcache.store.encodings import Encoding
from logitcache.store.groups import Groups
from logitcache.store.layout import ArraySpec

__all__ = [
    "ATTRIBUTE",
    "MOST_BLOCKS",
    "UNKNOWN",
    "WHOLE_ARRAYS",
    "SplitRecord",
    "StoreRecord",
    "TeacherRecord",
    "attributes_of",
    "teacher_path",
]

UNKNOWN = "unknown"
"""What stands where an import could not tell: fingerprints, view policy, model, weights."""

WHOLE_ARRAYS = {
    "basis": ("component", "class"),
    "classifier_bias": ("class",),
    "classifier_weight": ("class", "feature"),
    "mean": ("class",),
    "spread": ("component",),
}
"""Arrays of a teacher that are not cut in blocks, and their dimensions."""

_FEATURE_STEPS = ("feature_step", "feature_relative")

MOST_BLOCKS = 1 << 24
"""Blocks that a teacher may have in a split, of all views."""
_MOST_ROWS = 1 << 26

ATTRIBUTE = "logitcache"
"""The attribute of every group under which our record stands."""


@dataclass(frozen=True)
class StoreRecord:
    """What all splits and teachers of a store share. ``views`` is the view policy without the count of views."""

    dataset: str
    classes: tuple[str, ...]
    views: Mapping[str, Any]

    def objects(self) -> dict[str, bytes]:
        """The root group."""
        record = {"format_version": schema.FORMAT_VERSION, **asdict(self)}
        return schema.group_objects("", {ATTRIBUTE: record})


@dataclass(frozen=True)
class SplitRecord:
    """The samples of a split: their count, a fingerprint of them, and a hash of a few rendered views.

    ``noise`` says what the noisy labels were made by; None where there are none.
    """

    name: str
    samples: int
    fingerprint: str
    probe: str | None = None
    noise: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        _check_name("split", self.name)

    def objects(self, arrays: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, bytes]:
        """The split's group with its arrays (samples,): ``labels``, ``index``, and ``noisy_labels`` with noise."""
        for name, values in arrays.items():
            if values.shape != (self.samples,):
                raise InputError(f"split {self.name!r} has {self.samples} samples but {values.size} {name}")
        if ("noisy_labels" in arrays) != (self.noise is not None):
            raise InputError(f"split {self.name!r}: noisy labels and the record of their noise go together")
        objects = schema.group_objects(self.name, {ATTRIBUTE: self.to_json()})
        for name, values in arrays.items():
            objects |= schema.whole_array_objects(f"{self.name}/{name}", values.astype(np.int64), ("sample",))
        return {**objects, **schema.group_objects(f"{self.name}/teachers", {})}

    def to_json(self) -> dict[str, Any]:
        """The record that the split's group keeps."""
        return {key: value for key, value in asdict(self).items() if key != "noise" or value is not None}


@dataclass(frozen=True)
class TeacherRecord:
    """A teacher in a split: where its logits come from and how they are stored.

    ``weights`` is the fingerprint of the network's weights, ``views`` counts the clean view too, ``features``
    is the width of the penultimate features or 0 where they are not stored, ``feature_step`` their step: each is
    within half of it; 0 where they are float16. ``feature_relative`` is the step asked for, in standard deviations.
    ``commit_group`` is how many blocks have their commits folded into one record, or 0: all of a view.
    """

    name: str
    model: str
    weights: str
    precision: str
    provenance: str
    encoding: Encoding
    views: int
    samples: int
    classes: int
    block_rows: int
    chunk_rows: int
    features: int = 0
    taus: tuple[float, ...] = field(default=())
    feature_step: float = 0.0
    feature_relative: float = 0.0
    commit_group: int = 0

    def __post_init__(self) -> None:
        _check_name("teacher", self.name)
        counts = {name: getattr(self, name) for name in ("views", "samples", "classes", "block_rows", "chunk_rows")}
        for name, value in counts.items():
            most = _MOST_ROWS if name.endswith("rows") else 1 << 40
            if not 1 <= value <= most:
                raise InputError(f"teacher {self.name!r} has {name} {value}; allowed are 1 to {most}")
        if self.chunk_rows > self.block_rows or self.block_rows % self.chunk_rows:
            raise InputError(f"teacher {self.name!r}: {self.block_rows} rows are no chunks of {self.chunk_rows}")
        if self.views * self.blocks > MOST_BLOCKS:
            raise InputError(
                f"teacher {self.name!r} has {self.views} views of {self.blocks} blocks; take larger blocks"
            )
        if not 0 <= self.commit_group <= MOST_BLOCKS:
            raise InputError(
                f"teacher {self.name!r} has commit_group {self.commit_group}; allowed are 0 to {MOST_BLOCKS}"
            )
        for spec in self.arrays.values():
            check_shape(f"{spec.name} of teacher {self.name!r}", spec.shape, spec.shard)

    @property
    def blocks(self) -> int:
        """Blocks a view."""
        return -(-self.samples // self.block_rows)

    @property
    def groups(self) -> Groups:
        """The groups of blocks whose commits are together."""
        return Groups(self.views, self.blocks, self.commit_group)

    @cached_property
    def arrays(self) -> dict[str, ArraySpec]:
        """All arrays that are cut in blocks, by name, the primary one first."""
        cut = layout.Cut(self.views, self.samples, self.block_rows, self.chunk_rows)
        arrays = layout.logits_specs(self.encoding, self.classes, cut)
        if self.features:
            arrays["features"] = layout.feature_spec(self.features, self.feature_step, self.encoding.codec, cut)
        return arrays

    def objects(self, split: str, wholes: Mapping[str, npt.NDArray[Any]]) -> dict[str, bytes]:
        """The teacher's group, its arrays' metadata, and the arrays that are not cut, by name."""
        path = teacher_path(split, self.name)
        objects = schema.group_objects(path, {ATTRIBUTE: self.to_json()})
        for spec in self.arrays.values():
            objects.update(schema.array_objects(f"{path}/{spec.name}", spec))
        for name, values in wholes.items():
            codec = self.encoding.codec
            objects.update(schema.whole_array_objects(f"{path}/{name}", values, WHOLE_ARRAYS[name], codec))
        return objects

    def to_json(self) -> dict[str, Any]:
        """The record that the teacher's group keeps."""
        record = {**asdict(self), "encoding": self.encoding.to_json()}
        absent = {*(() if self.feature_step else _FEATURE_STEPS), *(() if self.commit_group else ("commit_group",))}
        return {key: value for key, value in record.items() if key not in absent}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> TeacherRecord:
        """The record of a teacher's group, read back."""
        return parse(TeacherRecord, record, "zarr.json")


def teacher_path(split: str, teacher: str) -> str:
    """The folder of a teacher in a split."""
    return f"{split}/teachers/{teacher}"


def attributes_of(metadata: bytes) -> Mapping[str, Any]:
    """Our record in a group's ``zarr.json``, empty where there is none."""
    return read_attributes(metadata, "zarr.json", ATTRIBUTE)


def _check_name(what: str, name: str) -> None:
    """Refuse names that are no plain folder of a store."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
        raise InputError(f"{what} name {name!r}: letters, digits, - _ . (at most 100, the first no - or .)")
