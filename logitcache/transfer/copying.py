"""A store, or part of it, into another store: byte for byte, or encoded anew. Resumes; everything is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch

from logitcache.address import Address, is_remote, same_place
from logitcache.errors import DamageError, InputError, MissingError
from logitcache.keyed import choose
from logitcache.store import (
    Choice,
    EncodingOptions,
    LogitsReader,
    Sample,
    SplitContent,
    Store,
    TeacherContent,
    TeacherRecord,
    TeacherWriter,
    choose_encoding,
    create_store,
    describe,
)
from logitcache.store.backend import REQUESTS
from logitcache.store.choices import sample_rows, stored_choice
from logitcache.store.commits import Commit
from logitcache.threads import cores, mapped, single_threaded_pool
from logitcache.transfer.blocks import write_blocks

__all__ = ["CopyOptions", "CopyOutcome", "copy_store"]

Progress = Callable[[int], None]
FloatArray = npt.NDArray[np.float32]

_SEED = 0


@dataclass(frozen=True)
class CopyOptions:
    """What is copied: all teachers, splits and views where nothing else is said; ``encoding`` to encode anew.

    ``views`` is how many, from the clean view on.
    """

    teachers: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    views: int | None = None
    encoding: EncodingOptions | None = None


@dataclass(frozen=True)
class CopyOutcome:
    """What a copy did: blocks written now, blocks found there, and blocks that the source does not have."""

    written: int
    found: int
    missing: int


@dataclass(frozen=True)
class _Part:
    """One teacher in one split: where it is read, and what is written of it."""

    reader: LogitsReader
    content: TeacherContent


def copy_store(source: Store, url: Address, options: CopyOptions, progress: Progress | None = None) -> CopyOutcome:
    """Copy a store into a new one, or into one of the same data set, views and classes.

    Args:
        source: what is read; each block is compared with its commit.
        url: the other store; the same command on a half-written one goes on.
        options: which part, and whether to encode anew: the error then counts from what the source decodes to.
        progress: called with the number of rows just copied.

    Raises:
        InputError: there is no such teacher or split, or rows of a ``topk`` store were to be encoded anew.
        MismatchError: the store at ``url`` is another one; nothing was written.
        DamageError: blocks are damaged, all of them named; the others were copied.
    """
    if same_place(url, source.url):
        raise InputError(f"{url} is the source itself; give another place")
    splits, parts = _chosen(source, url, options)
    writers = create_store(url, source.record, splits, [part.content for part in parts])
    tally = _Tally()
    for part, writer in zip(parts, writers, strict=True):
        there = _there(part.reader, writer, tally)
        if options.encoding is None:
            workers = REQUESTS if source.backend.remote or is_remote(url) else max(2, cores())
            tally.damaged += _copy_blocks(part.reader, writer, there, progress, workers)
        else:
            tally.damaged += _encode_blocks(part, writer, there, progress)
        tally.blocks += writer.blocks
        writer.finish()
    if tally.damaged:
        raise DamageError("\n".join(map(str, tally.damaged)))
    return CopyOutcome(tally.written, tally.blocks - tally.written - tally.missing, tally.missing)


def _chosen(source: Store, url: Address, options: CopyOptions) -> tuple[list[SplitContent], list[_Part]]:
    """The splits and teachers that are copied."""
    names = options.splits or source.splits
    splits = [_split(source, name) for name in names]
    parts = []
    for name in names:
        teachers = [t for t in source.teachers(name) if not options.teachers or t in options.teachers]
        parts += [_part(source, url, name, teacher, options) for teacher in teachers]
    unknown = set(options.teachers) - {part.reader.teacher for part in parts}
    if unknown or not parts:
        known = sorted({t for name in names for t in source.teachers(name)})
        asked = ", ".join(sorted(unknown)) or "any"
        raise InputError(
            f"{source.url} has no teacher {asked} in {', '.join(names)}; it has {', '.join(known) or 'none'}"
        )
    return splits, parts


def _split(source: Store, name: str) -> SplitContent:
    """What is copied of a split itself."""
    record = source.split(name)
    noisy = None if record.noise is None else source.labels(name, "noisy")
    return SplitContent(record, source.labels(name), source.index(name), noisy)


def _part(source: Store, url: Address, split: str, teacher: str, options: CopyOptions) -> _Part:
    """One teacher in one split."""
    reader = source.logits(teacher, split)
    views = min(options.views or reader.views, reader.views)
    record, wholes = replace(reader.record, views=views), source.wholes(teacher, split)
    if options.encoding is not None:
        known = stored_choice(url, split, teacher, options.encoding)
        choice = known[0] if known is not None else _choose(reader, views, options.encoding)
        classifier = {name: array for name, array in wholes.items() if name.startswith("classifier")}
        record, wholes = _encoded_anew(record, choice), {**choice.wholes, **classifier}
    return _Part(reader, TeacherContent(split, record, wholes))


def _encoded_anew(record: TeacherRecord, choice: Choice) -> TeacherRecord:
    """What the copy says of itself: its error counts from the source's, which is named."""
    plain = replace(record.encoding, reason="")
    return replace(
        record, encoding=choice.encoding, provenance=f"{record.provenance}; encoded anew from {describe(plain)}"
    )


