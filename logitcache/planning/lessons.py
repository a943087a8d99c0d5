"""What one training reads from a store, how often, how fast, and whether it would have to wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from logitcache.planning.traffic import Requests, StoredPart

__all__ = ["Lesson", "Pace"]

_MB = 10**6


@dataclass(frozen=True)
class Pace:
    """An epoch of one process at a bandwidth.

    Attributes:
        computing: seconds that its steps take.
        reading: seconds that what it reads takes.
        overlaps: whether the next view is read while this one is trained on.
    """

    computing: float
    reading: float
    overlaps: bool

    @property
    def waiting(self) -> float:
        """Seconds in which nothing is computed."""
        return max(0.0, self.reading - self.computing) if self.overlaps else self.reading

    @property
    def lost(self) -> float:
        """Share of an epoch that is spent waiting."""
        return self.waiting / (self.waiting + self.computing)


@dataclass(frozen=True)
class Lesson:
    """One training of a student from cached logits.

    All samples of an epoch show one view, and the epochs walk the views. A view that fits in memory is read whole and
    stays until others need its place; of one that does not, each block is read once an epoch. Every process of the
    training reads the same.

    Attributes:
        epochs: of the training.
        rows: samples that it sees in an epoch.
        views: augmented views that it walks; 0 for the clean one.
        parts: the teachers that it reads, as they are stored.
        row_bytes: stored bytes of a row of each of them.
        kept_bytes: bytes of a decoded row of all of them.
        memory: bytes that decoded rows may take in a process.
    """

    epochs: int
    rows: int
    views: int
    parts: tuple[StoredPart, ...]
    row_bytes: tuple[float, ...]
    kept_bytes: float
    memory: float

    @property
    def view_bytes(self) -> float:
        """Stored bytes of one view of its teachers: also where it sees a part of the samples, all blocks are read."""
        return sum(part.samples * size for part, size in zip(self.parts, self.row_bytes, strict=True))

    @property
    def kept_view(self) -> float:
        """Bytes of a decoded view."""
        return self.kept_bytes * max((part.samples for part in self.parts), default=0)

    @property
    def resident(self) -> int:
        """Views that stay in memory together; 0 where not even one does."""
        return int(self.memory // max(1.0, self.kept_view))

    @property
    def scattered(self) -> bool:
        """Whether it draws single rows from blocks that do not fit in memory: each batch decodes many of them."""
        return not self.resident and any(self.rows < part.samples for part in self.parts)

    @property
    def loads(self) -> int:
        """How many times a view is read."""
        distinct = min(max(1, self.views), self.epochs)
        return distinct if self.resident >= distinct else self.epochs

    @property
    def bytes(self) -> float:
        """What each process reads."""
        return self.loads * self.view_bytes

    def requests(self, processes: int = 1, *, loads: int | None = None) -> Requests:
        """What so many processes ask for while they read so many views, or all of the training's."""
        times = processes * (self.loads if loads is None else loads)
        views = (replace(part, views=1).requests("epoch") for part in self.parts)
        return sum(views, Requests()).times(times)

    def byte_rate(self, student_rate: float) -> float:
        """Bytes a second that each process reads so that a training of ``student_rate`` rows a second need not wait."""
        return self.bytes / self.epochs / (self.rows / student_rate)

    def pace(self, student_rate: float, bandwidth: float) -> Pace:
        """An epoch at ``student_rate`` rows a second and ``bandwidth`` MB/s, as the average of all epochs."""
        reading = self.bytes / self.epochs / (bandwidth * _MB)
        return Pace(self.rows / student_rate, reading, overlaps=self.resident > 1)

    @staticmethod
    def longest(lessons: Sequence[Lesson]) -> Lesson | None:
        """The one that reads the most, None of none."""
        return max(lessons, key=lambda lesson: lesson.bytes, default=None)
