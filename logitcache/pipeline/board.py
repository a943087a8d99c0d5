"""What a person sees of a sweep: in a terminal one live table of all runs, elsewhere a line when a run ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from logitcache.pipeline.progress import Screen, duration
from logitcache.student.training import EpochRecord
from logitcache.sweep import Ended, EpochDone, Event, Listener, Started

__all__ = ["Board", "end_line", "watch"]

_AROUND = 4
"""Lines of the terminal that are not rows: heads, summary, and what stands above."""


@contextmanager
def watch(screen: Screen, epochs: Mapping[str, int]) -> Iterator[Listener]:
    """A listener that shows a sweep on a screen while the context lasts.

    Args:
        screen: a table that moves where it is a terminal, else lines.
        epochs: the epochs of each run that is to be trained, by id.
    """
    if not screen.console.is_terminal:
        yield _with_notes(screen, _lines(screen, len(epochs)))
        return
    board = Board(epochs)
    with Live(board, console=screen.console, transient=True, refresh_per_second=4):
        yield _with_notes(screen, board)


def end_line(row: Mapping[str, Any]) -> str:
    """How a run ended."""
    if row["status"] == "failed":
        return f"failed: {row['error']}"
    if row["status"] == "diverged":
        return f"diverged in epoch {row['epochs']}"
    return f"{row['test_accuracy']:.2f} %, {row['epochs']} epochs, {duration(row['train_seconds'])}"


def _with_notes(screen: Screen, listener: Listener) -> Listener:
    """A listener, and each note on how runs are trained said once."""
    said: set[str] = set()

    def listen(event: Event) -> None:
        if isinstance(event, Started) and event.note not in {"", *said}:
            said.add(event.note)
            screen.say(f"  {event.note}")
        listener(event)

    return listen


def _lines(screen: Screen, total: int) -> Listener:
    """A line for each run that ends."""
    ended = 0

    def listen(event: Event) -> None:
        nonlocal ended
        if isinstance(event, Ended):
            ended += 1
            screen.say(f"  {ended} of {total}  {event.run_id}: {end_line(event.row)}")

    return listen


@dataclass
class _Row:
    """One run."""

    run_id: str
    epochs: int
    started: float
    record: EpochRecord | None = None
    told: int = 0
    """Epochs since it was started here; fewer than all where it goes on from a checkpoint."""
    end: Mapping[str, Any] | None = None

    def left(self, now: float) -> float | None:
        """Seconds to its end at the pace so far; None before the first epoch."""
        if self.record is None or self.end is not None:
            return None
        return (now - self.started) / self.told * (self.epochs - self.record.epoch)

    @property
    def images(self) -> float:
        """Images a second in the last epoch."""
        return 0.0 if self.record is None else self.record.samples / max(self.record.train_seconds, 1e-9)


class Board:
    """The table: runs in training first, then those that ended last, as many as the terminal has lines for.

    Args:
        epochs: the epochs of each run that is to be trained, by id.
        clock: seconds.
    """

    def __init__(self, epochs: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        self._epochs, self._clock, self._began = dict(epochs), clock, clock()
        self._rows: dict[str, _Row] = {}
        self._told = 0

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, Started):
            self._rows.pop(event.run_id, None)  # a retry begins anew, at the end
            self._rows[event.run_id] = _Row(event.run_id, event.epochs, self._clock())
        elif isinstance(event, EpochDone):
            row = self._rows[event.run_id]
            row.record, row.told = event.record, row.told + 1
            self._told += 1
        elif isinstance(event, Ended):
            epochs = self._epochs.get(event.run_id, 0)
            self._rows.setdefault(event.run_id, _Row(event.run_id, epochs, self._clock())).end = event.row

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """The table within the height that there is."""
        yield self.render(options.height or console.height)

    def render(self, height: int) -> RenderableType:
        """The table in at most ``height`` lines."""
        room = max(1, height - _AROUND)
        rows = list(self._rows.values())  # a copy: another thread draws
        training = [row for row in rows if row.end is None]
        ended = [row for row in rows if row.end is not None]
        shown = training[:room] + ended[::-1][: max(0, room - len(training))]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("run")
        for name in ("epoch", "loss", "test %", "images/s", "left"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in shown:
            run = Text(row.run_id, no_wrap=True, overflow="ellipsis")  # gives way where the terminal is narrow
            table.add_row(run, *self._cells(row), style="dim" if row.end is not None else "")
        return Group(table, Text(self.summary()))

    def summary(self) -> str:
        """All runs in one line."""
        rows = list(self._rows.values())
        training = [row for row in rows if row.end is None]
        parts = [f"{len(rows) - len(training)} of {len(self._epochs)} ended", f"{len(training)} in training"]
        if waiting := sum(run_id not in self._rows for run_id in self._epochs):
            parts.append(f"{waiting} waiting")
        if images := sum(row.images for row in training):
            parts.append(f"{images:,.0f} images/s")
        if self._told:
            pace = (self._clock() - self._began) / self._told
            parts.append(f"{duration(pace * self._epochs_left())} left")
        return ", ".join(parts)

    def _epochs_left(self) -> int:
        """Of all runs."""
        left = 0
        for run_id, epochs in self._epochs.items():
            row = self._rows.get(run_id)
            if row is None or row.end is None:
                left += epochs - (row.record.epoch if row is not None and row.record is not None else 0)
        return left

    def _cells(self, row: _Row) -> tuple[str, ...]:
        """What a run's line has beside its name."""
        record, left = row.record, row.left(self._clock())
        epoch = f"{record.epoch if record else 0}/{row.epochs}"
        last = "" if left is None else duration(left)
        if row.end is not None:
            last = "" if row.end["status"] == "done" else str(row.end["status"])
        if record is None:
            return epoch, "", "", "", last
        loss = "" if record.loss is None else f"{record.loss:.4f}"
        accuracy = "" if record.test_accuracy is None else f"{record.test_accuracy:.2f}"
        return epoch, loss, accuracy, f"{row.images:,.0f}", last
