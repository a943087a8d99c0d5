"""Blocks of a store, the objects that they are, and the requests that each step makes for them.

What a step asks for is a sum over blocks, over their arrays and over groups of commits, with the counts of the table
below; they are those of the code, and a test counts them. A few hundred requests that open a store are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Literal

from logitcache.store.groups import Groups, commit_group

__all__ = ["COUNTS", "Counts", "Requests", "Step", "StoredPart"]

Step = Literal["cache", "resume", "verify", "decode", "epoch"]
"""To write a store, to find that all of it is there, to verify lengths, to verify all bytes, to read it once."""


@dataclass(frozen=True)
class Requests:
    """How many requests, by kind."""

    put: int = 0
    get: int = 0
    head: int = 0
    list: int = 0
    delete: int = 0

    def __add__(self, other: Requests) -> Requests:
        return Requests(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))

    def times(self, count: int) -> Requests:
        """So many times as many."""
        return Requests(*(each * count for each in astuple(self)))


@dataclass(frozen=True)
class Counts:
    """Requests of a step: for each block, for each of its arrays, and for each group of commits."""

    block: Requests = Requests()
    array: Requests = Requests()
    group: Requests = Requests()


COUNTS: Mapping[Step, Counts] = {
    "cache": Counts(Requests(put=1, get=1, delete=1), Requests(put=1), Requests(put=1, get=1, head=5, list=4)),
    "resume": Counts(group=Requests(head=3, list=1)),
    "verify": Counts(array=Requests(head=1), group=Requests(get=1, head=1, list=1)),
    "decode": Counts(array=Requests(get=1, head=1), group=Requests(get=1, head=1, list=1)),
    "epoch": Counts(array=Requests(get=1), group=Requests(get=1, list=1)),
}
"""The requests of each step. ``cache``: each block's arrays and its commit are put; when its group is finished, its
commit is read, folded with the others into one record, and deleted."""


@dataclass(frozen=True)
class StoredPart:
    """One teacher in one split.

    Attributes:
        teacher: its name.
        split: the split's.
        samples: samples of the split.
        views: views that are stored, the clean one included.
        block_rows: rows of a block.
        arrays: arrays that a block has, a shard each.
    """

    teacher: str
    split: str
    samples: int
    views: int
    block_rows: int
    arrays: int

    @property
    def rows(self) -> int:
        """Rows of all views."""
        return self.samples * self.views

    @property
    def view_blocks(self) -> int:
        """Blocks of a view."""
        return math.ceil(self.samples / self.block_rows)

    @property
    def blocks(self) -> int:
        """Blocks of all views."""
        return self.views * self.view_blocks

    @property
    def groups(self) -> int:
        """Groups of commits, of all views."""
        return len(Groups(self.views, self.view_blocks, commit_group(self.samples, self.block_rows)))

    def requests(self, step: Step) -> Requests:
        """What a step asks for."""
        counts = COUNTS[step]
        return (
            counts.block.times(self.blocks)
            + counts.array.times(self.blocks * self.arrays)
            + counts.group.times(self.groups)
        )
