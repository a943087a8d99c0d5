"""Parquet files of soft targets, one or a folder of them: lists of classes and log-probabilities, or whole logits.

A row of the table is a sample. Where lists hold lists (the tokens of a text), each inner list is a row of its own.
Columns are found by the names below, or given. Written are ``logits``, or from a top-k store ``classes``,
``log_probs`` and ``tail``, with the number of classes in the schema. Needs pyarrow.
"""

from __future__ import annotations

import importlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.errors import InputError
from logitcache.formats.records import FloatArray, Source, SourceOptions, by_name
from logitcache.formats.sparse import checked, needed_classes
from logitcache.store.encodings.topk import TopK

__all__ = ["open_parquet", "write_parquet"]

Array = npt.NDArray[Any]

_IDS = (
    *("classes", "class_ids", "ids", "indices", "token_ids", "top_classes", "topk_ids", "top_k_ids", "topk_indices"),
    *("teacher_ids", "teacher_indices", "teacher_topk_ids", "teacher_topk_indices", "teacher_token_ids"),
)
_LOG_PROBS = (
    *("log_probs", "logprobs", "topk_log_probs", "topk_logprobs", "top_k_logprobs", "top_logprobs"),
    *("teacher_log_probs", "teacher_logprobs", "teacher_topk_log_probs", "teacher_topk_logprobs"),
)
_LOGITS = ("logits", "teacher_logits")
_TAIL = "tail"
_CLASSES = b"logitcache.classes"


@dataclass(frozen=True)
class _Columns:
    """Which columns count; ``ids`` is None for whole logits, ``tail`` where there is none."""

    values: str
    ids: str | None
    tail: str | None

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [name for name in (self.values, self.ids, self.tail) if name is not None]


@dataclass(frozen=True)
class _Group:
    """A row group: the lists' lengths and all their values, one after another."""

    lengths: npt.NDArray[np.int64]
    values: Array
    ids: Array | None
    tail: Array | None


def open_parquet(path: Path, options: SourceOptions) -> Source:
    """A Parquet file, or a folder with shards that count in the order of their names.

    Raises:
        InputError: pyarrow is not installed, no Parquet, no such columns, lists that differ in length, or ``classes``
            was not given for sparse rows.
    """
    files = (path,) if path.is_file() else by_name(path, (".parquet",))
    with _told(path):
        return _open(path, files, options)


def write_parquet(path: Path, blocks: Iterable[FloatArray | TopK], classes: int) -> None:
    """Write blocks, all whole or all sparse, as one file; a row group each."""
    arrow, parquet = _pyarrow("pyarrow"), _pyarrow("pyarrow.parquet")
    writer = None
    try:
        for block in blocks:
            table = _sparse_table(arrow, block) if isinstance(block, TopK) else _dense_table(arrow, block)
            table = table.replace_schema_metadata({_CLASSES: str(classes)})
            if writer is None:
                writer = parquet.ParquetWriter(path, table.schema, write_page_checksum=True)
            writer.write_table(table, row_group_size=max(1, table.num_rows))
    finally:
        if writer is not None:
            writer.close()


