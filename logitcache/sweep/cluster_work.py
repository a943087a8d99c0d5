"""Units of a sweep as tasks of a Dask cluster: a worker opens data and store once, and trains what it is given.

Workers see data, store and run folder under the same paths as the sweep does, which alone writes ``results.csv``. A
unit that lost its worker goes on from its checkpoint on another one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from logitcache.cluster import TaskOptions, run_tasks
from logitcache.sweep.attempts import Failure, attempt
from logitcache.sweep.events import Event, Listener
from logitcache.sweep.units import Unit
from logitcache.sweep.workers import Settle
from logitcache.sweep.workshop import SweepContext, Workshop

__all__ = ["work_on_cluster"]


@dataclass(frozen=True)
class _UnitTask:
    """A unit, and what is needed to train it."""

    context: SweepContext
    unit: Unit

    def __str__(self) -> str:
        """Which runs it is, for people."""
        return ", ".join(spec.run_id for spec in self.unit.specs)


@dataclass(frozen=True)
class _Answer:
    """How a unit ended, and all that there was to tell of it on the way."""

    failure: Failure | None
    events: tuple[Event, ...]


def work_on_cluster(context: SweepContext, units: Sequence[Unit], client: Any, settle: Settle, tell: Listener) -> None:
    """Train units on the workers of a cluster, one at a time on each; a unit's events are told when it has ended.

    Raises:
        CheckError: a unit lost its worker again and again.
    """
    store = context.store.absolute() if isinstance(context.store, Path) else context.store
    stage = None if context.stage is None else replace(context.stage, folder=context.stage.folder.absolute())
    there = replace(context, store=store, out=context.out.absolute(), stage=stage)
    options = TaskOptions(ahead=1, slow=math.inf, resources=_resources(client))
    queue = list(units)
    while queue:
        again: list[Unit] = []
        for task, answer in run_tasks(client, _train, [_UnitTask(there, unit) for unit in queue], options):
            for event in answer.events:
                tell(event)
            again += settle(task.unit, answer.failure)
        queue = again


def _resources(client: Any) -> dict[str, float]:
    """A GPU for each task, where workers were started with ``--resources GPU=1``."""
    workers: Mapping[str, Mapping[str, Any]] = client.scheduler_info()["workers"]
    return {"GPU": 1.0} if any("GPU" in worker.get("resources", {}) for worker in workers.values()) else {}


_lock = Lock()
_workshops: list[Workshop] = []


def _train(task: _UnitTask) -> _Answer:
    """Train a unit in a worker, which keeps what it opened for the next one."""
    events: list[Event] = []
    with _lock:
        if not _workshops or _workshops[0].context != task.context:
            _workshops[:] = [Workshop(task.context)]
        failure = attempt(_workshops[0], task.unit, events.append)
    return _Answer(failure, tuple(events))
