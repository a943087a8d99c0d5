"""The store format, version 1, on one page.

A store is a Zarr v3 group that any Zarr reader opens::

    STORE/zarr.json                         attributes: format version, data set, class names, view policy
    STORE/<split>/zarr.json                 attributes: samples, fingerprint of the samples, probe of the views
    STORE/<split>/labels                    (sample) int64
    STORE/<split>/index                     (sample) int64, each sample's index in the full data set
    STORE/<split>/labels/digests.json       SHA-256 of all of the above
    STORE/<split>/teachers/<name>/zarr.json attributes: teacher, encoding, block rows
        logits                              (view, sample, class) codes, one shard a block
        features                            (view, sample, feature) float16, optional, penultimate features
        classifier_weight, classifier_bias  float32, optional, the network's last layer
        logits/digests.json                 SHA-256 of the teacher's metadata and of its classifier
        logits/commits/<view>/<block>.json  one commit a block, for all its arrays
        logits/commits/<view>.json          a finished view's commits, folded into one record

- View 0 is the clean view, views 1, 2, ... are augmented.
- A **block** is one view of ``block_rows`` consecutive samples; in each array it is one shard file. A block
  exists when its commit does; a shard without a commit is no data.
- ``logits`` of the uniform encoding are integers with CF's ``scale_factor``: logit = code * scale_factor. The
  type's minimum is ``fill_value`` and ``_FillValue``, means *missing*, and is never a code. Lossless logits and
  features are missing where they are NaN.
- Inside a shard each inner chunk is serialised by PCodec and guarded by crc32c.
- JSON objects of ours end in a digest of themselves: ``{"record": ..., "sha256": ...}`` over canonical JSON.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.buffer import cpu
from zarr.codecs import Crc32cCodec
from zarr.codecs.numcodecs import PCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from logitcache.errors import DamageError
from logitcache.records import canonical_json, sha256
from logitcache.store.encodings import Encoding, fill_value

__all__ = [
    "FORMAT_VERSION",
    "ArraySpec",
    "array_objects",
    "block_shape",
    "feature_spec",
    "group_objects",
    "logits_spec",
    "pack",
    "shard_key",
    "shard_to_values",
    "unpack",
    "values_to_shard",
    "whole_array_objects",
]

FORMAT_VERSION = 1

_CHUNK_VALUES = 1 << 19
_LEVEL = 8
_BLOCK = "block/c/0/0/0"

# Known, and said in the documentation: readers need numcodecs. One line for each array would drown the rest.
warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr version 3")


@dataclass(frozen=True)
class ArraySpec:
    """An array that is cut in blocks: (view, sample, last) with one shard a block."""

    name: str
    shape: tuple[int, int, int]
    block_rows: int
    chunk_rows: int
    dtype: str
    fill: float | int
    last: str
    attributes: tuple[tuple[str, Any], ...] = ()

    @property
    def blocks(self) -> int:
        """Blocks a view."""
        return math.ceil(self.shape[1] / self.block_rows)


def block_shape(samples: int, width: int, target_rows: int) -> tuple[int, int]:
    """(rows of a block, rows of an inner chunk) for arrays of ``width`` values a row.

    Blocks are of nearly equal size, at most ``target_rows`` rounded up to whole chunks; chunks hold up to
    2**19 values, fewer compress worse and more are slow to read in part.
    """
    blocks = max(1, math.ceil(samples / target_rows))
    rows = max(1, math.ceil(samples / blocks))
    chunks = math.ceil(rows / max(1, _CHUNK_VALUES // width))
    chunk_rows = math.ceil(rows / chunks)
    return chunk_rows * math.ceil(rows / chunk_rows), chunk_rows


def logits_spec(encoding: Encoding, shape: tuple[int, int, int], block_rows: int, chunk_rows: int) -> ArraySpec:
    """The array of logits; the CF attributes let xarray decode it by itself."""
    fill = fill_value(encoding)
    cf = (("scale_factor", encoding.step), ("_FillValue", fill)) if encoding.kind == "uniform" else ()
    return ArraySpec("logits", shape, block_rows, chunk_rows, encoding.dtype, fill, "class", cf)


def feature_spec(shape: tuple[int, int, int], block_rows: int) -> ArraySpec:
    """The array of penultimate features, cut in the same blocks as the logits."""
    chunks = max(1, math.ceil(block_rows * shape[2] / _CHUNK_VALUES))
    while block_rows % chunks:
        chunks += 1
    return ArraySpec("features", shape, block_rows, block_rows // chunks, "float16", math.nan, "feature")


def shard_key(name: str, view: int, block: int) -> str:
    """The key of a block's shard below the teacher's folder."""
    return f"{name}/c/{view}/{block}/0"


def values_to_shard(values: npt.NDArray[Any], spec: ArraySpec) -> bytes:
    """The bytes of the shard that holds ``values`` (rows, last), padded with the fill value to a whole chunk."""
    objects: dict[str, Buffer] = {}
    array = _create(MemoryStore(objects), "block", spec, (1, spec.block_rows, spec.shape[2]))
    array[0, : len(values)] = values
    return objects[_BLOCK].to_bytes()


def shard_to_values(data: bytes, spec: ArraySpec, rows: int) -> npt.NDArray[Any]:
    """The first ``rows`` rows of a shard; the caller has compared the bytes with their digest."""
    objects: dict[str, Buffer] = {}
    array = _create(MemoryStore(objects), "block", spec, (1, spec.block_rows, spec.shape[2]))
    objects[_BLOCK] = cpu.Buffer.from_bytes(data)
    return np.asarray(array[0, :rows])


def array_objects(path: str, spec: ArraySpec) -> dict[str, bytes]:
    """The metadata object of an array at ``path``, by key."""
    objects: dict[str, Buffer] = {}
    _create(MemoryStore(objects), path, spec, spec.shape)
    return _below(objects, path)


def whole_array_objects(path: str, values: npt.NDArray[Any], dimension_names: tuple[str, ...]) -> dict[str, bytes]:
    """Metadata and data of an array that is not cut in blocks, by key."""
    objects: dict[str, Buffer] = {}
    array = zarr.create_array(
        MemoryStore(objects),
        name=path,
        shape=values.shape,
        chunks=tuple(max(1, n) for n in values.shape),
        dtype=values.dtype,
        filters=[],
        serializer=PCodec(level=_LEVEL),
        compressors=[Crc32cCodec()],
        dimension_names=dimension_names,
        config={"write_empty_chunks": True},
    )
    array[...] = values
    return _below(objects, path)


def group_objects(path: str, attributes: Mapping[str, Any]) -> dict[str, bytes]:
    """The metadata object of a group at ``path`` (empty for the root), by key."""
    objects: dict[str, Buffer] = {}
    zarr.create_group(MemoryStore(objects), path=path, attributes=dict(attributes))
    key = f"{path}/zarr.json" if path else "zarr.json"
    return {key: objects[key].to_bytes()}


def pack(record: Any) -> bytes:
    """A record as JSON with its own digest."""
    return canonical_json({"record": record, "sha256": sha256(canonical_json(record))}) + b"\n"


def unpack(data: bytes, name: str) -> Any:
    """The record of :func:`pack`.

    Raises:
        DamageError: the text is not what was written; the message names it.
    """
    try:
        document = json.loads(data)
        intact = document["sha256"] == sha256(canonical_json(document["record"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError(f"{name} is damaged: {error}") from error
    if not intact:
        raise DamageError(f"{name} is damaged: its digest does not match its content")
    return document["record"]


def _create(store: MemoryStore, path: str, spec: ArraySpec, shape: tuple[int, ...]) -> zarr.Array[Any]:
    """An array with the codecs of a spec."""
    last = spec.shape[2]
    return zarr.create_array(
        store,
        name=path,
        shape=shape,
        shards=(1, spec.block_rows, last),
        chunks=(1, spec.chunk_rows, last),
        dtype=spec.dtype,
        filters=[],
        serializer=_serializer(),
        compressors=[Crc32cCodec()],
        fill_value=spec.fill,
        dimension_names=("view", "sample", spec.last),
        attributes=dict(spec.attributes),
        # An unwritten chunk must stay distinguishable from a chunk of fill values.
        config={"write_empty_chunks": True},
    )


def _serializer() -> Any:
    """PCodec in the mode that suits quantised logits best: classic, no delta (measured)."""
    return PCodec(level=_LEVEL, mode_spec="classic", delta_spec="none")


def _below(objects: Mapping[str, Buffer], path: str) -> dict[str, bytes]:
    """The objects under a path, by key; Zarr also makes the groups above it."""
    return {key: data.to_bytes() for key, data in objects.items() if key.startswith(f"{path}/")}
