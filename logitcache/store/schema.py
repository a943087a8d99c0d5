"""The store format, version 1, on one page.

A store is a Zarr v3 group that any Zarr reader opens::

    STORE/zarr.json                         attributes: format version, data set, class names, view policy
    STORE/<split>/zarr.json                 attributes: samples, fingerprint of the samples, probe of the views
    STORE/<split>/labels                    (sample) int64
    STORE/<split>/index                     (sample) int64, each sample's index in the full data set
    STORE/<split>/labels/digests.json       SHA-256 of all of the above
    STORE/<split>/teachers/<name>/zarr.json attributes: teacher, encoding, block rows
        logits                              (view, sample, class) codes of uniform and lossless
        coefficients, level                 (view, component, sample), (view, sample) codes of spectral
        head_classes, head_values           (view, head, sample) spectral: the top entries of each row
        basis, mean, spread                 (component, class), (class), (component) spectral: the transform
        top_values, top_classes, tail       (view, rank, sample) twice, (view, sample) topk
        features                            (view, sample, feature) codes, optional, penultimate features
        classifier_weight, classifier_bias  float32, optional, the network's last layer
        <primary>/digests.json              SHA-256 of the teacher's metadata and of its arrays that are not cut
        <primary>/commits/<view>/<block>.json  one commit a block, for all its arrays
        <primary>/commits/<view>.json       a finished view's commits, folded into one record

- View 0 is the clean view, views 1, 2, ... are augmented.
- A **block** is one view of ``block_rows`` consecutive samples; in each array it is one shard file. A block
  exists when its commit does; a shard without a commit is no data.
- ``<primary>`` is the array that holds most of a block: ``logits``, ``coefficients`` or ``top_values``.
- Integer codes carry CF's ``scale_factor``: value = code * scale_factor. The type's minimum is ``fill_value`` and
  ``_FillValue``, means *missing*, and is never a code. Floating-point numbers are missing where they are NaN.
- **spectral**: logits = mean + 2**-level * coefficients @ basis. With a head, the entries of a row are code *
  scale_factor, the first code stored as it is, the others as gaps below the one before; entry r is lowered by r / 64
  of a step, which keeps equal codes in order; all of it times 2**-level. Clamp to what would be the next entry at the
  last one's code, then set the entries.
- **topk**: natural logarithms of probabilities at tau = 1, in descending order, and of what is left over.
- Inside a shard each inner chunk is serialised by PCodec, or by Blosc where the codec is ``portable``, and guarded by
  crc32c. Of arrays that are not cut in blocks, matrices have chunks of 64 rows and vectors are one chunk.
- JSON objects of ours end in a digest of themselves: ``{"record": ..., "sha256": ...}`` over canonical JSON.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.buffer import cpu
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec
from zarr.codecs.numcodecs import PCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from logitcache.store.encodings import Encoding, fill_value
from logitcache.store.encodings.topk import class_dtype

__all__ = [
    "FORMAT_VERSION",
    "ArraySpec",
    "Cut",
    "array_objects",
    "block_shape",
    "chunks_to_whole",
    "feature_spec",
    "group_objects",
    "logits_specs",
    "shard_to_values",
    "values_to_shard",
    "whole_array_objects",
    "whole_key",
]

FORMAT_VERSION = 1

_CHUNK_VALUES = 1 << 19
_BLOCK_VALUES = 1 << 26
_BAND = 64
_BANDED_ROWS = 1 << 14
_LEVEL = 8
_BLOSC_LEVEL = 5

# Known, and said in the documentation: readers need numcodecs. One line for each array would drown the rest.
warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr version 3")


@dataclass(frozen=True)
class ArraySpec:
    """An array that is cut in blocks: one view of ``block_rows`` samples is one shard, ``chunk`` an inner chunk."""

    name: str
    shape: tuple[int, ...]
    dimensions: tuple[str, ...]
    block_rows: int
    chunk: tuple[int, ...]
    dtype: str
    fill: float | int
    codec: str = "pcodec"
    attributes: tuple[tuple[str, Any], ...] = ()

    @property
    def axis(self) -> int:
        """The axis of samples."""
        return self.dimensions.index("sample")

    @property
    def blocks(self) -> int:
        """Blocks a view."""
        return math.ceil(self.shape[self.axis] / self.block_rows)

    @property
    def shard(self) -> tuple[int, ...]:
        """The shape of a shard: whole chunks."""
        sides = [math.ceil(n / chunk) * chunk for n, chunk in zip(self.shape, self.chunk, strict=True)]
        sides[0], sides[self.axis] = 1, self.block_rows
        return tuple(sides)

    def key(self, view: int, block: int) -> str:
        """The key of a block's shard below the teacher's folder."""
        place = [view] + [0] * (len(self.shape) - 1)
        place[self.axis] = block
        return f"{self.name}/c/{'/'.join(map(str, place))}"


def block_shape(samples: int, width: int, target_rows: int) -> tuple[int, int]:
    """(rows of a block, rows of an inner chunk) for arrays of ``width`` values a row.

    Blocks are of nearly equal size, at most ``target_rows`` rounded up to whole chunks, fewer where rows are so wide
    that a block would take more than 2**26 values; chunks hold up to 2**19 values, fewer compress worse and more are
    slow to read in part.
    """
    blocks = max(1, math.ceil(samples / max(1, min(target_rows, _BLOCK_VALUES // width))))
    rows = max(1, math.ceil(samples / blocks))
    chunks = math.ceil(rows / max(1, _CHUNK_VALUES // width))
    chunk_rows = math.ceil(rows / chunks)
    return chunk_rows * math.ceil(rows / chunk_rows), chunk_rows


@dataclass(frozen=True)
class Cut:
    """How the arrays of a teacher are cut: views, samples, and rows of a block and of an inner chunk."""

    views: int
    samples: int
    block_rows: int
    chunk_rows: int


@dataclass(frozen=True)
class _Column:
    """What an array holds of each sample: one number, or ``width`` of a dimension of its own."""

    name: str
    dtype: str
    dimension: str = ""
    width: int = 0
    step: float = 0.0
    by_row: bool = False


def logits_specs(encoding: Encoding, classes: int, cut: Cut) -> dict[str, ArraySpec]:
    """The arrays of a block's logits, by name, the primary one first."""
    kind, whole = encoding.dtype, class_dtype(classes)
    if encoding.kind == "spectral":
        columns = [_Column("coefficients", kind, "component", encoding.components, encoding.step)]
        if encoding.max_kl is not None:
            columns.append(_Column("level", "int16"))
        if encoding.head:
            columns.append(_Column("head_classes", whole, "head", encoding.head))
            columns.append(_Column("head_values", "int32", "head", encoding.head, encoding.head_step))
    elif encoding.kind == "topk":
        entries = min(encoding.entries, classes)
        columns = [
            _Column("top_values", kind, "rank", entries),
            _Column("top_classes", whole, "rank", entries),
            _Column("tail", "float32"),
        ]
    else:
        columns = [_Column("logits", kind, "class", classes, encoding.step, by_row=True)]
    return {column.name: _spec(column, encoding.codec, cut) for column in columns}


