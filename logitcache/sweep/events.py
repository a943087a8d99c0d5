"""What happens in a sweep, as records; whoever wants to know is a function of one: a table, a log, a user's own hook.

Events are told in the process that runs the sweep, wherever the runs themselves are trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logitcache.errors import LogitcacheError
from logitcache.store import Tally
from logitcache.student.training import EpochRecord

__all__ = [
    "Ended",
    "EpochDone",
    "Event",
    "Listener",
    "ListenerError",
    "Progress",
    "Staged",
    "Started",
    "on_epochs",
    "one_line",
    "to_all",
]


@dataclass(frozen=True)
class Started:
    """A run is being trained, from its beginning or from its checkpoint; again where it is retried."""

    run_id: str
    epochs: int
    """All that it has."""
    members: int
    """Runs that are trained together, itself included."""
    note: str = ""
    """What people should know of how it is trained."""


@dataclass(frozen=True)
class EpochDone:
    """A run has done one more epoch."""

    run_id: str
    record: EpochRecord


@dataclass(frozen=True)
class Ended:
    """A run is done, diverged or failed; ``row`` is its row of ``results.csv``."""

    run_id: str
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Staged:
    """What a stage was good for in a process since it last told of it; ``notes`` are what people should know of it."""

    tally: Tally
    notes: tuple[str, ...] = ()


Event = Started | EpochDone | Ended | Staged

Listener = Callable[[Event], None]

Progress = Callable[[str, EpochRecord], None]
"""Called with a run's id after each of its epochs."""


def on_epochs(progress: Progress) -> Listener:
    """A listener that hears of epochs only."""

    def listen(event: Event) -> None:
        if isinstance(event, EpochDone):
            progress(event.run_id, event.record)

    return listen


class ListenerError(LogitcacheError):
    """Whoever listens to a sweep raised an error: no run failed, and the sweep stops."""


def to_all(listeners: Sequence[Listener]) -> Listener:
    """One listener that hands events on; errors of theirs are told from those of the training they listen to.

    Raises (when called):
        ListenerError: one of them raised an error.
    """

    def listen(event: Event) -> None:
        for listener in listeners:
            try:
                listener(event)
            except Exception as error:
                raise ListenerError(
                    f"the sweep stops, since a listener raised {one_line(error)}; finished runs stay"
                ) from error

    return listen


def one_line(error: BaseException) -> str:
    """An error's kind and text on one line; our own say all in their text."""
    text = " ".join(str(error).split())
    return text if isinstance(error, LogitcacheError) else ": ".join(filter(None, (type(error).__name__, text)))
