"""Arrays of a store that are not cut in blocks: labels, indices, the transform of an encoding, the classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.errors import DamageError, InputError
from logitcache.store import schema
from logitcache.store.backend import Backend, side_by_side
from logitcache.store.documents import LARGEST_DOCUMENT, check_shape, parse, read_json
from logitcache.store.encodings import Encoding
from logitcache.store.identity import SplitRecord

__all__ = ["read_samples", "read_whole", "stored_transform", "whole_bytes"]

_TRANSFORM = ("basis", "mean", "spread")


def read_whole(backend: Backend, path: str) -> npt.NDArray[Any]:
    """An array that is not cut in blocks; the caller has compared its bytes with their digest.

    Raises:
        DamageError: its metadata are not what our writers write, or a chunk is missing or cannot be decoded.
    """
    key = f"{path}/zarr.json"
    shape, chunk, dtype, codec = _layout(read_json(backend.get(key, LARGEST_DOCUMENT) or b"", key), key)
    check_shape(path, shape, shape)
    count = -(-shape[0] // chunk[0])
    if len(backend.names(f"{path}/c")) != count:
        raise DamageError(f"{path} is damaged: it has not {count} chunks")
    keys = [f"{path}/{schema.whole_key(number, len(shape))}" for number in range(count)]
    chunks = list(side_by_side(backend, backend.get, keys))
    try:
        return schema.chunks_to_whole([data or b"" for data in chunks], shape, chunk, dtype, codec)
    except ValueError as error:
        raise DamageError(f"{path} is damaged: it cannot be decoded ({error})") from error


def read_samples(backend: Backend, split: SplitRecord, name: str) -> npt.NDArray[np.int64]:
    """An array of a split, int64 (samples,): ``labels``, ``index`` or ``noisy_labels``.

    Raises:
        InputError: noisy labels were asked for, and the split has none.
        DamageError: as :func:`read_whole`, or it is not one number a sample.
    """
    if name == "noisy_labels" and split.noise is None:
        raise InputError(f"split {split.name!r} of the store has no noisy labels; use the clean ones")
    path = f"{split.name}/{name}"
    values = read_whole(backend, path)
    if values.shape != (split.samples,) or values.dtype != np.int64:
        raise DamageError(f"{path} is damaged: {values.dtype} of shape {values.shape} for {split.samples} samples")
    return values


_CODECS = {("numcodecs.pcodec", "crc32c"): "pcodec", ("bytes", "blosc", "crc32c"): "portable"}
_TYPES = ("int64", "float32", "float16")


def _layout(metadata: Any, key: str) -> tuple[tuple[int, ...], tuple[int, ...], str, str]:
    """Shape, chunk, type, codec: only what our writers ever wrote, nothing else that a hostile file may ask of Zarr."""
    known = parse(dict[str, Any], metadata, key)
    grid = parse(dict[str, Any], parse(dict[str, Any], known.get("chunk_grid"), key).get("configuration"), key)
    shape, chunk = (parse(tuple[int, ...], value, key) for value in (known.get("shape"), grid.get("chunk_shape")))
    codecs = parse(tuple[dict[str, Any], ...], known.get("codecs"), key)
    names, dtype = tuple(str(codec.get("name")) for codec in codecs), known.get("data_type")
    whole_rows = len(shape) == len(chunk) and shape[1:] == chunk[1:] and min(chunk, default=0) > 0
    if dtype not in _TYPES or names not in _CODECS or not 1 <= len(shape) <= 2 or not whole_rows:
        raise DamageError(f"{key} is damaged: {shape} of {dtype} in chunks {chunk} of {names} is none of our arrays")
    return shape, chunk, dtype, _CODECS[names]


def whole_bytes(backend: Backend, path: str) -> int:
    """What the chunks of an array that is not cut in blocks take, in bytes."""
    names = backend.names(f"{path}/c")
    keys = [f"{path}/c/{name}{end}" for name in names for end in ("", "/0")]
    return sum(backend.size(key) or 0 for key in keys if backend.remote or backend.get(key) is not None)  # no folders


def stored_transform(backend: Backend, path: str, encoding: Encoding) -> dict[str, npt.NDArray[Any]]:
    """What a teacher's codec needs beside its blocks, by name; ``path`` is the teacher's folder."""
    if encoding.kind != "spectral":
        return {}
    return {name: read_whole(backend, f"{path}/{name}") for name in _TRANSFORM}