def _open(path: Path, files: tuple[Path, ...], options: SourceOptions) -> Source:
    """The same; errors may be pyarrow's."""
    parquet = _pyarrow("pyarrow.parquet")
    opened = [parquet.ParquetFile(file, memory_map=True, page_checksum_verification=True) for file in files]
    columns = _columns(path, opened[0].schema_arrow.names, options)
    groups = [(file, number) for file in opened for number in range(file.num_row_groups)]

    @lru_cache(maxsize=2)
    def group(place: int) -> _Group:
        return _read(path, *groups[place], columns)

    sizes = [_size(path, *each, columns.values) for each in groups]
    ends = list(accumulate(rows for rows, _, _ in sizes))
    shortest, longest = min((each[1] for each in sizes), default=0), max((each[2] for each in sizes), default=0)
    if not longest:
        raise InputError(f"{path} has no rows with anything in them")
    classes = _count_classes(path, opened[0].schema_arrow.metadata, options, columns, longest)
    if columns.ids is None and shortest != longest:
        raise InputError(f"{path}: rows of column {columns.values!r} have {shortest}..{longest} logits; give ids")

    def parts(rows: range) -> Iterator[FloatArray | TopK]:
        at = rows.start
        while at < rows.stop:
            place = bisect_right(ends, at)
            first = ends[place] - sizes[place][0]
            stop = min(rows.stop, ends[place])
            yield _rows(path, group(place), slice(at - first, stop - first), classes, first)
            at = stop

    def part(_: int, rows: range) -> FloatArray | TopK:
        with _told(path):
            return _joined(list(parts(rows)), longest)

    precision = str(group(0).values.dtype)
    sparse = 0 if columns.ids is None else longest
    return Source(path, "parquet", 1, ends[-1], classes, precision, part, files, sparse)


def _columns(path: Path, names: list[str], options: SourceOptions) -> _Columns:
    """The columns that were asked for, or those with names that say what they are."""
    ids = _column(path, "ids", names, options.ids, _IDS)
    values = _column(path, "values", names, options.values, (*_LOG_PROBS,) if ids else (*_LOGITS, *_LOG_PROBS))
    if values is None or (ids is None and values in _LOG_PROBS):
        raise InputError(
            f"{path} has columns {', '.join(map(repr, names[:20]))}; name the one of class numbers by ids and the one "
            "of log-probabilities by values, or the one of whole logits by values alone"
        )
    return _Columns(values, ids, _TAIL if ids and _TAIL in names else None)


def _column(path: Path, option: str, names: list[str], asked: str | None, known: tuple[str, ...]) -> str | None:
    """A column's name, or None where none is called so."""
    if asked is not None:
        if asked not in names:
            raise InputError(f"{path} has no column {asked!r} ({option}); its columns are {', '.join(names[:20])}")
        return asked
    return next((name for name in known if name in names), None)


def _count_classes(path: Path, metadata: Any, options: SourceOptions, columns: _Columns, longest: int) -> int:
    """How many classes there are: as given, as written by us, or as long as whole rows are."""
    if options.tau != 1:
        raise InputError(f"{path} holds logits or log-probabilities at 1; tau is for stored probabilities")
    written = (metadata or {}).get(_CLASSES, b"")
    known = int(written) if written.isdigit() and len(written) < 11 else None
    if columns.ids is None:
        known = longest
    if options.classes is not None and known is not None and options.classes != known:
        raise InputError(f"{path} has {known} classes, given was classes = {options.classes}")
    return needed_classes(f"sparse Parquet ({path})", options.classes or known)


def _size(path: Path, file: Any, number: int, name: str) -> tuple[int, int, int]:
    """Rows of a row group, and the lengths of its shortest and longest: counted, for what is stated may be wrong."""
    lengths, _ = _flat(path, name, file.read_row_group(number, columns=[name])[name])
    return len(lengths), int(lengths.min(initial=2**31)), int(lengths.max(initial=0))


def _read(path: Path, file: Any, number: int, columns: _Columns) -> _Group:
    """A row group."""
    table = file.read_row_group(number, columns=columns.names)
    lengths, values = _flat(path, columns.values, table[columns.values])
    if values.dtype.kind != "f":
        raise InputError(f"{path}: column {columns.values!r} has lists of {values.dtype}; expected floating-point")
    if columns.ids is None:
        return _Group(lengths, values, None, None)
    counts, ids = _flat(path, columns.ids, table[columns.ids])
    if ids.dtype.kind not in "iu" or not np.array_equal(counts, lengths):
        raise InputError(f"{path}: columns {columns.ids!r} and {columns.values!r} must have lists of equal lengths")
    tail = None if columns.tail is None else np.asarray(table[columns.tail], dtype=np.float32)
    if tail is not None and len(tail) != len(lengths):
        raise InputError(f"{path}: column {columns.tail!r} must have a number for each row")
    return _Group(lengths, values, ids, tail)


