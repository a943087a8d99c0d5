"""The one pass: a task reads the views of one block of rows, one after another, and tallies them with every measure.

Tallies are merged in a tree of the same shape whatever the scheduler, so results are the same to the last bit for the
same cut of the store into blocks. Few tallies wait at a time, and a task holds one decoded view, so memory is bounded
by workers times a block whatever the size of the store; what measures of views keep of their rows is bounded by cutting
these (``sources.VIEWS_BYTES``). A lost worker costs the blocks that it held.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from importlib import import_module
from typing import Any, TypeAlias

import torch
from dask.base import compute as dask_compute
from dask.delayed import Delayed, delayed

from logitcache.cluster import ClusterOptions, open_client
from logitcache.errors import InputError
from logitcache.statistics.arrays import task_blocks
from logitcache.statistics.block import Block
from logitcache.statistics.measure import Measure, Need, Tally, ViewsMeasure
from logitcache.statistics.sources import Source, runs, runs_of_views
from logitcache.statistics.watching import Watch, tell, topic, watched, watched_cluster
from logitcache.threads import cores, single_threaded_pool

__all__ = ["COMPARED", "FAN_IN", "Tallies", "pass_over", "with_needs"]

COMPARED: frozenset[Need] = frozenset({"other", "other_features"})
"""Needs of measures that compare."""

FAN_IN = 4
"""Tallies that one task merges: few, for with a thousand classes each takes tens of megabytes."""

Tallies: TypeAlias = tuple[Tally, ...]
AnyMeasure: TypeAlias = Measure | ViewsMeasure

_compute_all: Callable[..., tuple[Tallies, ...]] = dask_compute
_NAMES = ("threads", "threading", "processes", "sync", "synchronous", "single-threaded")


@dataclass(frozen=True)
class _Work:
    """What every task of one source shares."""

    source: Source
    measures: tuple[AnyMeasure, ...]
    all_views: bool
    process: int
    """The caller's; elsewhere the worker's threads are the parallelism."""
    topic: str
    """Where workers of a cluster say that a block is done; empty where nobody looks on."""


def pass_over(
    jobs: Sequence[tuple[Source, Sequence[AnyMeasure]]],
    *,
    all_views: bool = False,
    scheduler: Any = "threads",
    watch: Watch | None = None,
) -> tuple[Tallies, ...]:
    """The tallies of every job, in the order of its measures; each block is read and decoded once.

    With measures of views in one job, the first shares its blocks with all others; each further one decodes again, and
    so does each further run of rows where a block has more than ``VIEWS_BYTES`` allow.

    Args:
        jobs: what is read, and the measures of it, at least one.
        all_views: measures of single views see every view; else the clean one.
        scheduler: Dask's name of one, a ``distributed.Client``, the address of a scheduler, or "local", which starts
            a ``LocalCluster`` with one process a core.
        watch: who looks on, by tasks, which are blocks unless there are very many; see
            :mod:`logitcache.statistics.watching`.

    Raises:
        MissingError: a block was never committed.
        DamageError: a block is not what was committed.
    """
    local = isinstance(scheduler, str) and scheduler in _NAMES
    name = "" if watch is None or local else topic()
    lazy = [_lazy(_Work(source, tuple(measures), all_views, os.getpid(), name)) for source, measures in jobs]
    plan, keys = [total for total, _ in lazy], [key for _, blocks in lazy for key in blocks]
    if local:
        with watched(watch, "measures", keys):
            if scheduler == "threads":
                with single_threaded_pool(cores(), "statistics") as pool:
                    return _compute_all(*plan, scheduler="threads", pool=pool)
            return _compute_all(*plan, scheduler=scheduler)
    with _client(scheduler) as client, watched_cluster(watch, "measures", keys, client, name):
        return tuple(client.gather(client.compute(plan, optimize_graph=False)))


@contextmanager
def _client(scheduler: Any) -> Iterator[Any]:
    """A client: that of somebody else, or one of our own, which is closed afterwards."""
    if not isinstance(scheduler, str):
        yield scheduler
        return
    if scheduler == "distributed":
        yield _default_client()
    elif scheduler != "local" and ":" not in scheduler:
        raise InputError(
            f"scheduler = {scheduler}: allowed are {', '.join(_NAMES)}, distributed for the client that there is, "
            "local, and an address as tcp://host:8786"
        )
    else:
        cluster = ClusterOptions(workers=cores()) if scheduler == "local" else ClusterOptions(scheduler=scheduler)
        with open_client(cluster) as client:
            yield client


def _default_client() -> Any:
    """The client that was made last and is not closed."""
    distributed: Any = import_module("distributed")  # its functions have no types
    try:
        return distributed.default_client()
    except ValueError as error:
        raise InputError(
            "scheduler = distributed: there is no client; make one (distributed.Client), or give an address"
        ) from error


def _lazy(work: _Work) -> tuple[Delayed, Collection[str]]:
    """The lazy tallies of one source, and the keys of the tasks that measure a block."""
    shared = delayed(work, traverse=False, pure=False)
    tasks: list[Delayed] = [delayed(_measure_blocks)(shared, part) for part in task_blocks(work.source.reader.blocks)]
    keys = [str(task.key) for task in tasks]
    while len(tasks) > 1:
        groups = [tasks[first : first + FAN_IN] for first in range(0, len(tasks), FAN_IN)]
        tasks = [delayed(_merge)(shared, group) if len(group) > 1 else group[0] for group in groups]
    return tasks[0], keys


def _measure_blocks(work: _Work, numbers: Sequence[int]) -> Tallies:
    """All tallies of some blocks of rows."""
    if os.getpid() != work.process:
        torch.set_num_threads(1)
    found = reduce(lambda one, other: _merge(work, [one, other]), (_measure(work, number) for number in numbers))
    if work.topic:
        tell(work.topic)
    return found


def _measure(work: _Work, number: int) -> Tallies:
    """All tallies of one block of rows."""
    single = [place for place, each in enumerate(work.measures) if isinstance(each, Measure)]
    found: dict[int, Tally] = {}
    looked = _single(work, single, number, found)
    for place, measure in enumerate(work.measures):
        if not isinstance(measure, Measure):
            for rows in runs_of_views(work.source, number):
                _add(work, place, measure.tally_views(block.cut(rows) for block in looked), found)
                for _ in looked:  # a measure may have seen enough
                    pass
                looked = _blocks(work, number)
    if len(single) == len(work.measures):
        for _ in looked:
            pass
    return tuple(found[place] for place in range(len(work.measures)))


def _add(work: _Work, place: int, tally: Tally, found: dict[int, Tally]) -> None:
    """Join a tally to that of earlier rows by the same measure."""
    found[place] = work.measures[place].merge(found[place], tally) if place in found else tally


def _blocks(work: _Work, number: int) -> Iterator[Block]:
    """The views of a block of rows that are needed, one in memory at a time."""
    for view in range(work.source.reader.views if _needs_views(work) else 1):
        yield work.source.block(view, number)


def _needs_views(work: _Work) -> bool:
    """Whether views but the clean one are read."""
    return work.all_views or any(isinstance(each, ViewsMeasure) for each in work.measures)


def _single(work: _Work, places: list[int], number: int, found: dict[int, Tally]) -> Iterator[Block]:
    """The same views, tallied by measures of single views as they pass."""
    for block in _blocks(work, number):
        if block.view == 0 or work.all_views:
            for run in runs(block):
                _tally(work, places, run, found)
        yield block


def _tally(work: _Work, places: list[int], run: Block, found: dict[int, Tally]) -> None:
    """Add a run of rows to the tallies of measures of single views."""
    for place in places:
        measure = work.measures[place]
        if isinstance(measure, Measure):
            _add(work, place, measure.tally(run), found)


def _merge(work: _Work, parts: list[Tallies]) -> Tallies:
    """The tallies of several blocks of rows, in their order."""
    together = zip(work.measures, zip(*parts, strict=True), strict=True)
    return tuple(reduce(measure.merge, tallies) for measure, tallies in together)


def with_needs(source: Source, measures: Sequence[AnyMeasure], *, all_views: bool = False) -> Source:
    """The source, which reads what the measures need and no more, of the clean view and of further ones."""
    needs = _needs(measures)
    beyond = needs if all_views else _needs([each for each in measures if isinstance(each, ViewsMeasure)])
    return replace(source, others=source.others if needs & COMPARED else (), needs=needs, beyond=beyond)


def _needs(measures: Sequence[AnyMeasure]) -> frozenset[Need]:
    """What any of the measures needs."""
    return frozenset[Need]().union(*(measure.needs for measure in measures))
