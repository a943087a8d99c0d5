"""What a store says it is: its data set, splits and teachers, as frozen records and as Zarr objects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.errors import InputError
from logitcache.store import schema
from logitcache.store.encodings import Encoding
from logitcache.store.schema import ArraySpec

__all__ = ["ATTRIBUTE", "UNKNOWN", "SplitRecord", "StoreRecord", "TeacherRecord", "attributes_of", "teacher_path"]

UNKNOWN = "unknown"
"""What stands where an import could not tell: fingerprints, view policy, model, weights."""

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
    """The samples of a split: their count, a fingerprint of them, and a hash of a few rendered views."""

    name: str
    samples: int
    fingerprint: str
    probe: str | None = None

    def __post_init__(self) -> None:
        _check_name("split", self.name)

    def objects(self, labels: npt.NDArray[np.int64], index: npt.NDArray[np.int64]) -> dict[str, bytes]:
        """The split's group with its labels and indices, both (samples,)."""
        for name, values in (("labels", labels), ("indices", index)):
            if values.shape != (self.samples,):
                raise InputError(f"split {self.name!r} has {self.samples} samples but {values.size} {name}")
        return {
            **schema.group_objects(self.name, {ATTRIBUTE: asdict(self)}),
            **schema.whole_array_objects(f"{self.name}/labels", labels.astype(np.int64), ("sample",)),
            **schema.whole_array_objects(f"{self.name}/index", index.astype(np.int64), ("sample",)),
            **schema.group_objects(f"{self.name}/teachers", {}),
        }


@dataclass(frozen=True)
class TeacherRecord:
    """A teacher in a split: where its logits come from and how they are stored.

    ``weights`` is the fingerprint of the network's weights, ``views`` counts the clean view too, ``features``
    is the width of the penultimate features or 0 where they are not stored.
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

    def __post_init__(self) -> None:
        _check_name("teacher", self.name)

    @property
    def logits(self) -> ArraySpec:
        """The array of logits."""
        shape = (self.views, self.samples, self.classes)
        return schema.logits_spec(self.encoding, shape, self.block_rows, self.chunk_rows)

    @property
    def arrays(self) -> dict[str, ArraySpec]:
        """All arrays that are cut in blocks, by name."""
        arrays = {"logits": self.logits}
        if self.features:
            shape = (self.views, self.samples, self.features)
            arrays["features"] = schema.feature_spec(shape, self.block_rows)
        return arrays

    def objects(self, split: str, classifier: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, bytes]:
        """The teacher's group, its arrays' metadata, and the classifier: weight (class, feature), bias (class)."""
        path = teacher_path(split, self.name)
        objects = schema.group_objects(path, {ATTRIBUTE: asdict(self)})
        for spec in self.arrays.values():
            objects.update(schema.array_objects(f"{path}/{spec.name}", spec))
        for name, values in classifier.items():
            dimensions = ("class", "feature")[: values.ndim]
            objects.update(schema.whole_array_objects(f"{path}/classifier_{name}", values, dimensions))
        return objects

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> TeacherRecord:
        """The record of a teacher's group, read back."""
        fields = {**record, "encoding": Encoding(**record["encoding"]), "taus": tuple(record["taus"])}
        return TeacherRecord(**fields)


def teacher_path(split: str, teacher: str) -> str:
    """The folder of a teacher in a split."""
    return f"{split}/teachers/{teacher}"


def attributes_of(metadata: bytes) -> Mapping[str, Any]:
    """Our record in a group's ``zarr.json``, empty where there is none."""
    record = json.loads(metadata).get("attributes", {}).get(ATTRIBUTE, {})
    return record if isinstance(record, dict) else {}


def _check_name(what: str, name: str) -> None:
    """Refuse names that are no plain folder of a store."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
        raise InputError(f"{what} name {name!r}: letters, digits, - _ . (at most 100, the first no - or .)")
