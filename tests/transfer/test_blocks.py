"""Blocks are read in the order given, written side by side, and never more of them are held than asked."""

from __future__ import annotations

from threading import Lock
from types import SimpleNamespace

import pytest

from logitcache.transfer import blocks
from logitcache.transfer.blocks import write_blocks

PLACES = [(view, block) for view in range(3) for block in range(7)]


class Writer:
    """Takes blocks of ten rows; one place may fail."""

    def __init__(self, values=1, fails=None):
        self.record = SimpleNamespace(block_rows=10, classes=values)
        self.written, self._fails, self._lock = [], fails, Lock()

    def rows(self, block):
        return range(10 * block, 10 * block + 10)

    def write(self, view, block, logits, features):
        if (view, block) == self._fails:
            raise KeyError(view, block)
        with self._lock:
            self.written.append((view, block, logits, features))


def test_all_blocks_are_written_with_what_was_read_and_rows_counted():
    writer, read, rows = Writer(), [], []
    write_blocks(writer, PLACES, lambda *place: read.append(place) or (place, None), rows.append)
    assert read == PLACES
    assert sorted(writer.written) == [(*place, place, None) for place in PLACES]
    assert rows == [10] * 21


def test_what_is_not_given_is_left_out_and_not_counted():
    writer, rows = Writer(), []
    write_blocks(writer, PLACES, lambda view, block: None if block == 3 else ("z", "f"), rows.append)
    assert sorted(place[:2] for place in writer.written) == [place for place in PLACES if place[1] != 3]
    assert sum(rows) == 180


@pytest.mark.parametrize("fails", [PLACES[0], PLACES[10], PLACES[-1]])
def test_a_block_that_cannot_be_written_is_an_error(fails):
    with pytest.raises(KeyError):
        write_blocks(Writer(fails=fails), PLACES, lambda *place: ("z", None))


def test_an_error_while_reading_waits_for_the_blocks_under_way():
    writer = Writer()

    def read(view, block):
        if (view, block) == (0, 2):
            raise OSError("gone")
        return "z", None

    with pytest.raises(OSError, match="gone"):
        write_blocks(writer, PLACES, read)
    assert sorted(place[:2] for place in writer.written) == [(0, 0), (0, 1)]


@pytest.mark.parametrize(("values", "most"), [(1, 6), (1 << 24, 1), (1 << 23, 1), (1 << 22, 3)])
def test_wide_rows_are_not_held_in_numbers(monkeypatch, values, most):
    """Ten rows a block: a block in flight was read and not written yet."""
    writer, lock = Writer(values), Lock()
    held = peak = 0
    real = writer.write

    def read(*place):
        nonlocal held, peak
        with lock:
            held += 1
            peak = max(peak, held)
        return place, None

    def write(*block):
        nonlocal held
        real(*block)
        with lock:
            held -= 1

    writer.write = write
    monkeypatch.setattr(blocks, "cores", lambda: 3)
    write_blocks(writer, PLACES, read)
    assert len(writer.written) == len(PLACES)
    assert peak <= most
