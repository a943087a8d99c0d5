"""Blocks from wherever they come, read one after another and encoded side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from logitcache.store import TeacherWriter
from logitcache.threads import cores, single_threaded_pool

__all__ = ["write_blocks"]

_MOST_VALUES = 1 << 27
"""Values of the blocks in flight, so that wide rows do not fill the memory."""


def write_blocks(
    writer: TeacherWriter,
    places: Iterable[tuple[int, int]],
    read: Callable[[int, int], tuple[Any, Any] | None],
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the blocks at (view, block); returns how many were.

    Args:
        writer: where they go.
        places: in the order of reading; taken as there is room.
        read: gives a block's logits, and features or None; None altogether where the block is to be left out.
        progress: called with the number of rows just written.
    """
    workers = cores()
    size = max(1, writer.record.block_rows * writer.record.classes)
    most = max(1, min(2 * workers, _MOST_VALUES // size))
    with single_threaded_pool(workers, "encode") as pool:
        written, flights = 0, dict[Future[None], int]()
        for view, block in places:
            while len(flights) >= most:
                _land(flights, progress)
            content = read(view, block)
            if content is not None:
                flights[pool.submit(writer.write, view, block, *content)] = len(writer.rows(block))
                written += 1
            del content
        while flights:
            _land(flights, progress)
    return written


def _land(flights: dict[Future[None], int], progress: Callable[[int], None] | None) -> None:
    """Wait for a block to be written."""
    done, _ = wait(flights, return_when=FIRST_COMPLETED)
    for flight in done:
        rows = flights.pop(flight)
        flight.result()
        if progress is not None:
            progress(rows)
