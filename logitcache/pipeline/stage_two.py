"""Stage 2, from the store alone: distill, statistics, report. No module that loads or runs a teacher is imported.

Each step is a function of the run's context, does only what is not done yet, and can be run again at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from logitcache import statistics
from logitcache.cluster import ClusterOptions, open_client
from logitcache.errors import CheckError, InputError
from logitcache.pipeline.board import watch
from logitcache.pipeline.context import RunContext
from logitcache.pipeline.picturing import note_samples
from logitcache.pipeline.progress import Screen
from logitcache.pipeline.staged import told_of_stage
from logitcache.pipeline.student_logits import keep_logits
from logitcache.pipeline.student_statistics import measure_students
from logitcache.pipeline.walking import walk
from logitcache.records import fingerprint, sha256
from logitcache.report import write_report
from logitcache.student.distributed import ALONE, World, from_environment
from logitcache.sweep import STUDENTS_STORE, finished_runs, run_parallel, run_sweep, write_results

__all__ = ["distill", "distill_all", "make_report", "make_statistics"]

_STATISTICS = "statistics"


def distill_all(contexts: Sequence[RunContext], cluster: ClusterOptions | None = None) -> None:
    """Train the students of every variant, here or by a cluster, and keep their logits where that is asked for.

    Under ``torchrun`` the processes meet once, for all of them.

    Raises:
        CheckError: see :func:`distill`.
    """
    if cluster is not None and cluster.asked:
        with open_client(cluster) as client:
            contexts[0].screen.say(f"Dask dashboard: {client.dashboard_link}")
            walk(contexts, lambda context: _distill_and_keep(context, ALONE, client))
        return
    with from_environment(contexts[0].device.type) as world:
        walk(contexts, lambda context: _distill_and_keep(context, world))


def distill(context: RunContext, world: World = ALONE, client: Any = None) -> None:
    """Train every student that is not trained yet; no teacher is loaded, and students that need one are left alone.

    Under ``torchrun`` all processes train one student after another together, and rank 0 alone speaks. With a
    ``distributed.Client`` its workers train them.

    Raises:
        CheckError: some of them failed; all others are trained.
    """
    if not world.leads:
        context = replace(context, screen=Screen(Console(quiet=True)))
    _distill(context, world, client)


def _distill_and_keep(context: RunContext, world: World, client: Any = None) -> None:
    """Train, then keep the logits of those that are trained, also where others failed; rank 0 alone writes."""
    try:
        distill(context, world, client)
    except CheckError:
        if world.leads:
            keep_logits(context)
        raise
    if world.leads:
        keep_logits(context)


def _distill(context: RunContext, world: World, client: Any) -> None:
    """Train what is missing, in this process's part."""
    runs, sweep = context.runs(), context.sweep()
    if not runs:
        context.screen.say("distill: the recipe has no students")
        return
    done = finished_runs(context.out, runs)
    own = [run for run in runs if sweep.trains(run)]
    missing = [run for run in own if run.run_id not in done]
    left = len(runs) - len(done) - len(missing)
    if left:
        context.screen.say(
            f"distill: {left} students with targets = 'online' need the teacher itself: `logitcache run` trains them"
        )
    if not missing:
        if done and world.leads:
            write_results(context.out, runs)
        if done:
            context.screen.say(f"distill: all {len(done)} students are trained")
        return
    _need_teachers(context, {name for run in missing for name in run.teachers})
    if world.leads:
        context.note_shared_store()
    epochs = {run.run_id: run.training.epochs for run in missing}
    together = f", each by {world.size} processes" if world.size > 1 else ""
    title = f"distill {len(missing)} of {len(own)} students{together}"
    options = context.recipe.sweep
    telling = told_of_stage(context.screen, options.staging, here=client is None)
    with context.screen.step(title), telling as of_stage, watch(context.screen, epochs) as listener:
        listeners = [listener, *of_stage]
        if world.size > 1:
            run_parallel(sweep, runs, world, options, listeners=listeners)
        else:
            run_sweep(sweep, runs, options, listeners=listeners, client=client)


def make_statistics(context: RunContext) -> None:
    """Statistics of the stored logits, of students against teachers, and of the students whose logits are kept."""
    if context.store() is not None and context.own_teachers() != ():
        _measure_teachers(context)
    measure_students(context)


def _measure_teachers(context: RunContext) -> None:
    """The teachers of the store, and the test logits of all students beside them."""
    parts = {
        "measures": "2",  # what is measured: results of an older version are made anew
        "store": context.store_fingerprint(),
        "runs": context.run_fingerprint(),
    }
    folder, students = context.out / _STATISTICS, context.out / "students"
    if folder.is_dir() and context.was_done("statistics", fingerprint(parts)):
        context.screen.say("statistics: done before")
        return
    with context.screen.step("statistics"):
        beside, watch = students if students.is_dir() else None, context.screen.blocks
        statistics.run(context.store_path, folder, beside, context.own_teachers(), watch=watch)
    context.mark_done("statistics", fingerprint(parts))


def make_report(context: RunContext) -> None:
    """The page and its figures, from the result files."""
    timing = context.out / "timing.json"
    parts = {
        "page": "3",  # what it shows: a page of an older version is made anew
        "store": context.store_fingerprint(),
        "runs": context.run_fingerprint(),
        "timing": timing.read_text(encoding="utf-8") if timing.exists() else "",
        "tables": _tables(context),
    }
    page = context.out / "report.html"
    if page.exists() and context.was_done("report", fingerprint(parts)):
        context.screen.say(f"report: {page}")
        return
    context.note_shared_store()
    with context.screen.step("report"):
        note_samples(context)
        page = write_report(context.out)
    context.mark_done("report", fingerprint(parts))
    context.screen.say(f"  {page}")


def _tables(context: RunContext) -> dict[str, str]:
    """The tables of statistics that the page reads, of which anybody may make more, by what is in them."""
    folders = (context.out / _STATISTICS, statistics.results_folder(context.out / STUDENTS_STORE))
    paths = [path for folder in folders for path in sorted(folder.glob("*.csv"))]
    return {f"{path.parent.name}/{path.name}": sha256(path.read_bytes()) for path in paths}


def _need_teachers(context: RunContext, names: set[str]) -> None:
    """Refuse to distill from teachers that are not wholly cached."""
    for teacher in context.recipe.teachers:
        if teacher.name in names:
            committed, total = context.cached(teacher)
            if committed < total:
                raise InputError(
                    f"teacher {teacher.name!r} has {committed} of {total} blocks in {context.store_path}; "
                    "run the cache step first"
                )
