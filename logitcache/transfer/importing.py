"""Logits that another system computed, into a store. Resumes as the cache step does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from logitcache.address import Address
from logitcache.errors import InputError, MismatchError
from logitcache.formats import Source
from logitcache.keyed import choose
from logitcache.records import sha256
from logitcache.store import (
    UNKNOWN,
    Choice,
    EncodingOptions,
    Sample,
    SplitContent,
    SplitRecord,
    Store,
    StoreRecord,
    TeacherContent,
    TeacherRecord,
    TeacherWriter,
    choose_encoding,
    create_store,
    describe,
    open_store,
)
from logitcache.store.backend import is_store
from logitcache.store.choices import sample_rows, stored_choice
from logitcache.store.encodings import TAUS, make_codec
from logitcache.store.encodings.topk import TopK
from logitcache.store.encodings.uniform import check_range
from logitcache.store.groups import commit_group
from logitcache.store.layout import block_shape
from logitcache.transfer.blocks import write_blocks

__all__ = ["ImportOptions", "ImportOutcome", "import_logits"]

Progress = Callable[[int], None]

_ROWS = 4096
_SEED = 0
_REFINED = 8
"""How much finer than its encoding's step a row may have to be coded: no row of any teacher needed more (measured)."""


@dataclass(frozen=True)
class ImportOptions:
    """Where imported logits go and how they are stored."""

    teacher: str
    split: str = "train"
    encoding: EncodingOptions = field(default_factory=EncodingOptions)
    block: int = 8192


@dataclass(frozen=True)
class ImportOutcome:
    """What an import did: blocks written now and found there, and the encoding in words."""

    written: int
    found: int
    encoding: str


def import_logits(
    source: Source,
    url: Address,
    options: ImportOptions,
    labels: Path | None = None,
    progress: Progress | None = None,
) -> ImportOutcome:
    """Write a source's logits into a store.

    The same command on a half-written store goes on. What files cannot tell (the views, the teacher's weights) is
    recorded as unknown. Where nothing of the teacher is there yet, all logits are read once beforehand: whatever is
    wrong with them changes nothing on disk.

    Args:
        source: view 0 is taken for the clean one.
        url: the store, made where there is none.
        options: teacher, split, encoding, rows of a block.
        labels: ``.npy`` of integers (samples,); without, the split keeps those it has, and a new one has -1.
        progress: called with the number of rows just written.

    Raises:
        InputError: counts that differ, logits that are not finite (names the sample) or do not fit the encoding;
            nothing was written.
        MismatchError: the store there is another one; nothing was written.
    """
    asked = _encoding_options(source, options.encoding)
    truth = None if labels is None else _load_labels(labels, source.samples, source.classes)
    known = stored_choice(url, options.split, options.teacher, asked)
    choice = known[0] if known is not None else _choose(source, asked)
    store = open_store(url) if is_store(url) else None
    content = _split(store, options.split, source.samples, truth)
    teacher = TeacherContent(options.split, _record(source, choice, options), choice.wholes)
    [writer] = create_store(url, _root(store, source.classes), [content], [teacher])
    pending = writer.pending(by_block=source.rows_first)
    written = write_blocks(writer, pending, partial(_block, source, writer), progress)
    writer.finish()
    return ImportOutcome(written, writer.blocks - written, describe(choice.encoding))


def _encoding_options(source: Source, options: EncodingOptions) -> EncodingOptions:
    """The encoding asked for; sparse rows can only stay sparse."""
    if not source.sparse:
        return options
    if options.kind == "auto":
        return EncodingOptions(kind="topk", entries=source.sparse, codec=options.codec)
    if options.kind != "topk":
        raise InputError(
            f"{source.path} has the largest entries of each row only; use encoding topk, not {options.kind}"
        )
    if options.entries < source.sparse:
        raise InputError(f"{source.path} has up to {source.sparse} entries a row; entries = {options.entries} is fewer")
    return options


