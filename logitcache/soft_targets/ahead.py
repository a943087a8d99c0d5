"""Blocks that will be read are fetched to a stage in the background, in the order in which they will be."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from logitcache.errors import LogitcacheError
from logitcache.soft_targets.resident import BlockSource
from logitcache.store import LogitsReader

__all__ = ["FetchAhead", "StagedBlocks", "blocks_in_order", "staged"]

_FETCHERS = 4
"""Shards that are fetched at a time; those who wait for one themselves come on top."""

Place = tuple[int, int]
"""View and block."""


class FetchAhead:
    """Brings blocks to a stage in the background, as far ahead of their reader as the stage has room.

    Args:
        bring: has a block's shards on the stage; False where there is no room before something is read.
    """

    def __init__(self, bring: Callable[[int, int], bool]) -> None:
        self._bring = bring
        self._left: OrderedDict[Place, None] = OrderedDict()
        self._begin()

    def plan(self, places: Iterable[Place]) -> None:
        """Bring these blocks, in order, in the place of what was planned before."""
        self._check_process()
        with self._lock:
            self._plan += 1
            self._left = OrderedDict.fromkeys(places)
        self._go_on()

    def passed(self, place: Place) -> None:
        """A block was read: it need not be brought, and there may be room for others."""
        self._check_process()
        with self._lock:
            self._left.pop(place, None)
            self._trying.discard(place)
        self._go_on()

    def _go_on(self) -> None:
        """Put threads to work, each on one block; what waited in a queue would keep the program from its end."""
        with self._lock:
            while self._left and self._busy < _FETCHERS:
                place, _ = self._left.popitem(last=False)
                try:
                    self._pool.submit(self._work, place, self._plan)
                except RuntimeError:  # the program ends
                    self._left.clear()
                    return
                self._busy += 1
                self._trying.add(place)

    def _work(self, place: Place, plan: int) -> None:
        """Bring one block; what goes wrong ends the plan, and is met again by who reads the block."""
        brought = None
        try:
            brought = self._bring(*place)
        except (LogitcacheError, OSError):
            pass
        finally:
            with self._lock:
                self._busy -= 1
                if plan == self._plan and brought is None:
                    self._left.clear()
                elif plan == self._plan and not brought and place in self._trying:
                    self._left[place] = None
                    self._left.move_to_end(place, last=False)
                self._trying.discard(place)
        if brought:
            self._go_on()

    def _check_process(self) -> None:
        """A fork has no threads, and maybe a lock that nobody will open."""
        if self._process != os.getpid():
            self._left = OrderedDict()
            self._begin()

    def _begin(self) -> None:
        """Threads and a lock of this process."""
        self._process, self._lock, self._busy, self._plan = os.getpid(), Lock(), 0, 0
        self._trying: set[Place] = set()
        self._pool = ThreadPoolExecutor(_FETCHERS, thread_name_prefix="stage")


class StagedBlocks:
    """A source of blocks whose shards are brought to a stage before they are read.

    Args:
        source: the source.
        reader: of the teacher that it is of, with a stage.
        names: the arrays that the source reads.
    """

    def __init__(self, source: BlockSource, reader: LogitsReader, names: tuple[str, ...]) -> None:
        self._source, self._reader, self._names = source, reader, names
        self.views, self.samples = source.views, source.samples
        self.block_rows, self.blocks = source.block_rows, source.blocks
        self._ahead = FetchAhead(self._bring)

    def __reduce__(self) -> tuple[type[StagedBlocks], tuple[BlockSource, LogitsReader, tuple[str, ...]]]:
        """Without threads, which are this process's."""
        return StagedBlocks, (self._source, self._reader, self._names)

    def rows(self, block: int) -> range:
        """The rows of a block."""
        return self._source.rows(block)

    def values(self, view: int, block: int) -> dict[str, npt.NDArray[Any]]:
        """The stored arrays of a block by name."""
        values = self._source.values(view, block)
        self._ahead.passed((view, block))
        return values

    def fetch_ahead(self, places: Iterable[Place]) -> None:
        """Bring these blocks to the stage in the background, in order; what was planned before and is not, is not."""
        if self._reader.stage is not None:
            self._reader.stage.release(self)
        self._ahead.plan(places)

    def _bring(self, view: int, block: int) -> bool:
        """Have a block's shards on the stage, as far as there is room."""
        return all(self._reader.bring(self, name, view, block) for name in self._names)


def staged(source: BlockSource, reader: LogitsReader, names: tuple[str, ...]) -> BlockSource:
    """A source as it is, or where its reader has a stage, one whose shards can be brought there; arguments as above."""
    return source if reader.stage is None else StagedBlocks(source, reader, names)


def blocks_in_order(rows: Tensor, block_rows: int) -> list[int]:
    """The blocks of ``block_rows`` rows that rows, int64 (N,), lie in, in the order in which they are first met."""
    blocks = torch.div(rows, block_rows, rounding_mode="floor").numpy()
    found, first = np.unique(blocks, return_index=True)
    ordered: list[int] = found[np.argsort(first)].tolist()
    return ordered
