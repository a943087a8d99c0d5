"""What the pass reads: one teacher in one split, and what it is compared with, as blocks of rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logitcache.errors import InputError
from logitcache.records import rows_of_block
from logitcache.statistics.block import BLOCK_BYTES, Block
from logitcache.statistics.comparing import same_samples
from logitcache.statistics.labels import Choice, Labels, labels_of
from logitcache.statistics.measure import About, Need
from logitcache.statistics.stores import FeatureReader, MeasuredStore, Other

__all__ = ["VIEWS_BYTES", "Source", "about", "find_sources", "runs", "runs_of_views"]

VIEWS_BYTES = 320 << 20
"""What a measure of views keeps of one run of rows has no more bytes, if that is a few numbers for each of its logits
and temperatures. As many as ten thousand rows of a thousand classes take at six temperatures; more rows of a block are
measured one run after another, and read anew for each."""


@dataclass(frozen=True)
class Source:
    """One teacher in one split; it travels to the workers."""

    teacher: str
    split: str
    reader: FeatureReader
    labels: Labels
    others: tuple[FeatureReader, ...] = ()
    """What is compared: the first is ``Block.other``, the next one the other's other, and so on."""
    needs: frozenset[Need] = frozenset()
    """What blocks of the clean view have beside logits."""
    beyond: frozenset[Need] = frozenset()
    """What blocks of all further views have."""
    taus: tuple[float, ...] = (1.0,)

    def block(self, view: int, number: int) -> Block:
        """A block of the store, read and decoded, beside the same view of the others; readers' errors come through."""
        rows = rows_of_block(number, self.reader.block_rows, self.reader.samples)
        needs = self.beyond if view else self.needs
        other: Block | None = None
        for reader in reversed(self.others if needs & {"other", "other_features"} else ()):
            features = _rows(reader, view, rows, "features") if "other_features" in needs else None
            other = self._block(_rows(reader, view, rows, "read"), features, other, view, rows)
        own = self.reader.features(view, number) if "features" in needs else None
        return self._block(self.reader.read(view, number), own, other, view, rows)

    def _block(
        self,
        logits: NDArray[np.float32],
        features: NDArray[np.float32] | None,
        other: Block | None,
        view: int,
        rows: range,
    ) -> Block:
        """The same samples of one of the teachers."""
        place = slice(rows.start, rows.stop)
        given = None if self.labels.given is None else self.labels.given[place]
        return Block(
            logits,
            self.labels.true[place],
            view=view,
            first=rows.start,
            features=features,
            other=other,
            taus=self.taus,
            given=given,
        )


def runs(block: Block) -> Iterator[Block]:
    """The block itself, or where it is long, runs of its rows."""
    if block.logits.nbytes <= BLOCK_BYTES:
        yield block
    else:
        yield from block.parts(BLOCK_BYTES)


def runs_of_views(source: Source, number: int) -> Iterator[slice]:
    """The rows of a block of the store in runs that a measure of views may take at a time."""
    rows = len(rows_of_block(number, source.reader.block_rows, source.reader.samples))
    step = max(1, VIEWS_BYTES // (4 * source.reader.classes * (len(source.taus) + 1)))
    return (slice(start, min(rows, start + step)) for start in range(0, rows, step))


def _rows(reader: FeatureReader, view: int, rows: range, what: str) -> NDArray[np.float32]:
    """Rows of another teacher, whose blocks may be cut elsewhere."""
    size = reader.block_rows
    numbers = range(rows.start // size, (rows.stop - 1) // size + 1)
    parts: list[NDArray[np.float32]] = [getattr(reader, what)(view, number) for number in numbers]
    first = numbers.start * size
    if len(parts) == 1:
        return parts[0][rows.start - first : rows.stop - first]
    return np.concatenate(parts)[rows.start - first : rows.stop - first]


def find_sources(
    store: MeasuredStore,
    others: Sequence[Other],
    taus: tuple[float, ...],
    teachers: Collection[str] | None,
    splits: Collection[str] | None,
    *,
    labels: Choice = "auto",
) -> tuple[Source, ...]:
    """What is to be measured: every teacher in every split, those of them that are named.

    Where others are given, splits that one of them lacks are left out.

    Raises:
        InputError: a name is unknown, nothing is left, the others' samples are not these, or as ``labels_of``.
    """
    found = []
    known_teachers = {teacher for split in store.splits for teacher in store.teachers(split)}
    _check_names("teacher", teachers, known_teachers, store.url)
    _check_names("split", splits, set(store.splits), store.url)
    for split in store.splits if splits is None else splits:
        for teacher in store.teachers(split):
            if teachers is not None and teacher not in teachers:
                continue
            if all(split in other.store.splits and other.teacher in other.store.teachers(split) for other in others):
                readers = tuple(same_samples(store, teacher, other, split) for other in others)
                reader = store.logits(teacher, split)
                found.append(Source(teacher, split, reader, labels_of(store, split, labels), readers, taus=taus))
    if not found:
        raise InputError(
            f"nothing to measure in {store.url}: no split has a cached teacher"
            + (f" and the one to compare with, {', '.join(other.teacher for other in others)}" if others else "")
        )
    return tuple(found)


def _check_names(what: str, asked: Collection[str] | None, known: set[str], url: str) -> None:
    """Refuse names that the store does not have."""
    unknown = [name for name in asked or () if name not in known]
    if unknown:
        raise InputError(f"{url} has no {what} {unknown[0]!r}; it has {', '.join(sorted(known)) or 'none'}")


def about(store: MeasuredStore, source: Source, others: Sequence[Other], views: int) -> About:
    """Whose tally it is, for a measure's tables."""
    reader, classes = source.reader, source.reader.classes
    names = store.classes if len(store.classes) == classes else tuple(str(k) for k in range(classes))
    head = store.classifier(source.teacher, source.split)
    beside = others[0].store.classifier(others[0].teacher, source.split) if others else {}
    return About(
        teacher=source.teacher,
        split=source.split,
        classes=tuple(names),
        rows=reader.samples,
        views=views,
        taus=source.taus,
        other=others[0].name(store) if others else "",
        index=store.index(source.split),
        weight=head.get("weight"),
        bias=head.get("bias"),
        other_weight=beside.get("weight"),
    )
