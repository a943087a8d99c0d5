"""Groups of blocks: consecutive blocks of a view whose commits are kept, folded and read together.

What is done to a group takes the same time and memory however many blocks a store has. A view of few blocks is one
group; of one with more, a teacher's record says how many blocks are a group (``commit_group``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["GROUP_BLOCKS", "Group", "Groups", "commit_group"]

GROUP_BLOCKS = 1024
"""Blocks of a group: a folded record of them has about a megabyte, and is read in a fifth of a second."""


def commit_group(samples: int, block_rows: int) -> int:
    """Blocks of a group for views of so many samples; 0 where each view is one group."""
    return GROUP_BLOCKS if -(-samples // block_rows) > GROUP_BLOCKS else 0


@dataclass(frozen=True)
class Group:
    """Some consecutive blocks of a view; ``key`` is the name of their folder and of their folded record."""

    view: int
    blocks: range
    key: str


@dataclass(frozen=True)
class Groups:
    """The groups of one teacher in one split, in the order of views and blocks.

    Args:
        views: how many views there are.
        blocks: blocks a view.
        size: blocks of a group; 0 where each view is one group.
    """

    views: int
    blocks: int
    size: int = 0

    def __iter__(self) -> Iterator[Group]:
        """All of them."""
        for view in range(self.views):
            yield from self.of_view(view)

    def __len__(self) -> int:
        """How many there are."""
        return self.views * self._in_view

    def of_view(self, view: int) -> Iterator[Group]:
        """Those of one view."""
        return (self.at(view, number) for number in range(self._in_view))

    def of(self, view: int, block: int) -> Group:
        """That of one block."""
        return self.at(view, block // self.size if self.size else 0)

    def at(self, view: int, number: int) -> Group:
        """That of one view with this number."""
        if not self.size:
            return Group(view, range(self.blocks), str(view))
        first = number * self.size
        return Group(view, range(first, min(first + self.size, self.blocks)), f"{view}.{number}")

    def spread(self, most: int) -> Iterator[Group]:
        """At most so many of them, at least one, evenly over all."""
        total = len(self)
        for place in range(min(total, max(1, most))):
            yield self.at(*divmod(place * total // min(total, max(1, most)), self._in_view))

    @property
    def _in_view(self) -> int:
        """How many a view has."""
        return -(-self.blocks // self.size) if self.size else 1
