"""Blocks to come are brought in order, a few at a time, and no further ahead than there is room."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch

from logitcache.errors import DamageError
from logitcache.soft_targets.ahead import FetchAhead, blocks_in_order


class Room:
    """A stage with room for so many blocks that were not read yet."""

    def __init__(self, room: int) -> None:
        self.room, self.brought, self.lock = room, [], threading.Lock()

    def bring(self, view, block):
        with self.lock:
            if self.room < 1:
                return False
            self.room -= 1
            self.brought.append((view, block))
            return True

    def read(self, ahead, place):
        with self.lock:
            self.room += 1
        ahead.passed(place)

    def wait(self, count):
        until = time.monotonic() + 20
        while len(self.brought) < count:
            assert time.monotonic() < until, self.brought
            time.sleep(0.001)
        time.sleep(0.01)
        assert len(self.brought) == count, "and no more"


PLACES = [(1, block) for block in range(9)]


def test_all_are_brought_where_there_is_room():
    room = Room(100)
    FetchAhead(room.bring).plan(PLACES)
    room.wait(9)
    assert sorted(room.brought) == PLACES


def test_without_room_it_waits_until_something_is_read():
    room = Room(3)
    ahead = FetchAhead(room.bring)
    ahead.plan(PLACES)
    room.wait(3)
    assert set(room.brought) <= set(PLACES[:7]), "in order, but for those that are under way together"
    for count, place in enumerate(list(room.brought), 4):
        room.read(ahead, place)
        room.wait(count)


def test_what_was_read_before_it_was_brought_is_not():
    room = Room(0)
    ahead = FetchAhead(room.bring)
    ahead.plan(PLACES)
    for place in PLACES[:8]:
        ahead.passed(place)
    time.sleep(0.02)
    room.read(ahead, PLACES[7])
    room.wait(1)
    assert room.brought == [PLACES[8]]


def test_a_plan_takes_the_place_of_the_one_before():
    room = Room(0)
    ahead = FetchAhead(room.bring)
    ahead.plan(PLACES)
    time.sleep(0.02)
    room.room = 100
    ahead.plan([(2, 0), (2, 1)])
    room.wait(2)
    assert sorted(room.brought) == [(2, 0), (2, 1)]


def test_what_goes_wrong_ends_a_plan_and_not_the_next_one():
    room = Room(100)

    def bring(view, block):
        if view == 1:
            raise DamageError("gone")
        return room.bring(view, block)

    ahead = FetchAhead(bring)
    ahead.plan(PLACES)
    time.sleep(0.02)
    ahead.plan([(2, block) for block in range(9)])
    room.wait(9)


def test_no_more_than_four_at_a_time():
    under_way, most, gate = 0, 0, threading.Lock()

    def bring(view, block):
        nonlocal under_way, most
        with gate:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.005)
        with gate:
            under_way -= 1
        done.append(block)
        return True

    done: list[int] = []
    FetchAhead(bring).plan(PLACES)
    until = time.monotonic() + 20
    while len(done) < 9:
        assert time.monotonic() < until
        time.sleep(0.001)
    assert 2 <= most <= 4


def test_a_fork_plans_for_itself():
    room = Room(0)
    ahead = FetchAhead(room.bring)
    ahead.plan(PLACES)
    with ahead._lock:  # as another thread may have it at the fork
        number = os.fork()
        if number == 0:
            try:
                room.room, room.lock = 1, threading.Lock()
                ahead.passed((1, 0))
                ahead.plan([(2, 5)])
                room.wait(1)
            finally:
                os._exit(0 if room.brought == [(2, 5)] else 1)
    assert os.waitpid(number, 0)[1] == 0


@pytest.mark.parametrize(("rows", "blocks"), [([0, 9, 8, 3, 25, 1], [0, 2, 6]), ([], []), ([11, 4, 7, 0], [2, 1, 0])])
def test_blocks_come_in_the_order_in_which_rows_meet_them(rows, blocks):
    assert blocks_in_order(torch.tensor(rows, dtype=torch.int64), 4) == blocks
