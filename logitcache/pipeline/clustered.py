"""Stage 1 on a Dask cluster: workers load a teacher once, take blocks, and write shards and commits themselves.

Only names of blocks and counts pass through the scheduler. A task looks for the commits of its blocks first, for Dask
runs again what a dead worker had finished; a block may be computed twice, and is written once. Workers see recipe,
data, checkpoints and store under the same paths as the command that sends the tasks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from typing import Any

from rich.console import Console

from logitcache.caching import CacheOutcome, CacheRun
from logitcache.cluster import ClusterOptions, open_client, run_tasks
from logitcache.pipeline.context import DataShelf, RunContext, choose_device
from logitcache.pipeline.progress import Screen
from logitcache.pipeline.recipe import Recipe, TeacherRecipe
from logitcache.pipeline.stage_one import run_stage_one, say_outcome
from logitcache.pipeline.walking import walk
from logitcache.store import open_store
from logitcache.teacher import load_teacher

__all__ = ["BlockTask", "Site", "cache_blocks_on_cluster", "run_stage_one_by"]

_TASKS_OF_A_WORKER = 16
_MOST_BLOCKS = 8
"""Blocks of a task: few enough that there are many tasks for each worker, many enough to encode beside the teacher."""


@dataclass(frozen=True)
class Site:
    """What a worker needs to run one teacher of a recipe."""

    recipe: Recipe
    out: Path
    top: Path
    device: str
    """As on the command line: each worker settles ``auto`` for itself."""
    teacher: str

    def open(self) -> RunContext:
        """The run, with nothing to look at."""
        screen = Screen(Console(quiet=True))
        return RunContext(self.recipe, self.out, choose_device(self.device), screen, self.top, DataShelf())


@dataclass(frozen=True)
class BlockTask:
    """Some blocks of one split."""

    site: Site
    split: str
    blocks: tuple[tuple[int, int], ...]
    """(view, block) each."""

    def __str__(self) -> str:
        """Which they are, for people."""
        names = ", ".join(f"block {block} of view {view}" for view, block in self.blocks)
        return f"{names} of teacher {self.site.teacher!r} in {self.split}"


def run_stage_one_by(cluster: ClusterOptions, contexts: Sequence[RunContext], device: str) -> None:
    """Stage 1 of every variant, its blocks written by a cluster; teachers are taught in this process, before.

    Args:
        cluster: where the workers are.
        contexts: the variants.
        device: where workers run teachers, as on the command line.
    """
    with open_client(cluster) as client:
        contexts[0].screen.say(f"Dask dashboard: {client.dashboard_link}")

        def write(context: RunContext, teacher: TeacherRecipe, missing: int) -> None:
            title = f"cache {teacher.name} ({missing} blocks missing, {len(client.nthreads())} workers)"
            with context.screen.step(title):
                outcome = cache_blocks_on_cluster(context, teacher, missing, device, client)
            say_outcome(context, outcome)

        walk(contexts, lambda context: run_stage_one(context, write))


def cache_blocks_on_cluster(
    context: RunContext, teacher: TeacherRecipe, missing: int, device: str, client: Any
) -> CacheOutcome:
    """Write every block of a teacher that is not committed yet, ``missing`` in number, by the workers of a cluster.

    One worker first creates the store and chooses the encoding. The teacher's checkpoint must be there.

    Raises:
        CheckError: a task lost its worker again and again.
        MismatchError: the store there is another one.
        InputError: as :func:`logitcache.caching.run_cache`.
    """
    started = time.perf_counter()
    site = Site(context.recipe, context.out.absolute(), context.top.absolute(), device, teacher.name)
    [(_, said)] = run_tasks(client, _prepare, [site])
    for line in said:
        context.screen.say(line)
    store = open_store(context.store_path)
    readers = [store.logits(teacher.name, split) for split in context.job.chosen()]
    total = sum(reader.views * reader.blocks for reader in readers)
    left = total - sum(reader.commits.committed() for reader in readers)
    size = max(1, min(_MOST_BLOCKS, left // max(1, _TASKS_OF_A_WORKER * len(client.nthreads()))))
    tasks = chain.from_iterable(_tasks(site, reader.split, reader.commits.pending(), size) for reader in readers)
    passes = 0
    with context.screen.blocks(f"cache {teacher.name}", missing) as bar:
        bar.advance(missing - left)
        for task, rows in run_tasks(client, _write, tasks):
            passes += rows
            bar.advance(len(task.blocks))
    list(run_tasks(client, _finish, [site]))
    return CacheOutcome(missing, total - missing, passes, time.perf_counter() - started)


def _tasks(site: Site, split: str, blocks: Iterable[tuple[int, int]], size: int) -> Iterator[BlockTask]:
    """Tasks of at most ``size`` blocks."""
    rest = iter(blocks)
    while group := tuple(islice(rest, size)):
        yield BlockTask(site, split, group)


class _Desk:
    """What a worker keeps of its last task for the next one: the data, the teacher, and writers."""

    def __init__(self, site: Site) -> None:
        context = site.open()
        teacher = next(each for each in context.recipe.teachers if each.name == site.teacher)
        split = next(iter(context.splits.values()))
        network = load_teacher(
            context.teacher_options(teacher),
            len(split.classes),
            split.shape,
            context.recipe.cache.inference,
            context.device,
        )
        self.site, self.said = site, list[str]()
        self.run = CacheRun(context.job, network, context.device, say=self.said.append)


_lock = Lock()
_desks: list[_Desk] = []


def _desk(site: Site) -> _Desk:
    """This process's desk for a site; what it held for another one is put away."""
    if not _desks or _desks[0].site != site:
        _desks.clear()
        _desks.append(_Desk(site))
    return _desks[0]


def _prepare(site: Site) -> list[str]:
    """Create the store, and write what had to be computed to choose the encoding; returns what is to be said."""
    with _lock:
        desk = _desk(site)
        for split, blocks in desk.run.held.items():
            desk.run.write(split, desk.run.missing(split, blocks))
        return desk.said


def _write(task: BlockTask) -> int:
    """Write those of a task's blocks that are not committed; returns the forward passes that this took."""
    with _lock:
        run = _desk(task.site).run
        before = run.passes
        run.write(task.split, run.missing(task.split, task.blocks))
        return run.passes - before


def _finish(site: Site) -> None:
    """Fold the commits of finished groups of blocks."""
    with _lock:
        _desk(site).run.finish()
