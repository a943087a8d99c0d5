"""Writes a store's logits in other systems' layouts.

Arrays (``.npy``, ``.npz``, ``.safetensors``) are float32, (samples, classes) of one view or (views, samples, classes)
of several, named ``logits``; blocks go to the file one by one, so memory is that of a block. Parquet has one view, a
row a sample, sparse from a top-k store. TinyViT's folder has an epoch a view. Everything is written aside and renamed.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import numpy as np
from pydantic import Field

from logitcache.errors import InputError
from logitcache.formats.parquet import write_parquet
from logitcache.formats.records import FloatArray
from logitcache.formats.tinyvit import MOST_CLASSES, records
from logitcache.records import Options
from logitcache.store.encodings.topk import TopK, from_arrays
from logitcache.store.read import LogitsReader

__all__ = ["SinkOptions", "export"]

Progress = Callable[[int], None]

_ARRAYS = ("npy", "npz", "safetensors")


class SinkOptions(Options):
    """How logits are written for another system."""

    format: Literal["auto", "npy", "npz", "safetensors", "parquet", "tinyvit"] = Field(
        "auto", description="layout; auto goes by the ending"
    )
    k: int | None = Field(None, ge=1, le=MOST_CLASSES, description="tinyvit: entries a row")


def export(
    reader: LogitsReader,
    out: Path,
    views: Sequence[int] = (0,),
    options: SinkOptions | None = None,
    progress: Progress | None = None,
) -> tuple[int, ...]:
    """Write views of a teacher's logits; returns the shape, (samples, classes) or (views, samples, classes).

    Args:
        reader: the teacher's stored logits.
        out: file or, for TinyViT, folder; it must not exist.
        views: which; Parquet takes one.
        options: layout and its parameters; by the ending of ``out`` without.
        progress: called with the number of rows just written.

    Raises:
        InputError: ``out`` exists, the layout is not known or cannot hold these logits, or there is no such view.
        MissingError, DamageError: a block is not there or not what was committed. Nothing is left, as on any failure.
    """
    options = options or SinkOptions()
    layout = options.format if options.format != "auto" else out.suffix.removeprefix(".")
    _check(reader, out, views, layout, options)
    aside = out.with_name(f".{out.name}.partial")
    _remove(aside)
    try:
        if layout == "tinyvit":
            _write_tinyvit(reader, aside, views, options.k or reader.encoding.entries, progress)
        elif layout == "parquet":
            blocks = _sparse_blocks if reader.encoding.kind == "topk" else _blocks
            write_parquet(aside, blocks(reader, views[0], progress), reader.classes)
        else:
            _write_array(reader, aside, views, layout, progress)
        aside.replace(out)
    finally:
        _remove(aside)
    return (reader.samples, reader.classes) if len(views) == 1 else (len(views), reader.samples, reader.classes)


def _check(reader: LogitsReader, out: Path, views: Sequence[int], layout: str, options: SinkOptions) -> None:
    """Refuse what cannot be written, before anything is."""
    if layout not in (*_ARRAYS, "parquet", "tinyvit"):
        raise InputError(f"{out}: no layout for {layout!r}; allowed are {', '.join(_ARRAYS)}, parquet, tinyvit")
    if out.exists():
        raise InputError(f"{out} exists; remove it or choose another name")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is not a folder")
    if not views or len(set(views)) != len(views):
        raise InputError(f"views {list(views)}; give at least one, and each once")
    if layout == "parquet" and len(views) > 1:
        raise InputError(f"{len(views)} views; a Parquet file takes one")
    if layout != "tinyvit":
        if options.k is not None:
            raise InputError(f"k = {options.k} is for tinyvit; {layout} has whole rows")
        return
    k = options.k or reader.encoding.entries
    if not 1 <= k <= reader.classes <= MOST_CLASSES:
        raise InputError(
            f"k = {k} of {reader.classes} classes; TinyViT's layout takes 1 <= k <= classes <= {MOST_CLASSES}"
        )


def _blocks(reader: LogitsReader, view: int, progress: Progress | None) -> Iterator[FloatArray]:
    """The decoded blocks of a view; progress is told of each once it is used."""
    for block in range(reader.blocks):
        yield reader.read(view, block)
        if progress is not None:
            progress(len(reader.rows(block)))


def _sparse_blocks(reader: LogitsReader, view: int, progress: Progress | None) -> Iterator[TopK]:
    """The blocks of a top-k store's view, likewise."""
    for block in range(reader.blocks):
        yield from_arrays(reader.values(view, block))
        if progress is not None:
            progress(len(reader.rows(block)))


def _write_array(
    reader: LogitsReader, path: Path, views: Sequence[int], layout: str, progress: Progress | None
) -> None:
    """One array of all rows in a file; nothing but a block is held in memory."""
    shape = (reader.samples, reader.classes)
    with path.open("xb") as file:
        with _body(file, layout, shape if len(views) == 1 else (len(views), *shape)) as body:
            for view in views:
                for block in _blocks(reader, view, progress):
                    body.write(np.ascontiguousarray(block, dtype="<f4").data)
        _sync(file)


@contextmanager
def _body(file: IO[bytes], layout: str, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """Where the numbers of a float32 array go, its header written."""
    if layout == "npz":
        member = zipfile.ZipInfo("logits.npy")  # its date is fixed, so equal logits make equal files
        with zipfile.ZipFile(file, "w") as archive, archive.open(member, "w", force_zip64=True) as body:
            _npy_header(body, shape)
            yield body
        return
    if layout == "npy":
        _npy_header(file, shape)
    else:
        entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * math.prod(shape)]}
        header = json.dumps({"logits": entry}, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        file.write(len(header).to_bytes(8, "little") + header)
    yield file


def _npy_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    """The first bytes of a ``.npy`` of float32 in row order."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _write_tinyvit(
    reader: LogitsReader, folder: Path, views: Sequence[int], entries: int, progress: Progress | None
) -> None:
    """TinyViT's folder, as one rank would have written it."""
    for view in views:
        epoch = folder / f"logits_top{entries}_epoch{view}"
        epoch.mkdir(parents=True)
        with (epoch / "rank0-values.bin").open("xb") as values:
            for block in _blocks(reader, view, progress):
                values.write(records(block, entries, view))
            _sync(values)
        with (epoch / "rank0-keys.txt").open("xb") as keys:
            keys.writelines(f"{row}\n".encode() for row in range(reader.samples))
            _sync(keys)


def _sync(file: IO[bytes]) -> None:
    """Have what was written on the disk."""
    file.flush()
    os.fsync(file.fileno())


def _remove(path: Path) -> None:
    """Remove a file or folder that was written aside, where there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
