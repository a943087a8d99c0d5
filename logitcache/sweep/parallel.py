"""A sweep whose runs are trained one after another, each by all processes that ``torchrun`` started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from logitcache.student.world import World
from logitcache.sweep.attempts import RUN_ERRORS
from logitcache.sweep.events import Ended, Listener, ListenerError, one_line, to_all
from logitcache.sweep.grid import RunSpec
from logitcache.sweep.options import SweepOptions
from logitcache.sweep.results import failed_record, finished_runs, run_folder, write_record, write_results
from logitcache.sweep.running import own_listeners
from logitcache.sweep.trainers import train_parallel
from logitcache.sweep.units import tidy
from logitcache.sweep.workshop import SweepContext, Workshop

__all__ = ["run_parallel"]


def run_parallel(
    context: SweepContext,
    specs: Sequence[RunSpec],
    world: World,
    options: SweepOptions | None = None,
    *,
    listeners: Sequence[Listener] = (),
) -> int:
    """Train all runs that are not finished; every process calls this, and rank 0 writes and tells.

    A run that fails is recorded and stops the sweep, since processes can no longer agree on what comes next;
    ``torchrun --max-restarts`` starts over, and finished runs stay.

    Args:
        context: where data, store and results are; a folder that all processes see.
        specs: the runs.
        world: this process among them, which have met.
        options: who is told; stacks, processes and retries have no meaning here.
        listeners: told of all events, in rank 0.

    Returns:
        How many runs there were to train.
    """
    options = options or SweepOptions()
    tell = to_all([*listeners, *own_listeners(context, options)] if world.leads else [])
    context = replace(context, stage=options.staging)
    done = finished_runs(context.out, specs)
    missing = [spec for spec in specs if spec.run_id not in done and context.trains(spec)]
    world.wait()  # before the first of them writes, all have seen the same
    workshop = Workshop(context)
    try:
        for spec in missing:
            _train(workshop, spec, world, tell)
        for staged in world.gather(workshop.staged()):
            if staged is not None:
                tell(staged)
    finally:
        if world.leads:
            tidy(context.out, specs)
            write_results(context.out, specs)
    return len(missing)


def _train(workshop: Workshop, spec: RunSpec, world: World, tell: Listener) -> None:
    """Train one run; a failure is recorded before it is raised."""
    try:
        train_parallel(workshop, spec, world, tell)
    except ListenerError:
        raise
    except RUN_ERRORS as error:
        if world.leads:
            record = failed_record(spec, one_line(error))
            write_record(run_folder(workshop.context.out, spec), record)
            tell(Ended(spec.run_id, record))
        raise
