"""Which process of a data-parallel training this one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed

__all__ = ["ALONE", "World"]

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """A process's place among those that train one network together.

    Attributes:
        rank: from 0; rank 0 evaluates and writes.
        size: the number of processes.
    """

    rank: int
    size: int

    @property
    def leads(self) -> bool:
        """Whether this process evaluates and writes metrics and checkpoints."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.size > 1:
            torch.distributed.barrier()

    def gather(self, value: T) -> list[T]:
        """What all processes give, in the order of their ranks; each of them gets it."""
        found: list[Any] = [value] * self.size
        if self.size > 1:
            torch.distributed.all_gather_object(found, value)
        return found


ALONE = World(0, 1)
"""One process that trains by itself."""
