"""Whole logits in one array: ``.npy``, ``.npz``, ``.safetensors`` and a tensor in one ``torch.save`` file.

The array is (samples, classes) or (views, samples, classes), of floating-point numbers. It stays on disk, apart from a
compressed member of an ``.npz``. No size that a header states is believed before the file's own size agrees.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from logitcache.errors import InputError
from logitcache.formats.records import FloatArray, Source, SourceOptions, one_of

__all__ = ["dense", "open_npy", "open_npz", "open_safetensors"]

Array = npt.NDArray[Any]

_PIECE = 1 << 24
_MOST_DEFLATED = 1032
"""Deflate makes no byte of more than so many; a member that claims more lies."""
_BROKEN = (ValueError, OSError, EOFError, SyntaxError, TokenError)
"""What NumPy raises for a broken ``.npy``, whose header is Python's notation."""
_LOCAL_HEADER = struct.Struct("<4s22xHH")


def open_npy(path: Path, options: SourceOptions) -> Source:
    """A ``.npy`` file, memory-mapped.

    Raises:
        InputError: it is not a whole ``.npy`` of logits.
    """
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _BROKEN as error:
        raise InputError(f"{path} is not a whole .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} holds several arrays; name it .npz, or give a .npy with one")
    return _array_source(path, "npy", options, array)


def open_npz(path: Path, options: SourceOptions) -> Source:
    """An array of an ``.npz`` archive; memory-mapped unless it is compressed.

    Raises:
        InputError: it is not a whole archive, its checksum differs, or there is no such array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            name = one_of(path, "array", members, options.key)
            array = _member(path, archive, members[name])
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, *_BROKEN) as error:
        raise InputError(f"{path} is not a whole .npz archive of numbers: {error}") from error
    return _array_source(path, "npz", options, array)


def open_safetensors(path: Path, options: SourceOptions) -> Source:
    """A tensor of a ``.safetensors`` file, read by slices.

    Raises:
        InputError: it is not a whole file, or there is no such tensor.
    """
    try:
        file: Any = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole .safetensors file: {error}") from error
    name = one_of(path, "tensor", file.keys(), options.key)
    stored = file.get_slice(name)
    shape = tuple(stored.get_shape())
    kind = str(stored.get_dtype())
    if not kind.startswith(("F16", "F32", "F64", "BF16")):
        raise InputError(f"tensor {name!r} of {path} has type {kind}; expected floating-point logits")

    def part(view: int, rows: range) -> FloatArray:
        cut = slice(rows.start, rows.stop)
        return to_float32(stored[cut] if len(shape) == 2 else stored[view, cut])

    precision = kind.replace("BF", "bfloat").replace("F", "float")
    return dense(path, options, shape, part, layout="safetensors", precision=precision)


def dense(
    path: Path,
    options: SourceOptions,
    shape: Sequence[int],
    part: Callable[[int, range], FloatArray],
    *,
    layout: str,
    precision: str,
) -> Source:
    """A source of whole rows in one file.

    Raises:
        InputError: the shape is none of logits, or ``options`` say another number of classes or a temperature.
    """
    if len(shape) not in (2, 3) or 0 in shape:
        raise InputError(
            f"{path} has shape {tuple(shape)}; expected logits (samples, classes) or (views, samples, classes)"
        )
    views, samples, classes = (1, *shape)[-3:]
    if options.classes not in (None, classes):
        raise InputError(f"{path} has {classes} classes, given was classes = {options.classes}")
    if options.tau != 1:
        raise InputError(f"{path} holds logits; tau is for stored probabilities")
    return Source(path, layout, views, samples, classes, precision, part, (path,))


def to_float32(tensor: Tensor) -> FloatArray:
    """A tensor as float32 in NumPy; what is beyond float32 becomes infinite and is refused where it is checked."""
    array: FloatArray = tensor.to(torch.float32).numpy()
    return array


def _array_source(path: Path, layout: str, options: SourceOptions, array: Array) -> Source:
    """A source of a NumPy array."""
    if array.dtype.kind != "f":
        raise InputError(f"{path} has type {array.dtype}; expected floating-point logits")

    def part(view: int, rows: range) -> FloatArray:
        cut = (array if array.ndim == 2 else array[view])[rows.start : rows.stop]
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused where values are checked
            return np.asarray(cut, dtype=np.float32)

    return dense(path, options, array.shape, part, layout=layout, precision=array.dtype.name)


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    """The array of one member; its checksum was compared."""
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{path}: {info.filename} is encrypted or packed in an unusual way; save it with np.savez")
    if info.file_size > _MOST_DEFLATED * (info.compress_size + 1):
        raise InputError(f"{path}: {info.filename} claims {info.file_size} bytes of {info.compress_size} packed ones")
    with archive.open(info) as file:
        shape, fortran, dtype = _npy_header(file)
        start = file.tell()
        if dtype.hasobject or start + math.prod(shape) * dtype.itemsize != info.file_size:
            raise InputError(f"{path}: {info.filename} is no whole array of numbers")
        stored = info.compress_type == zipfile.ZIP_STORED
        data = bytearray() if stored else bytearray(info.file_size - start)
        at = 0
        for piece in iter(lambda: file.read(_PIECE), b""):  # to the end, where the checksum is compared
            if not stored:
                data[at : at + len(piece)] = piece
            at += len(piece)
    flat: Array
    if stored:
        flat = np.memmap(path, dtype, "r", _data_offset(path, info) + start, (math.prod(shape),))
    else:
        flat = np.frombuffer(data, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, column order and type of an open ``.npy``."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind its own header, whose length the archive's index does not tell."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        _, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    return info.header_offset + _LOCAL_HEADER.size + int(name) + int(extra)