def feature_spec(width: int, step: float, codec: str, cut: Cut) -> ArraySpec:
    """The array of penultimate features: codes of a step, or float16 where that is 0."""
    chunks = min(cut.block_rows, max(1, math.ceil(cut.block_rows * width / _CHUNK_VALUES)))
    while cut.block_rows % chunks:
        chunks += 1
    column = _Column("features", "int16" if step else "float16", "feature", width, step, by_row=True)
    return _spec(column, codec, replace(cut, chunk_rows=cut.block_rows // chunks))


def _spec(column: _Column, codec: str, cut: Cut) -> ArraySpec:
    """Whole rows in a chunk, or a band of what is alike: it compresses together."""
    rows = _banded_rows(cut.block_rows)
    dimensions: tuple[str, ...]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    if not column.dimension:
        dimensions, shape, chunk = ("view", "sample"), (cut.views, cut.samples), (1, rows)
    elif column.by_row:
        dimensions, shape = ("view", "sample", column.dimension), (cut.views, cut.samples, column.width)
        chunk = (1, cut.chunk_rows, column.width)
    else:
        bands = max(1, math.ceil(column.width / (_BAND if column.dimension == "component" else 1)))
        dimensions, shape = ("view", column.dimension, "sample"), (cut.views, column.width, cut.samples)
        chunk = (1, math.ceil(column.width / bands), rows)
    return ArraySpec(
        name=column.name,
        shape=shape,
        dimensions=dimensions,
        block_rows=cut.block_rows,
        chunk=chunk,
        dtype=column.dtype,
        fill=fill_value(column.dtype),
        codec=codec,
        attributes=_cf(column.dtype, column.step),
    )


def _banded_rows(block_rows: int) -> int:
    """Rows of a chunk of a banded array: all of the block's, or an equal part of them where they are many."""
    parts = math.ceil(block_rows / _BANDED_ROWS)
    while block_rows % parts:
        parts += 1
    return block_rows // parts


def _cf(dtype: str, step: float) -> tuple[tuple[str, Any], ...]:
    """The attributes by which CF readers decode integers by themselves."""
    if not dtype.startswith("int"):
        return ()
    missing = (("_FillValue", fill_value(dtype)),)
    return (("scale_factor", step), *missing) if step else missing


def values_to_shard(values: npt.NDArray[Any], spec: ArraySpec) -> bytes:
    """The bytes of the shard that holds a block's values, padded with the fill value to whole chunks."""
    objects: dict[str, Buffer] = {}
    array = _create(MemoryStore(objects), "block", spec, (1, *_side(spec, spec.block_rows)))
    array[_rows(spec, values.shape[spec.axis - 1])] = values
    return objects[_block_key(spec)].to_bytes()


def shard_to_values(data: bytes, spec: ArraySpec, rows: int) -> npt.NDArray[Any]:
    """The first ``rows`` samples of a shard; the caller has compared the bytes with their digest.

    Raises:
        ValueError: the bytes are no shard.
    """
    if not data:  # Zarr would find everything missing
        raise ValueError("it is empty")
    objects: dict[str, Buffer] = {}
    array = _create(MemoryStore(objects), "block", spec, (1, *_side(spec, spec.block_rows)))
    objects[_block_key(spec)] = cpu.Buffer.from_bytes(data)
    return np.asarray(_decoded(array, _rows(spec, rows)))


def _side(spec: ArraySpec, rows: int) -> tuple[int, ...]:
    """The shape of a block of ``rows`` samples, without the view."""
    return (*spec.shape[1 : spec.axis], rows, *spec.shape[spec.axis + 1 :])


def _rows(spec: ArraySpec, rows: int) -> tuple[int | slice[int, int, None], ...]:
    """The selection of a block's first samples in the only view."""
    return (0, *(slice(0, n) for n in _side(spec, rows)))


def _block_key(spec: ArraySpec) -> str:
    """The key of the only shard of a block on its own."""
    return "block/c/" + "/".join("0" * len(spec.shape))


def array_objects(path: str, spec: ArraySpec) -> dict[str, bytes]:
    """The metadata object of an array at ``path``, by key."""
    objects: dict[str, Buffer] = {}
    _create(MemoryStore(objects), path, spec, spec.shape)
    return _below(objects, path)


def whole_array_objects(
    path: str, values: npt.NDArray[Any], dimension_names: tuple[str, ...], codec: str = "portable"
) -> dict[str, bytes]:
    """Metadata and data of an array that is not cut in blocks, by key; of a matrix, 64 rows are a chunk."""
    objects: dict[str, Buffer] = {}
    array = zarr.create_array(
        MemoryStore(objects),
        name=path,
        shape=values.shape,
        chunks=(min(_BAND, len(values)), max(1, values.shape[1])) if values.ndim == 2 else (max(1, len(values)),),
        dtype=values.dtype,
        filters=[],
        **_codecs(codec, PCodec(level=_LEVEL)),
        dimension_names=dimension_names,
        config={"write_empty_chunks": True},
    )
    array[...] = values
    return _below(objects, path)


def chunks_to_whole(
    chunks: Sequence[bytes], shape: tuple[int, ...], chunk: tuple[int, ...], dtype: str, codec: str
) -> npt.NDArray[Any]:
    """An array that is not cut in blocks, from its chunks in order; ValueError where they hold no such array."""
    objects: dict[str, Buffer] = {}
    array = zarr.create_array(
        MemoryStore(objects),
        name="whole",
        shape=shape,
        chunks=chunk,
        dtype=dtype,
        filters=[],
        **_codecs(codec, PCodec(level=_LEVEL)),
    )
    for number, data in enumerate(chunks):
        objects[f"whole/{whole_key(number, len(shape))}"] = cpu.Buffer.from_bytes(data)
    return np.asarray(_decoded(array, ...))


def whole_key(number: int, axes: int) -> str:
    """The key of a chunk of an array that is not cut in blocks, below the array's folder."""
    return "/".join(["c", str(number), *["0"] * (axes - 1)])


def _decoded(array: zarr.Array[Any], selection: Any) -> Any:
    """The values of a selection; whatever Zarr and its codecs raise is a ValueError."""
    try:
        return array[selection]
    except (RuntimeError, TypeError) as error:
        raise ValueError(str(error)) from error


def group_objects(path: str, attributes: Mapping[str, Any]) -> dict[str, bytes]:
    """The metadata object of a group at ``path`` (empty for the root), by key."""
    objects: dict[str, Buffer] = {}
    zarr.create_group(MemoryStore(objects), path=path, attributes=dict(attributes))
    key = f"{path}/zarr.json" if path else "zarr.json"
    return {key: objects[key].to_bytes()}


def _create(store: MemoryStore, path: str, spec: ArraySpec, shape: tuple[int, ...]) -> zarr.Array[Any]:
    """An array with the codecs of a spec."""
    return zarr.create_array(
        store,
        name=path,
        shape=shape,
        shards=spec.shard,
        chunks=spec.chunk,
        dtype=spec.dtype,
        filters=[],
        **_codecs(spec.codec, _serializer()),
        fill_value=spec.fill,
        dimension_names=spec.dimensions,
        attributes=dict(spec.attributes),
        # An unwritten chunk must stay distinguishable from a chunk of fill values.
        config={"write_empty_chunks": True},
    )


def _serializer() -> Any:
    """PCodec in the mode that suits quantised logits best: classic, no delta (measured)."""
    return PCodec(level=_LEVEL, mode_spec="classic", delta_spec="none")


def _codecs(codec: str, pcodec: Any) -> dict[str, Any]:
    """Serializer and compressors of an inner chunk."""
    if codec == "pcodec":
        return {"serializer": pcodec, "compressors": [Crc32cCodec()]}
    blosc = BloscCodec(cname="zstd", clevel=_BLOSC_LEVEL, shuffle="shuffle")
    return {"serializer": BytesCodec(), "compressors": [blosc, Crc32cCodec()]}


def _below(objects: Mapping[str, Buffer], path: str) -> dict[str, bytes]:
    """The objects under a path, by key; Zarr also makes the groups above it."""
    return {key: data.to_bytes() for key, data in objects.items() if key.startswith(f"{path}/")}
