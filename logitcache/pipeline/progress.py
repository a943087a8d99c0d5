"""What a person sees while a pipeline runs: a line for each step, and a bar with rate and time left in a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["Bar", "Screen", "duration"]


class Screen:
    """Prints steps and bars; bars only where the output is a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, markup=False)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A step, with its time when it ends well."""
        started = time.perf_counter()
        self.say(f"{title} ...")
        yield
        self.say(f"{title}: {duration(time.perf_counter() - started)}")

    @contextmanager
    def bar(self, description: str, total: int, unit: str) -> Iterator[Bar]:
        """A bar towards ``total`` units."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(unit),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        visible = self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=not visible) as progress:
            yield Bar(progress, progress.add_task(f"  {description}", total=total, note=""))

    def blocks(self, what: str, total: int) -> AbstractContextManager[Bar]:
        """A bar towards a number of blocks."""
        return self.bar(what, total, "blocks")


class Bar:
    """A bar that moves."""

    def __init__(self, progress: Progress, task: int) -> None:
        self._progress, self._task = progress, task

    def advance(self, count: float, note: str = "") -> None:
        """Move by ``count`` units, with a word on what was done last."""
        self._progress.update(self._task, advance=count, note=note)  # type: ignore[arg-type]  # TaskID is an int


class _Rate(ProgressColumn):
    """Units a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """The rate as text, empty before the first one is known."""
        return Text(f"{task.speed:,.0f} {self._unit}/s" if task.speed else "")


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
