"""From a store and the names of measures to labelled results: one group of an xarray tree a measure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from logitcache.errors import InputError
from logitcache.statistics.catalogue import AnyMeasure, make_measures
from logitcache.statistics.comparing import check_views
from logitcache.statistics.labels import Choice
from logitcache.statistics.passing import COMPARED, pass_over, with_needs
from logitcache.statistics.plane import classes_named
from logitcache.statistics.sources import Source, about, find_sources
from logitcache.statistics.stores import MeasuredStore, Other
from logitcache.statistics.watching import Watch

__all__ = ["TAUS", "compute"]

TAUS = (0.5, 1.0, 2.0, 4.0, 8.0, 20.0)
"""Temperatures of the measures, unless others are asked for."""


def compute(
    store: MeasuredStore,
    measures: Sequence[str | AnyMeasure] | None = None,
    *,
    teachers: Collection[str] | None = None,
    splits: Collection[str] | None = None,
    taus: Sequence[float] = TAUS,
    against: Sequence[Other] = (),
    views: Literal["clean", "all"] = "clean",
    labels: Choice = "auto",
    plane: Sequence[str | int] | None = None,
    scheduler: Any = "threads",
    watch: Watch | None = None,
) -> xr.DataTree:
    """Measure a store's teachers in one pass over their blocks.

    Args:
        store: what ``open_store`` returns.
        measures: names of the catalogue, or measures; None for all whose needs are met.
        teachers: names of those that are measured; None for all.
        splits: names of those that are measured; None for all.
        taus: temperatures, above 0.
        against: what measures of pairs compare with; the first for most of them, all for ``ensemble``.
        views: "clean" or "all", which measures of single views see.
        labels: what counts as the true class, and which labels may be wrong: see :mod:`logitcache.statistics.labels`.
        plane: three classes, by name or number, of the measure ``plane``, which is then made too.
        scheduler: as in :func:`logitcache.statistics.passing.pass_over`.
        watch: who looks on, likewise.

    Returns:
        A tree with one dataset a measure, ``tree["moments"]``; dimensions teacher and split before the measure's own;
        NaN where a teacher is not in a split or a measure's needs are not met there.

    Raises:
        InputError: a name is unknown, a temperature is not above 0, a measure asked for cannot be made anywhere, views
            that may not be the same would be compared, or labels are not one a sample.
        MissingError: a block that is needed was never committed.
        DamageError: a block is not what was committed.
    """
    if not taus or any(not (0 < tau < np.inf) for tau in taus):
        raise InputError(f"taus = {tuple(taus)}: temperatures are above 0, at least one")
    kept = tuple(sorted(set(map(float, taus))))
    made = make_measures(measures, kept, None if plane is None else classes_named(plane, store.classes))
    sources = find_sources(store, against, kept, teachers, splits, labels=labels)
    jobs = [(source, [each for each in made if not _lack(store, source, each, against)]) for source in sources]
    asked = [each for each in made if measures is not None or (plane is not None and each.name == "plane")]
    _check_all_met(store, asked, sources, against)
    jobs = [(with_needs(source, each, all_views=views == "all"), each) for source, each in jobs if each]
    for source, _ in jobs:
        if source.beyond & COMPARED:
            check_views(store, source.teacher, source.split, against)
    if not jobs:
        raise InputError(f"none of the measures can be made of {store.url}")
    tallies = pass_over(jobs, all_views=views == "all", scheduler=scheduler, watch=watch)
    parts: dict[str, dict[tuple[str, str], xr.Dataset]] = {measure.name: {} for measure in made}
    for (source, each), found in zip(jobs, tallies, strict=True):
        who = about(store, source, against, source.reader.views if views == "all" else 1)
        for measure, tally in zip(each, found, strict=True):
            with suppress(*(() if measures is not None else (InputError,))):  # as where a measure wants three classes
                parts[measure.name][source.teacher, source.split] = measure.dataset(tally, who)
    tree = {name: _together(datasets) for name, datasets in parts.items() if datasets}
    told = {"store": store.url, "views": views, "labels": labels if isinstance(labels, str) else "given"}
    root = xr.Dataset(attrs={**told, "against": [each.name(store) for each in against]})
    return xr.DataTree.from_dict({"/": root, **tree})


def _lack(store: MeasuredStore, source: Source, measure: AnyMeasure, against: Sequence[Other]) -> str:
    """What a measure needs that a source does not have; '' where it has all."""
    true, given = source.labels.true, source.labels.given
    lacks: dict[str, Callable[[], bool]] = {
        "labels": lambda: not _any_known(true, source),
        "given": lambda: not _any_known(true if given is None else given, source),
        "features": lambda: not source.reader.record.features,
        "head": lambda: "weight" not in store.classifier(source.teacher, source.split),
        "other": lambda: not against,
        "other_features": lambda: not against or not source.others[0].record.features,
        "views": lambda: source.reader.views < 2,
    }
    return next((need for need, lacking in lacks.items() if need in measure.needs and lacking()), "")


def _any_known(labels: NDArray[np.int64], source: Source) -> bool:
    """Whether any of the labels is a class."""
    return bool(((labels >= 0) & (labels < source.reader.classes)).any())


def _check_all_met(
    store: MeasuredStore, asked: Sequence[AnyMeasure], sources: Sequence[Source], against: Sequence[Other]
) -> None:
    """Refuse a measure that was asked for and cannot be made of any source."""
    advice = {
        "labels": "no true class is known; give them: --labels SPLIT=FILE.npy",
        "given": "no label is known; give them: --labels SPLIT=FILE.npy",
        "features": "teachers were cached without features",
        "head": "the teachers' last layers are not known",
        "other": "say what to compare with: --against STORE:TEACHER",
        "other_features": "what it is compared with has no features",
        "views": "it compares views, and there is one",
    }
    for measure in asked:
        lacks = [_lack(store, source, measure, against) for source in sources]
        if all(lacks):
            raise InputError(f"measure {measure.name!r} cannot be made of {store.url}: {advice[lacks[0]]}")


def _together(parts: Mapping[tuple[str, str], xr.Dataset]) -> xr.Dataset:
    """Datasets of (teacher, split) as one with both dimensions, in the order in which they were met."""
    splits = list(dict.fromkeys(split for _, split in parts))
    teachers = list(dict.fromkeys(teacher for teacher, _ in parts))
    rows = []
    for split in splits:
        found = [
            parts[teacher, split].expand_dims(teacher=[teacher], split=[split])
            for teacher in teachers
            if (teacher, split) in parts
        ]
        rows.append(_joined(found, "teacher"))
    return _joined(rows, "split").sel(teacher=teachers, split=splits)


def _joined(parts: list[xr.Dataset], dim: str) -> xr.Dataset:
    """Datasets one after another; what one of them lacks is NaN there."""
    if len(parts) == 1:
        return parts[0]
    return xr.concat(
        parts, dim=dim, data_vars="all", coords="minimal", compat="override", join="outer", combine_attrs="override"
    )