def _choose(source: Source, options: EncodingOptions) -> Choice:
    """Read all logits once: refuse what cannot be stored, choose the encoding from random rows of the first view."""
    wanted = choose(source.samples, sample_rows(source.samples, source.classes), _SEED).numpy()
    sample = []
    norms: dict[tuple[int, int], float] = {}
    for view, start, part in _parts(source):
        if isinstance(part, TopK):
            continue
        bad = np.flatnonzero(~np.isfinite(part).all(axis=1))
        if bad.size:
            raise InputError(f"logits of sample {start + int(bad[0])} in view {view} are not finite")
        if options.kind in ("uniform", "lossless") and not options.calibrated:
            check_range(part, options, start)
        norms[view, start] = float(_norms(part).max(initial=0))
        if view == 0 and options.calibrated:
            first, last = np.searchsorted(wanted, (start, start + len(part)))
            sample.append(torch.from_numpy(part[wanted[first:last] - start]))
    if not options.calibrated:
        return choose_encoding(options)
    choice = choose_encoding(options, Sample(torch.cat(sample), source.samples * source.views))
    _check_outliers(source, choice, norms)
    return choice


def _check_outliers(source: Source, choice: Choice, norms: Mapping[tuple[int, int], float]) -> None:
    """Encode the rows, by their lengths, that may need codes beyond their type: what fails must fail before a write.

    No logit and no principal component of a row is larger than its length.

    Raises:
        InputError: naming the sample.
    """
    encoding = choice.encoding
    codec = make_codec(encoding, source.classes, choice.wholes)
    mean = float(np.linalg.norm(choice.wholes.get("mean", np.zeros(1))))
    reach = encoding.step * np.iinfo(encoding.dtype).max / (_REFINED if encoding.kind == "spectral" else 1) - mean
    for (view, start), norm in norms.items():
        if norm > reach:
            part = source.read(view, range(start, min(start + _ROWS, source.samples)))
            if not isinstance(part, TopK):
                far = np.flatnonzero(_norms(part) > reach)
                codec.encode(part[far], start + far)


def _norms(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The length of each row (rows,); in float64, which large logits do not leave."""
    lengths: npt.NDArray[np.float64] = np.sqrt(np.einsum("rc,rc->r", rows, rows, dtype=np.float64))
    return lengths


def _parts(source: Source) -> Iterator[tuple[int, int, npt.NDArray[np.float32] | TopK]]:
    """(view, first row, rows) in pieces, in the order that is fast to read."""
    starts = range(0, source.samples, _ROWS)
    views = range(source.views)
    places = [(v, s) for s in starts for v in views] if source.rows_first else [(v, s) for v in views for s in starts]
    for view, start in places:
        yield view, start, source.read(view, range(start, min(start + _ROWS, source.samples)))


def _block(source: Source, writer: TeacherWriter, view: int, block: int) -> tuple[npt.NDArray[np.float32] | TopK, None]:
    """What is written of one block."""
    return source.read(view, writer.rows(block)), None


def _root(store: Store | None, classes: int) -> StoreRecord:
    """The root of a new store; an existing one keeps its own, as long as the classes agree in number."""
    if store is not None and len(store.classes) == classes:
        return store.record
    return StoreRecord(UNKNOWN, tuple(str(c) for c in range(classes)), {"kind": UNKNOWN})


def _record(source: Source, choice: Choice, options: ImportOptions) -> TeacherRecord:
    """What the store says of imported logits."""
    block_rows, chunk_rows = block_shape(source.samples, source.classes, options.block)
    return TeacherRecord(
        name=options.teacher,
        model=UNKNOWN,
        weights=UNKNOWN,
        precision=source.precision,
        provenance=f"imported from {source.format} with SHA-256 {source.digest}",
        encoding=choice.encoding,
        views=source.views,
        samples=source.samples,
        classes=source.classes,
        block_rows=block_rows,
        chunk_rows=chunk_rows,
        taus=TAUS,
        commit_group=commit_group(source.samples, block_rows),
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
    """Labels (samples,) of a ``.npy`` file."""
    try:
        labels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} is not a whole .npy file of numbers: {error}") from error
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(f"{path} is no array of integers (samples,)")
    if len(labels) != samples:
        raise InputError(f"{path} has {len(labels)} labels, but there are logits of {samples} samples")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise InputError(f"{path}: sample {wrong[0]} has label {labels[wrong[0]]}; allowed are 0..{classes - 1}")
    return np.asarray(labels, dtype=np.int64)
