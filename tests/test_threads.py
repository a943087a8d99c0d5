"""Items are mapped by threads a few at a time, in order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from logitcache.threads import mapped


def test_answers_come_in_order_and_items_are_taken_as_there_is_room():
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(3) as pool:
        found = list(islice(mapped(pool, lambda number: 2 * number, items(), 4), 50))
    assert found == list(range(0, 100, 2))
    assert len(taken) <= 50 + 4 + 1


def test_what_goes_wrong_is_raised_in_its_place():
    found = []
    with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError):
        found.extend(mapped(pool, lambda number: 6 // number, [3, 2, 0, 1], 2))
    assert found == [2, 3]


def test_nothing_makes_nothing():
    with ThreadPoolExecutor(1) as pool:
        assert list(mapped(pool, str, [], 1)) == []
