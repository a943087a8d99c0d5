"""What the page shows of real samples, written beside the result files: chosen samples and their thumbnails."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from logitcache.data import Split
from logitcache.pipeline.context import RunContext
from logitcache.report.samples import Source, gather, write_samples
from logitcache.report.samples_students import beside
from logitcache.report.thumbnails import thumbnail, write_thumbnails
from logitcache.statistics import results_folder
from logitcache.store import Store
from logitcache.sweep import STUDENTS_STORE
from logitcache.views import Renderer, ViewOptions

__all__ = ["Pictures", "note_samples"]

LINES, POINTS = 60, 1000
"""Lines of a ranked table and of one of points, for each teacher and split, whose samples get thumbnails."""

_PIECE = 64
"""Samples whose pixels are in memory at once."""

_WHOLE = re.compile(r"\d+(\.0)?")
"""A sample's index; a column that has empty cells too is one of floats."""

_OF_STUDENTS = ("plane*.csv", "penultimate*.csv")
"""Students' tables whose samples the page shows."""


class Pictures:
    """Pixels of any view of any sample, before the network's normalisation; mixing is left out.

    Args:
        splits: the data set.
        views: the policy; view 0 is the clean one.
    """

    def __init__(self, splits: Mapping[str, Split], views: ViewOptions) -> None:
        self._renderers = {name: Renderer(split, views) for name, split in splits.items()}

    def __call__(self, split: str, row: int, view: int = 0) -> NDArray[Any]:
        """The pixels of one view, (C, H, W), mostly uint8."""
        pixels: NDArray[Any] = self._renderers[split].pixels(torch.tensor([row]), torch.tensor([view]))[0].numpy()
        return pixels

    def clean(self, split: str, rows: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
        """The pixels of the clean view of each of some rows, as one by one, and faster than one by one."""
        for piece in torch.from_numpy(rows).split(_PIECE):
            yield from self._renderers[split].pixels(piece, torch.zeros_like(piece)).numpy()


def note_samples(context: RunContext) -> None:
    """Write ``samples.json`` and ``thumbnails.json`` into the run's folder.

    Thumbnails are of the chosen samples, and of those in tables of statistics that have a split and a column whose
    name ends in index: that in the full data set. Samples are chosen where a clean view is wholly stored.
    """
    store = context.store()
    if store is None:
        return
    own = context.own_teachers()
    split = next((name for name in ("test", *store.splits) if _complete(store, name, own)), None)
    wanted = _listed(context.out / "statistics")
    wanted |= _listed(results_folder(context.out / STUDENTS_STORE), _OF_STUDENTS)
    if split is not None:
        sources = [
            Source(name, teacher=True, logits=store.logits(name, split)) for name in _complete(store, split, own)
        ]
        shape = store.split(split).samples, len(store.classes)
        students = beside(context.out, shape) if split == "test" else []
        samples = gather(store, split, [*sources, *students])
        write_samples(context.out, samples)
        wanted |= {(split, one.sample) for one in samples.samples}
    _draw(context, store, wanted)


def _complete(store: Store, split: str, own: Iterable[str] | None) -> list[str]:
    """Teachers whose clean view of a split is wholly committed; of a run's own where it shares the store."""
    if split not in store.splits:
        return []
    readers = [store.logits(name, split) for name in store.teachers(split) if own is None or name in own]
    return [reader.teacher for reader in readers if reader.commits.complete(0)]


def _listed(folder: Path, names: Sequence[str] = ("*.csv",)) -> set[tuple[str, int]]:
    """Split and sample of the first lines for each teacher and split of all tables that name samples."""
    found: set[tuple[str, int]] = set()
    for path in sorted(path for name in names for path in folder.glob(name)):
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.DictReader(file, restval="")
            columns = [name for name in lines.fieldnames or () if name.endswith("index")]
            if columns and "split" in (lines.fieldnames or ()):
                found |= _first(lines, columns, LINES if "rank" in (lines.fieldnames or ()) else POINTS)
    return found


def _first(lines: Iterable[Mapping[str, str]], names: Sequence[str], most: int) -> set[tuple[str, int]]:
    """Split and sample of the first so many lines of each teacher and split."""
    found: set[tuple[str, int]] = set()
    counts: Counter[tuple[str, str]] = Counter()
    for line in lines:
        key = line.get("teacher", ""), line["split"]
        samples = {int(float(line[name])) for name in names if _WHOLE.fullmatch(line[name])}
        if samples and counts[key] < most:
            counts[key] += 1
            found |= {(line["split"], sample) for sample in samples}
    return found


def _draw(context: RunContext, store: Store, wanted: set[tuple[str, int]]) -> None:
    """Write the thumbnails of samples that the store and the data have."""
    pictures = Pictures(context.splits, context.recipe.views)
    found: dict[tuple[str, int], str] = {}
    for split in sorted({name for name, _ in wanted} & set(store.splits) & set(context.splits)):
        samples = np.array(sorted(sample for name, sample in wanted if name == split), np.int64)
        index = store.index(split)
        rows = np.flatnonzero(np.isin(index, samples))
        clean = pictures.clean(split, rows)
        found |= {(split, int(index[row])): thumbnail(pixels) for row, pixels in zip(rows, clean, strict=True)}
    if found:
        write_thumbnails(context.out, found)
