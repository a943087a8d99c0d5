"""Many tasks on a cluster, a few in flight: what is in memory does not grow with their number.

A task that was lost with its worker is sent again; near the end, one that takes much longer than others is sent a
second time and the first answer counts. Tasks may therefore run twice, and at the same time: they must be such that
this does no harm, as writing a block is, whose commit is looked for first.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from statistics import median
from typing import Any, Generic, TypeVar

from logitcache.errors import CheckError

__all__ = ["TaskOptions", "run_tasks"]

_REMEMBERED = 1000
"""Tasks whose seconds tell what is slow."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class TaskOptions:
    """How tasks are sent.

    Args:
        ahead: tasks in flight for each thread of the cluster.
        tries: how often a task is sent before it counts as what kills its workers.
        slow: how many times the median a task takes before it is sent a second time, when no other is left to send.
        slow_seconds: and at least so long.
        look_seconds: how often the cluster is looked at while nothing comes.
        resources: what a worker must have, as ``{"GPU": 1}``.
    """

    ahead: int = 2
    tries: int = 20
    slow: float = 4.0
    slow_seconds: float = 30.0
    look_seconds: float = 1.0
    resources: dict[str, float] = field(default_factory=dict)


@dataclass
class _Task(Generic[Item]):
    """One item on its way."""

    item: Item
    futures: list[Any]
    sent: float
    tries: int = 1


def run_tasks(
    client: Any, work: Callable[[Item], Result], items: Iterable[Item], options: TaskOptions | None = None
) -> Iterator[tuple[Item, Result]]:
    """Items with their results, in the order in which these come.

    Args:
        client: a ``distributed.Client``.
        work: a function of a module, for it travels by name; what it needs travels with the item.
        items: taken one by one, as there is room.
        options: how they are sent.

    Raises:
        CheckError: a task lost its worker each time it was sent.
        Exception: what ``work`` raised; tasks in flight are cancelled.
    """
    window = _Window(client, work, iter(items), options or TaskOptions())
    try:
        yield from window.results()
    finally:
        window.cancel()


class _Window(Generic[Item, Result]):
    """The tasks in flight."""

    def __init__(
        self, client: Any, work: Callable[[Item], Result], items: Iterator[Item], options: TaskOptions
    ) -> None:
        self._client, self._work, self._items, self._options = client, work, items, options
        self._distributed: Any = import_module("distributed")
        self._flights: dict[Any, _Task[Item]] = {}
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        self._left = True

    def results(self) -> Iterator[tuple[Item, Result]]:
        """Items with their results, as they come."""
        self._fill()
        while self._flights:
            for future in self._done():
                task = self._flights.pop(future, None)
                if task is None:
                    continue
                answer = self._answer(task, future)
                if answer is not None:
                    yield task.item, answer[0]
            self._fill()
            self._send_slow_ones_twice()

    def cancel(self) -> None:
        """Give up what is in flight."""
        if self._flights:
            self._client.cancel(list(self._flights))
        self._flights.clear()

    def _fill(self) -> None:
        """Send items while there is room."""
        room = max(1, self._options.ahead * sum(self._client.nthreads().values()))
        while self._left and len(self._flights) < room:
            try:
                item = next(self._items)
            except StopIteration:
                self._left = False
                return
            task = _Task(item, [], time.monotonic())
            self._send(task)

    def _send(self, task: _Task[Item]) -> None:
        """Send a task, maybe once more."""
        future = self._client.submit(self._work, task.item, pure=False, resources=self._options.resources or None)
        task.futures.append(future)
        self._flights[future] = task

    def _done(self) -> list[Any]:
        """Futures that are done, after waiting a while."""
        try:
            done, _ = self._distributed.wait(
                list(self._flights), timeout=self._options.look_seconds, return_when="FIRST_COMPLETED"
            )
        except TimeoutError:
            return []
        return list(done)

    def _answer(self, task: _Task[Item], future: Any) -> tuple[Result] | None:
        """A task's result; None where it was lost and is sent again.

        Raises:
            CheckError: it was lost too often.
        """
        if future.status == "finished":
            self._seconds.append(time.monotonic() - task.sent)
            for twin in task.futures:
                if twin is not future and self._flights.pop(twin, None) is not None:
                    self._client.cancel(twin)
            return (future.result(),)
        error = future.exception() if future.status == "error" else None
        if error is not None and not isinstance(error, self._distributed.KilledWorker):
            raise error
        if any(twin in self._flights for twin in task.futures):
            return None
        if task.tries >= self._options.tries:
            raise CheckError(f"{task.item}: the worker that had it was lost {task.tries} times; look into its log, "
                             "or give workers more memory") from error  # fmt: skip
        task.tries += 1
        task.sent = time.monotonic()
        self._send(task)
        return None

    def _send_slow_ones_twice(self) -> None:
        """Where nothing is left to send, send what takes long to another worker too."""
        if self._left or not self._seconds:
            return
        limit = max(self._options.slow_seconds, self._options.slow * median(self._seconds))
        now = time.monotonic()
        for task in {id(each): each for each in self._flights.values()}.values():
            if now - task.sent > limit and len(task.futures) == task.tries:
                task.sent = now
                self._send(task)
