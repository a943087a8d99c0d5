"""Decoded logits that stay in memory: whole views where they fit, else the blocks in use; fetched in the background.

What is kept are the stored codes (int16 or float), in row-major order: the most compact form that gathers fast.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from logitcache.store import LogitsReader

__all__ = ["ResidentBlocks", "ResidentViews", "view_bytes"]

_DECODERS = 2


def view_bytes(reader: LogitsReader) -> int:
    """Memory of one decoded view, in bytes."""
    return reader.samples * reader.classes * np.dtype(reader.encoding.dtype).itemsize


class ResidentViews:
    """Whole views of one teacher as codes (samples, classes) on the device, at most ``limit`` of them at a time."""

    def __init__(self, reader: LogitsReader, limit: int, device: torch.device) -> None:
        self._reader, self._limit, self._device = reader, max(1, limit), device
        self._views: OrderedDict[int, Future[Tensor]] = OrderedDict()
        self._begin()

    def __reduce__(self) -> tuple[type[ResidentViews], tuple[LogitsReader, int, torch.device]]:
        """Pickles without what is decoded, so that worker processes fetch for themselves."""
        return ResidentViews, (self._reader, self._limit, self._device)

    def prefetch(self, view: int) -> None:
        """Start to fetch a view in the background, unless that would displace the only one."""
        if self._limit > 1:
            self._future(view)

    def gather(self, rows: Tensor, view: int) -> Tensor:
        """Codes (B, classes) of any rows, int64 (B,), in any order."""
        if rows.device.type != self._device.type:  # a GPU's own check would end the process
            _check_rows(rows, self._reader.samples)
        return self._future(view).result().index_select(0, rows.to(self._device))

    def _future(self, view: int) -> Future[Tensor]:
        """The view, being fetched or there; the one used longest ago makes room."""
        if self._process != os.getpid():  # forked: without the threads that would fulfil what is not done
            self._views = OrderedDict((key, future) for key, future in self._views.items() if future.done())
            self._begin()
        with self._lock:
            future = self._views.get(view)
            if future is None or (future.done() and future.exception() is not None):
                while len(self._views) >= self._limit:
                    self._views.popitem(last=False)
                future = _start(self._pool, self._reader, view, self._device)
                self._views[view] = future
            self._views.move_to_end(view)
            return future

    def _begin(self) -> None:
        """Threads and a lock of this process."""
        self._process, self._lock = os.getpid(), Lock()
        self._pool = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode")


class ResidentBlocks:
    """Blocks of one teacher as codes on the host, at most ``limit`` of them; for views that do not fit in memory."""

    def __init__(self, reader: LogitsReader, limit: int, device: torch.device) -> None:
        self._reader, self._limit, self._device = reader, max(1, limit), device
        self._blocks: OrderedDict[tuple[int, int], Tensor] = OrderedDict()

    def prefetch(self, view: int) -> None:
        """Whole views are never fetched ahead: they do not fit."""

    def gather(self, rows: Tensor, view: int) -> Tensor:
        """Codes (B, classes) of any rows, int64 (B,), in any order; fast where they come from few blocks."""
        _check_rows(rows, self._reader.samples)
        block = torch.div(rows, self._reader.block_rows, rounding_mode="floor")
        dtype = getattr(torch, self._reader.encoding.dtype)
        codes = torch.empty(len(rows), self._reader.classes, dtype=dtype)
        # In order of appearance: where a batch runs over into the next window, blocks of the last one go first.
        for number in dict.fromkeys(block.tolist()):
            here = torch.nonzero(block == number).flatten()
            codes[here] = self._block(view, number)[rows[here] - number * self._reader.block_rows]
        return codes.to(self._device)

    def _block(self, view: int, block: int) -> Tensor:
        """A decoded block; the one used longest ago makes room."""
        codes = self._blocks.pop((view, block), None)
        if codes is None:
            while len(self._blocks) >= self._limit:
                self._blocks.popitem(last=False)
            codes = torch.from_numpy(self._reader.codes(view, block))
        self._blocks[view, block] = codes
        return codes


def _check_rows(rows: Tensor, samples: int) -> None:
    """Raise what torch raises on the CPU for rows that are not there."""
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < samples:
        raise IndexError("row out of range")


def _start(pool: ThreadPoolExecutor, reader: LogitsReader, view: int, device: torch.device) -> Future[Tensor]:
    """Fetch a view, its blocks decoded side by side."""
    codes = np.empty((reader.samples, reader.classes), dtype=reader.encoding.dtype)

    def fetch(block: int) -> None:
        rows = reader.rows(block)
        codes[rows.start : rows.stop] = reader.codes(view, block)

    parts = [pool.submit(fetch, block) for block in range(reader.blocks)]

    def join() -> Tensor:
        wait(parts)
        for part in parts:
            part.result()
        return torch.from_numpy(codes).to(device)

    # Parts are queued before their join, and one thread more than the join is there to run them.
    return pool.submit(join)
