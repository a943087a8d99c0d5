"""Walk the runs of a sweep, in this process or in several; runs are independent and finished ones are skipped."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import Queue
from threading import Thread
from typing import TypeAlias

import torch

from logitcache.errors import CheckError
from logitcache.student.training import EpochRecord
from logitcache.sweep.grid import RunSpec
from logitcache.sweep.results import finished_runs, write_results
from logitcache.sweep.workshop import SweepContext, Workshop
from logitcache.threads import cores

__all__ = ["default_processes", "run_sweep"]

Progress = Callable[[str, EpochRecord], None]
"""Called with a run's id after each of its epochs."""

_Events: TypeAlias = "Queue[tuple[str, EpochRecord] | None]"


def default_processes(device: str, runs: int) -> int:
    """One process a core with one thread each on CPU, where small students do not fill two; one on a GPU."""
    return 1 if device != "cpu" else max(1, min(runs, cores()))


def run_sweep(
    context: SweepContext, specs: Sequence[RunSpec], *, processes: int | None = None, progress: Progress | None = None
) -> int:
    """Train all runs that are not finished, then write ``results.csv``; returns how many were trained.

    Args:
        context: where data, store and results are.
        specs: the runs.
        processes: how many to use; by default :func:`default_processes`.
        progress: called in this process, possibly from a thread.

    Raises:
        LogitcacheError: the first run that failed, or CheckError for a worker process that died; finished runs stay.
    """
    done = finished_runs(context.out, specs)
    missing = [spec for spec in specs if spec.run_id not in done]
    count = processes or default_processes(context.device, len(missing))
    try:
        if count == 1 or len(missing) <= 1:
            _run_here(context, missing, progress)
        else:
            _run_in_processes(context, missing, count, progress)
    finally:
        if specs:
            write_results(context.out, specs)
    return len(missing)


def _run_here(context: SweepContext, specs: Sequence[RunSpec], progress: Progress | None) -> None:
    """Train runs one after another."""
    workshop = Workshop(context)
    for spec in specs:
        workshop.run(spec, None if progress is None else _named(progress, spec.run_id))


def _run_in_processes(
    context: SweepContext, specs: Sequence[RunSpec], processes: int, progress: Progress | None
) -> None:
    """Train runs side by side, each process with its share of the cores."""
    spawn = multiprocessing.get_context("spawn")
    events: _Events = spawn.Queue()
    listener = Thread(target=_listen, args=(events, progress), daemon=True)
    listener.start()
    threads = max(1, cores() // processes)
    pool = ProcessPoolExecutor(processes, spawn, initializer=_enter, initargs=(context, threads, events))
    try:
        futures: list[Future[None]] = [pool.submit(_run_in_worker, spec) for spec in specs]
        for future in as_completed(futures):
            future.result()
    except BrokenProcessPool as error:
        why = "a process that trained students died (killed, or out of memory)"
        raise CheckError(f"{why}; finished runs stay, run the same command again") from error
    finally:
        pool.shutdown(cancel_futures=True)
        events.put(None)
        listener.join()


class _Worker:
    """The workshop of this process and the way to tell its parent of epochs."""

    workshop: Workshop
    events: _Events


def _enter(context: SweepContext, threads: int, events: _Events) -> None:
    """Prepare a worker process."""
    torch.set_num_threads(threads)
    _Worker.workshop, _Worker.events = Workshop(context), events


def _run_in_worker(spec: RunSpec) -> None:
    """Train one run in a worker process."""
    _Worker.workshop.run(spec, lambda record: _Worker.events.put((spec.run_id, record)))


def _listen(events: _Events, progress: Progress | None) -> None:
    """Hand events of workers to the progress callback until told to stop."""
    while (event := events.get()) is not None:
        if progress is not None:
            progress(*event)


def _named(progress: Progress, run_id: str) -> Callable[[EpochRecord], None]:
    """The callback of one run."""
    return lambda record: progress(run_id, record)
