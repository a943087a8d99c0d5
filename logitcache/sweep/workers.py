"""Processes that train units of a sweep: each takes one at a time, tells of its epochs, and may die without harm.

Every process has a pipe of its own, which nobody else writes to: the end of a pipe is how a death is seen, and no lock
is left behind by it. A worker whose parent is gone ends too, so that nobody writes beside the next sweep.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

import torch

from logitcache.memory import keep_freed_memory
from logitcache.sweep.attempts import Failure, attempt
from logitcache.sweep.events import Event, Listener
from logitcache.sweep.units import Unit
from logitcache.sweep.workshop import SweepContext, Workshop
from logitcache.threads import cores

__all__ = ["work_here", "work_in_processes"]

_START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""Forked from a server that has loaded torch already: a new interpreter takes seconds to, in each of the processes."""

_PATIENCE = 10.0
"""Seconds for an idle process to end by itself."""

Settle = Callable[[Unit, Failure | None], Iterable[Unit]]
"""Told how a unit ended; returns what is to be trained for it, such as another attempt."""


def work_here(context: SweepContext, units: Sequence[Unit], settle: Settle, tell: Listener) -> None:
    """Train units one after another in this process."""
    workshop = Workshop(context)
    queue = deque(units)
    while queue:
        unit = queue.popleft()
        queue.extend(settle(unit, attempt(workshop, unit, tell)))


def work_in_processes(
    context: SweepContext, units: Sequence[Unit], processes: int, settle: Settle, tell: Listener
) -> None:
    """Train units side by side, each process with its share of the cores."""
    queue = deque(units)
    threads = max(1, cores() // processes)
    workers = [_Worker(context, threads) for _ in range(processes)]
    try:
        while True:
            for worker in workers:
                if worker.unit is None and queue:
                    worker.give(queue.popleft())
            busy = [worker for worker in workers if worker.unit is not None]
            if not busy:
                return
            ready = connection.wait([worker.pipe for worker in busy])
            for worker in busy:
                if worker.pipe in ready:
                    queue.extend(_hear(worker, settle, tell))
    finally:
        for worker in workers:
            worker.stop()


def _hear(worker: _Worker, settle: Settle, tell: Listener) -> Iterable[Unit]:
    """One message of a worker, or its death; returns what is to be trained because of it."""
    try:
        message: Event | _Settled = worker.pipe.recv()
    except (EOFError, OSError):
        return settle(worker.bury(), Failure("its process died (killed, or out of memory)", died=True))
    if isinstance(message, _Settled):
        return settle(worker.release(), message.failure)
    tell(message)
    return ()


@dataclass(frozen=True)
class _Settled:
    """A worker's last word on a unit."""

    failure: Failure | None


class _Worker:
    """A process, started when first needed and again after its death, and the unit that it trains."""

    pipe: Connection

    def __init__(self, context: SweepContext, threads: int) -> None:
        self._context, self._threads = context, threads
        self._process: multiprocessing.process.BaseProcess | None = None
        self.unit: Unit | None = None

    def give(self, unit: Unit) -> None:
        """Have it train a unit."""
        self.unit = unit
        if self._process is None:
            self._start()
        with suppress(OSError):  # it died while idle: its pipe will say so
            self.pipe.send(unit)

    def release(self) -> Unit:
        """The unit that it trained; it is free for another."""
        unit, self.unit = self.unit, None
        if unit is None:
            raise RuntimeError("a worker spoke of a unit that it was never given")
        return unit

    def bury(self) -> Unit:
        """The unit of a worker that died."""
        self.stop()
        return self.release()

    def stop(self) -> None:
        """End the process, one that is training by force."""
        if self._process is not None:
            self.pipe.close()
            self._process.join(0 if self.unit else _PATIENCE)
            self._process.kill()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        """Start the process; its end of the pipe is closed here, so that its death ends the pipe."""
        context: Any = multiprocessing.get_context(_START)
        if _START == "forkserver":
            context.set_forkserver_preload([__name__])
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._context, self._threads, dict(os.environ)))
        self._process.start()
        theirs.close()


def _serve(pipe: Connection, context: SweepContext, threads: int, environ: dict[str, str]) -> None:
    """What a worker process does: train what it is given until there is no more, or no parent."""
    os.environ.update(environ)  # a server that forks has that of when it was started
    Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    keep_freed_memory()
    workshop = Workshop(context)
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            unit = pipe.recv()
            pipe.send(_Settled(attempt(workshop, unit, pipe.send)))


def _die_with_parent() -> None:
    """End this process at once when its parent is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
