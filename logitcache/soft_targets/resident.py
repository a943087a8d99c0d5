"""Decoded rows that stay in memory: whole views where they fit, else the blocks in use; fetched in the background.

What is kept is in a row form (:mod:`logitcache.soft_targets.forms`): row-major, the most compact that gathers fast.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor

from logitcache.soft_targets.assembly import Assembly, Rows
from logitcache.soft_targets.forms import KeptForm
from logitcache.threads import single_threaded_pool

__all__ = ["BlockSource", "ResidentBlocks", "ResidentViews"]

_DECODERS = 2


class BlockSource(Protocol):
    """Where the blocks of one teacher come from: a reader of logits, or of features. Picklable, safe in threads."""

    @property
    def views(self) -> int:
        """Views that are stored."""

    @property
    def samples(self) -> int:
        """Samples of the split."""

    @property
    def block_rows(self) -> int:
        """Rows of a block; the last one may have fewer."""

    @property
    def blocks(self) -> int:
        """Blocks a view."""

    def rows(self, block: int) -> range:
        """The rows of a block."""

    def values(self, view: int, block: int) -> dict[str, npt.NDArray[Any]]:
        """The stored arrays of a block by name."""


class ResidentViews:
    """Whole views of one teacher on the device, at most ``limit`` of them at a time."""

    def __init__(self, reader: BlockSource, form: KeptForm, limit: int, device: torch.device) -> None:
        self._reader, self._form, self._limit, self._device = reader, form, max(1, limit), device
        self._views: OrderedDict[int, Future[Rows]] = OrderedDict()
        self._begin()

    def __reduce__(self) -> tuple[type[ResidentViews], tuple[BlockSource, KeptForm, int, torch.device]]:
        """Pickles without what is decoded, so that worker processes fetch for themselves."""
        return ResidentViews, (self._reader, self._form, self._limit, self._device)

    def prefetch(self, view: int) -> None:
        """Start to fetch a view in the background, unless that would displace the only one."""
        if self._limit > 1:
            self._future(view)

    def lacks(self, view: int, block: int) -> bool:  # noqa: ARG002  # as of blocks
        """Whether a block is neither here nor on its way."""
        return view not in self._views

    def gather(self, rows: Tensor, view: int) -> Rows:
        """Any rows, int64 (B,), in any order, in row form."""
        if not (rows.is_cpu and self._device.type == "cpu"):
            if rows.device.type != self._device.type:  # a GPU's own check would end the process
                _check_rows(rows, self._reader.samples)
            rows = rows.to(self._device)
        return {name: part.index_select(0, rows) for name, part in self._future(view).result().items()}

    def _future(self, view: int) -> Future[Rows]:
        """The view, being fetched or there; the one used longest ago makes room."""
        if self._process != os.getpid():  # forked: without the threads that would fulfil what is not done
            self._views = OrderedDict((key, future) for key, future in self._views.items() if future.done())
            self._begin()
        with self._lock:
            future = self._views.get(view)
            if future is None or (future.done() and future.exception() is not None):
                while len(self._views) >= self._limit:
                    self._views.popitem(last=False)
                future = _start(self._pool, self._reader, self._form, view, self._device)
                self._views[view] = future
            self._views.move_to_end(view)
            return future

    def _begin(self) -> None:
        """Threads and a lock of this process."""
        self._process, self._lock = os.getpid(), Lock()
        self._pool = single_threaded_pool(_DECODERS, "decode")


class ResidentBlocks:
    """Blocks of one teacher on the host, at most ``limit`` of them; for views that do not fit in memory."""

    def __init__(self, reader: BlockSource, form: KeptForm, limit: int, device: torch.device) -> None:
        self._reader, self._form, self._limit, self._device = reader, form, max(1, limit), device
        self._blocks: OrderedDict[tuple[int, int], dict[str, npt.NDArray[Any]]] = OrderedDict()

    def prefetch(self, view: int) -> None:
        """Whole views are never fetched ahead: they do not fit."""

    def lacks(self, view: int, block: int) -> bool:
        """Whether a block is not here."""
        return (view, block) not in self._blocks

    def gather(self, rows: Tensor, view: int) -> Rows:
        """Any rows, int64 (B,), in any order, in row form; fast where they come from few blocks."""
        _check_rows(rows, self._reader.samples)
        block = torch.div(rows, self._reader.block_rows, rounding_mode="floor")
        gathered = Assembly(len(rows))
        # In order of appearance: where a batch runs over into the next window, blocks of the last one go first.
        for number in dict.fromkeys(block.tolist()) or (0,):
            here = torch.nonzero(block == number).flatten()
            inside = (rows[here] - number * self._reader.block_rows).numpy()
            gathered.put(here.numpy(), {name: part[inside] for name, part in self._block(view, number).items()})
        return gathered.tensors(self._device)

    def _block(self, view: int, block: int) -> dict[str, npt.NDArray[Any]]:
        """A decoded block; the one used longest ago makes room."""
        found = self._blocks.pop((view, block), None)
        if found is None:
            while len(self._blocks) >= self._limit:
                self._blocks.popitem(last=False)
            found = self._form.rows(self._reader.values(view, block))
        self._blocks[view, block] = found
        return found


def _check_rows(rows: Tensor, samples: int) -> None:
    """Raise what torch raises on the CPU for rows that are not there."""
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < samples:
        raise IndexError("row out of range")


def _start(
    pool: ThreadPoolExecutor, reader: BlockSource, form: KeptForm, view: int, device: torch.device
) -> Future[Rows]:
    """Fetch a view, its blocks decoded side by side."""
    whole = Assembly(reader.samples)

    def fetch(block: int) -> None:
        rows = reader.rows(block)
        whole.put(slice(rows.start, rows.stop), form.rows(reader.values(view, block)))

    parts = [pool.submit(fetch, block) for block in range(reader.blocks)]

    def join() -> Rows:
        wait(parts)
        for part in parts:
            part.result()
        return whole.tensors(device)

    # Parts are queued before their join, and one thread more than the join is there to run them.
    return pool.submit(join)
