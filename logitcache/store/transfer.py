"""Logits from and to plain ``.npy`` files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.errors import InputError, MismatchError
from logitcache.records import sha256
from logitcache.store.backend import open_backend
from logitcache.store.encodings import Encoding, EncodingOptions, encode, resolve
from logitcache.store.fidelity import TAUS
from logitcache.store.identity import UNKNOWN, SplitRecord, StoreRecord, TeacherRecord
from logitcache.store.read import Store, open_store
from logitcache.store.schema import block_shape
from logitcache.store.write import SplitContent, TeacherContent, create_store

__all__ = ["ImportOptions", "export_logits", "import_logits", "load_array"]

Progress = Callable[[int], None]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ImportOptions:
    """Where imported logits go and how they are stored."""

    teacher: str
    split: str = "train"
    encoding: EncodingOptions = field(default_factory=EncodingOptions)
    block: int = 8192


def import_logits(
    source: Path, url: str | Path, options: ImportOptions, labels: Path | None = None, progress: Progress | None = None
) -> int:
    """Write the logits of a ``.npy`` file, (samples, classes) or (views, samples, classes), into a store.

    The same command on a half-written store goes on. What a file cannot tell (the views, the teacher's weights) is
    recorded as unknown.

    Args:
        source: floating-point logits; view 0 is taken for the clean one.
        url: the store, made where there is none.
        options: teacher, split, encoding, rows of a block.
        labels: ``.npy`` of integers (samples,); without, the split keeps those it has, and a new one has -1.
        progress: called with the number of rows just written.

    Returns:
        The number of blocks that were written now.

    Raises:
        InputError: not such files, counts that differ, logits that are not finite (names the sample) or do not fit
            the encoding; nothing was written.
        MismatchError: the store there is another one; nothing was written.
    """
    logits = load_array(source)
    if logits.ndim == 2:
        logits = logits[None]
    if logits.ndim != 3 or logits.dtype.kind != "f" or not logits.size:
        raise InputError(
            f"{source} has shape {logits.shape} and type {logits.dtype}; "
            "expected floating-point logits (samples, classes) or (views, samples, classes)"
        )
    truth = None if labels is None else _load_labels(labels, logits.shape[1], logits.shape[2])
    encoding = resolve(options.encoding)
    _check_values(logits, encoding)
    record = _record(logits, encoding, options, provenance=f"imported from a file with SHA-256 {_digest(source)}")
    store = open_store(url) if open_backend(url).size("zarr.json") is not None else None
    content = _split(store, options.split, logits.shape[1], truth)
    teacher = TeacherContent(options.split, record, {})
    [writer] = create_store(url, _root(store, logits.shape[2]), [content], [teacher])
    pending = writer.pending()
    for view, block in pending:
        rows = writer.rows(block)
        writer.write(view, block, np.asarray(logits[view, rows.start : rows.stop], dtype=np.float32))
        if progress is not None:
            progress(len(rows))
    writer.finish()
    return len(pending)


def export_logits(store: Store, out: Path, *, teacher: str, split: str = "train", view: int = 0) -> tuple[int, int]:
    """Write one view of a teacher's logits as ``.npy``, float32 (samples, classes); returns that shape.

    Raises:
        InputError: there is no such teacher, split or view, or ``out`` exists.
        MissingError, DamageError: a block is not there or not what was committed; no file is left.
    """
    reader = store.logits(teacher, split)
    if out.exists():
        raise InputError(f"{out} exists; remove it or choose another name")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is not a folder")
    reader.commit(view, 0)
    aside = out.with_name(f".{out.name}.partial")
    shape = reader.samples, reader.classes
    try:
        target = np.lib.format.open_memmap(aside, mode="w+", dtype=np.float32, shape=shape)
        for block in range(reader.blocks):
            rows = reader.rows(block)
            target[rows.start : rows.stop] = reader.read(view, block)
        target.flush()
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
    return shape


def load_array(path: Path) -> Array:
    """A ``.npy`` file, memory-mapped.

    Raises:
        InputError: there is no such file, or it is not a ``.npy`` of plain numbers.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} is not a whole .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} holds several arrays; give a .npy with one")
    return array


def _root(store: Store | None, classes: int) -> StoreRecord:
    """The root of a new store; an existing one keeps its own, as long as the classes agree in number."""
    if store is not None and len(store.classes) == classes:
        return store.record
    return StoreRecord(UNKNOWN, tuple(str(c) for c in range(classes)), {"kind": UNKNOWN})


def _record(logits: Array, encoding: Encoding, options: ImportOptions, provenance: str) -> TeacherRecord:
    """What the store says of imported logits."""
    views, samples, classes = logits.shape
    block_rows, chunk_rows = block_shape(samples, classes, options.block)
    return TeacherRecord(
        name=options.teacher,
        model=UNKNOWN,
        weights=UNKNOWN,
        precision=str(logits.dtype),
        provenance=provenance,
        encoding=encoding,
        views=views,
        samples=samples,
        classes=classes,
        block_rows=block_rows,
        chunk_rows=chunk_rows,
        taus=TAUS,
    )


def _split(store: Store | None, name: str, samples: int, labels: npt.NDArray[np.int64] | None) -> SplitContent:
    """The split that logits go into.

    Raises:
        MismatchError: it is there, with other labels than these.
    """
    known = store.labels(name) if store is not None and name in store.splits else None
    if known is None or len(known) != samples:
        known = np.full(samples, -1, dtype=np.int64) if labels is None else labels
    if labels is not None and not np.array_equal(labels, known):
        stored, given = (f"fingerprint {sha256(values.tobytes())[:16]}" for values in (known, labels))
        raise MismatchError(f"the labels of split {name!r}", stored, given, "leave --labels out, or use another store")
    return SplitContent(SplitRecord(name, samples, UNKNOWN), known, np.arange(samples))


def _load_labels(path: Path, samples: int, classes: int) -> npt.NDArray[np.int64]:
    """Labels (samples,) of a file."""
    labels = load_array(path)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(f"{path} has shape {labels.shape} and type {labels.dtype}; expected integers (samples,)")
    if len(labels) != samples:
        raise InputError(f"{path} has {len(labels)} labels, but there are logits of {samples} samples")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise InputError(f"{path}: sample {wrong[0]} has label {labels[wrong[0]]}; allowed are 0..{classes - 1}")
    return np.asarray(labels, dtype=np.int64)


def _check_values(logits: Array, encoding: Encoding) -> None:
    """Refuse logits that are not finite or do not fit the encoding, before anything is written."""
    for view, start, part in _parts(logits):
        bad = np.flatnonzero(~np.isfinite(part).all(axis=1))
        if bad.size:
            raise InputError(f"logits of sample {start + int(bad[0])} in view {view} are not finite")
        encode(part, encoding, np.arange(start, start + len(part)))


def _parts(logits: Array, rows: int = 4096) -> Iterator[tuple[int, int, npt.NDArray[np.float32]]]:
    """(view, first row, float32 rows) in pieces."""
    for view in range(logits.shape[0]):
        for start in range(0, logits.shape[1], rows):
            with np.errstate(over="ignore"):  # what becomes infinite is refused as not finite
                part = np.asarray(logits[view, start : start + rows], dtype=np.float32)
            yield view, start, part


def _digest(path: Path) -> str:
    """The first 16 digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