def _flat(path: Path, name: str, column: Any) -> tuple[npt.NDArray[np.int64], Array]:
    """Lengths of the innermost lists, and their values."""
    compute, types = _pyarrow("pyarrow.compute"), _pyarrow("pyarrow").types
    lengths = None
    while types.is_list(column.type) or types.is_large_list(column.type) or types.is_fixed_size_list(column.type):
        if column.null_count:
            raise InputError(f"{path}: column {name!r} has rows without a value")
        lengths = np.asarray(compute.list_value_length(column), dtype=np.int64)
        column = compute.list_flatten(column)
    if lengths is None or column.null_count or not (types.is_floating(column.type) or types.is_integer(column.type)):
        raise InputError(
            f"{path}: column {name!r} has {column.type} inside, or missing values; expected lists of numbers"
        )
    return lengths, np.asarray(column)


def _rows(path: Path, group: _Group, cut: slice, classes: int, first: int) -> FloatArray | TopK:
    """Some rows of a group, padded to the longest of them where they are sparse."""
    ends = np.cumsum(group.lengths)
    start = ends[cut.start] - group.lengths[cut.start]
    flat = slice(start, ends[cut.stop - 1])
    lengths = group.lengths[cut]
    if group.ids is None:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused where values are checked
            return group.values[flat].astype(np.float32).reshape(len(lengths), -1)
    present = np.arange(lengths.max()) < lengths[:, None]
    ids, values = np.full(present.shape, -1, np.int64), np.full(present.shape, -np.inf)
    ids[present], values[present] = group.ids[flat], group.values[flat]
    tail = None if group.tail is None else group.tail[cut]
    return checked(ids, values, classes, lambda row: f"{path}: row {first + cut.start + row}", tail)


def _joined(parts: list[FloatArray | TopK], k: int) -> FloatArray | TopK:
    """Rows of several groups, one after another."""
    sparse = [part for part in parts if isinstance(part, TopK)]
    if not sparse:
        return np.concatenate([part for part in parts if not isinstance(part, TopK)])
    wide = [((0, 0), (0, k - part.classes.shape[1])) for part in sparse]
    classes = [np.pad(part.classes, pad, constant_values=-1) for part, pad in zip(sparse, wide, strict=True)]
    log_probs = [np.pad(part.log_probs, pad, constant_values=-np.inf) for part, pad in zip(sparse, wide, strict=True)]
    return TopK(np.concatenate(classes), np.concatenate(log_probs), np.concatenate([part.tail for part in sparse]))


def _dense_table(arrow: Any, logits: FloatArray) -> Any:
    """A table of whole logits."""
    flat = arrow.array(np.ascontiguousarray(logits).reshape(-1))
    return arrow.table({"logits": arrow.FixedSizeListArray.from_arrays(flat, logits.shape[1])})


def _sparse_table(arrow: Any, rows: TopK) -> Any:
    """A table of sparse rows."""
    present = rows.classes >= 0
    ends = arrow.array(np.concatenate([[0], present.sum(axis=1).cumsum()]), arrow.int32())
    lists = {
        "classes": arrow.ListArray.from_arrays(ends, arrow.array(rows.classes[present].astype(np.int32))),
        "log_probs": arrow.ListArray.from_arrays(ends, arrow.array(rows.log_probs[present])),
    }
    return arrow.table(lists | {_TAIL: arrow.array(rows.tail)})


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of pyarrow become ours."""
    arrow = _pyarrow("pyarrow")
    try:
        yield
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not whole Parquet of soft targets: {error}") from error


def _pyarrow(module: str) -> Any:
    """A module of pyarrow."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError("Parquet needs pyarrow: pip install 'logitcache[parquet]'") from error