def _choose(reader: LogitsReader, views: int, options: EncodingOptions) -> Choice:
    """The encoding of a copy, chosen from what the source decodes to."""
    if not reader.encoding.whole:
        raise InputError(
            f"teacher {reader.teacher!r} has the largest entries of each row only; copy it without --encoding"
        )
    if not options.calibrated:
        return choose_encoding(options)
    rows = choose(reader.samples, sample_rows(reader.samples, reader.classes), _SEED).numpy()
    sample = list(_rows(reader, rows))
    if not sample:
        raise MissingError(f"{reader.teacher!r} has no committed rows of the clean view to choose an encoding from")
    return choose_encoding(options, Sample(torch.from_numpy(np.concatenate(sample)), reader.samples * views))


def _rows(reader: LogitsReader, rows: npt.NDArray[np.int64]) -> Iterator[FloatArray]:
    """Some rows of the clean view as far as it is committed, ascending."""
    for block in range(reader.blocks):
        here = reader.rows(block)
        first, last = np.searchsorted(rows, (here.start, here.stop))
        inside = rows[first:last] - here.start
        if inside.size and reader.has(0, block):
            yield reader.read(0, block)[inside]


@dataclass
class _Tally:
    """What was met on the way: all blocks, those copied, those that the source lacks, and what is damaged."""

    blocks: int = 0
    written: int = 0
    missing: int = 0
    damaged: list[DamageError] = field(default_factory=list)


def _there(reader: LogitsReader, writer: TeacherWriter, tally: _Tally) -> Iterator[Commit]:
    """The source's commits of the blocks that the copy lacks, one group in memory at a time."""
    groups = reader.commits.groups
    for group, places in groupby(writer.pending(), lambda place: groups.of(*place)):
        try:
            commits = reader.commits.read(group)
        except DamageError as error:
            tally.damaged.append(error)
            continue
        for _, block in places:
            if block in commits:
                tally.written += 1
                yield commits[block]
            else:
                tally.missing += 1


def _encode_blocks(
    part: _Part, writer: TeacherWriter, there: Iterator[Commit], progress: Progress | None
) -> list[DamageError]:
    """Encode blocks anew; what is damaged is left out and returned."""
    damaged = []
    features = bool(part.content.record.features)

    def read(view: int, block: int) -> tuple[FloatArray, FloatArray | None] | None:
        try:
            return part.reader.read(view, block), part.reader.features(view, block) if features else None
        except DamageError as error:
            damaged.append(error)
            return None

    write_blocks(writer, ((commit.view, commit.block) for commit in there), read, progress)
    return damaged


def _copy_blocks(
    reader: LogitsReader,
    writer: TeacherWriter,
    there: Iterator[Commit],
    progress: Progress | None,
    workers: int,
) -> list[DamageError]:
    """Copy blocks byte for byte, so many at a time; what is damaged is left out and returned."""

    def copy(commit: Commit) -> int | DamageError:
        try:
            arrays = commit.arrays.items()
            shards = {name: reader.fetch(name, commit.view, commit.block, digest) for name, digest in arrays}
        except DamageError as error:
            return error
        writer.copy(commit, shards)
        return commit.stop - commit.start

    damaged = []
    with single_threaded_pool(workers, "copy") as pool:
        for outcome in mapped(pool, copy, there, 2 * workers):
            if isinstance(outcome, DamageError):
                damaged.append(outcome)
            elif progress is not None:
                progress(outcome)
    return damaged
