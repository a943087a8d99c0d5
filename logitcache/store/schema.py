"""The store format, version 1, on one page.

A store is a Zarr v3 group that any Zarr reader opens::

    STORE/zarr.json                         attributes: format version, data set, class names, view policy
    STORE/<split>/zarr.json                 attributes: samples, fingerprint of the samples, probe of the views, noise
    STORE/<split>/labels                    (sample) int64, the clean ones
    STORE/<split>/noisy_labels              (sample) int64, optional: where the split's record has its ``noise``
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
        <primary>/commits/<group>/<block>.json  one commit a block, for all its arrays
        <primary>/commits/<group>.json      a finished group's commits, folded into one record
        <primary>/commits/repairs/<group>/<block>.<number>.json  the commit of a block that was written anew

- View 0 is the clean view, views 1, 2, ... are augmented.
- A **block** is one view of ``block_rows`` consecutive samples; in each array it is one shard file. A block
  exists when its commit does; a shard without a commit is no data.
- A **group** is all blocks of a view, and is named ``<view>``; or where the teacher's record has a ``commit_group``, as
  with more than 1024 blocks a view, so many consecutive ones, named ``<view>.<number>``.
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

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.buffer import cpu
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec
from zarr.codecs.numcodecs import PCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from logitcache.store.layout import ArraySpec

__all__ = [
    "FORMAT_VERSION",
    "array_objects",
    "chunks_to_whole",
    "group_objects",
    "shard_to_values",
    "values_to_shard",
    "whole_array_objects",
    "whole_key",
]

FORMAT_VERSION = 1

_BAND = 64
_LEVEL = 8
_BLOSC_LEVEL = 5

# Known, and said in the documentation: readers need numcodecs. One line for each array would drown the rest.
warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr version 3")


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
