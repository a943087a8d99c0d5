"""A killer of a cluster's workers, and a count of the tasks that had to be sent again; both beside its scheduler."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from distributed import SchedulerPlugin

__all__ = ["Killer", "Sent"]

_LOOK_SECONDS = 0.02


class Killer(Thread):
    """Ends a worker that has tasks by SIGKILL again and again, while a ``with`` block runs.

    Args:
        scheduler: a ``distributed.Scheduler`` in this process; its workers are processes of this machine.
        every: mean seconds between two kills; each pause is from half of that to one and a half of it.
        most: no more are killed than these.
        seed: decides on pauses and victims.
    """

    def __init__(self, scheduler: Any, every: float, most: int, seed: str) -> None:
        super().__init__(daemon=True)
        self._scheduler, self._every, self._most = scheduler, every, most
        self._chance = random.Random(seed)  # noqa: S311  # moments and victims need no secrecy
        self._over, self._killed = Event(), set[int]()

    @property
    def kills(self) -> int:
        """How many were killed."""
        return len(self._killed)

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """No more."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """Wait, and kill; where no worker has a task, wait for one that has."""
        while self.kills < self._most and not self._over.wait(self._every * self._chance.uniform(0.5, 1.5)):
            while not self._kill_one() and not self._over.wait(_LOOK_SECONDS):
                pass

    def _kill_one(self) -> bool:
        """Kill one of those that have tasks; False where there is none."""
        workers = sorted(self._scheduler.workers.values(), key=lambda worker: str(worker.name))
        busy = [worker.pid for worker in workers if worker.processing and worker.pid not in self._killed]
        if not busy:
            return False
        victim = self._chance.choice(busy)
        self._killed.add(victim)
        os.kill(victim, signal.SIGKILL)
        return True


class Sent(SchedulerPlugin):
    """Counts how often each task was given to a worker: more than once where the worker that had it is lost."""

    name = "sent"

    def __init__(self) -> None:
        self._times: Counter[Any] = Counter()

    def transition(self, key: Any, _: str, finish: str, *__: Any, **___: Any) -> None:
        """A task changes its state; called by the scheduler."""
        if finish == "processing":
            self._times[key] += 1

    @property
    def tasks(self) -> int:
        """Different tasks."""
        return len(self._times)

    @property
    def again(self) -> int:
        """How often a task was sent that had been sent before."""
        return sum(self._times.values()) - len(self._times)
