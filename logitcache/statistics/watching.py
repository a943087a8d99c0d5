"""Somebody looks on while blocks are measured, such as a progress bar: one step a block, on any scheduler.

Dask's own schedulers tell a callback about each task that is done; workers of a cluster say so themselves, on a topic
of the scheduler's events.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from threading import Lock
from typing import Any, Protocol, TypeAlias

from dask.callbacks import Callback

__all__ = ["Steps", "Watch", "tell", "topic", "watched", "watched_cluster"]


class Steps(Protocol):
    """What moves, such as a bar."""

    def advance(self, count: float) -> None:
        """Move by ``count`` steps."""


Watch: TypeAlias = Callable[[str, int], AbstractContextManager[Steps]]
"""From what is done ("tables", "measures") and the number of its steps to what moves; it may be moved by any thread."""

# Dask's own class has no types.
_callback: Callable[..., AbstractContextManager[Any]] = Callback


class _Counter:
    """Moves one step for each of some tasks, however often it is done: a worker that is lost has done it in vain."""

    def __init__(self, keys: Collection[str], steps: Steps) -> None:
        self._left, self._steps, self._lock = set(keys), steps, Lock()

    def done(self, key: object) -> None:
        """A task is done."""
        with self._lock:
            if key in self._left:
                self._left.discard(str(key))
                self._steps.advance(1)

    def finish(self) -> None:
        """All tasks are done, also those that nobody has told of yet."""
        with self._lock:
            self._steps.advance(len(self._left))
            self._left.clear()


@contextmanager
def watched(watch: Watch | None, what: str, keys: Collection[str]) -> Iterator[None]:
    """Tasks of these keys are steps, where one of Dask's own schedulers computes them inside."""
    if watch is None:
        yield
        return
    with watch(what, len(keys)) as steps:
        counter = _Counter(keys, steps)
        with _callback(posttask=lambda key, *_: counter.done(key)):
            yield
        counter.finish()


@contextmanager
def watched_cluster(watch: Watch | None, what: str, keys: Collection[str], client: Any, name: str) -> Iterator[None]:
    """Likewise, where a client's workers compute them and :func:`tell` so on the topic ``name``."""
    if watch is None:
        yield
        return
    with watch(what, len(keys)) as steps:
        counter = _Counter(keys, steps)
        client.subscribe_topic(name, lambda event: counter.done(event[1]))
        try:
            yield
        finally:
            client.unsubscribe_topic(name)
        counter.finish()


def topic() -> str:
    """A name that no other pass has."""
    return f"logitcache-{uuid.uuid4().hex}"


def tell(name: str) -> None:
    """Say on a topic, from inside a task of a cluster, that the task is done; elsewhere nothing."""
    try:
        worker: Any = import_module("distributed").get_worker()
    except ValueError:  # not on a worker
        return
    worker.log_event(name, worker.get_current_task())
