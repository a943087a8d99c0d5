"""Which arrays an encoding has, and how they are cut in blocks, shards and chunks. Pure functions of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from logitcache.store.encodings import Encoding, fill_value
from logitcache.store.encodings.topk import class_dtype

__all__ = ["ArraySpec", "Cut", "block_shape", "feature_spec", "logits_specs"]

_CHUNK_VALUES = 1 << 19
_BLOCK_VALUES = 1 << 26
_BAND = 64
_BANDED_ROWS = 1 << 14


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
