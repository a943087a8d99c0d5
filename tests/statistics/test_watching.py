"""Who looks on sees one step a block, on any scheduler, however often a block is measured."""

from __future__ import annotations

from contextlib import contextmanager

import distributed
import pytest
from stored_logits import memory_store

from logitcache import statistics
from logitcache.errors import InputError, MissingError
from logitcache.statistics.watching import tell, watched, watched_cluster


class Bar:
    """Notes what it was told: totals by name, and steps one after another."""

    def __init__(self):
        self.totals, self.steps, self.open = {}, [], False

    @contextmanager
    def __call__(self, what, total):
        self.totals[what], self.open = total, True
        yield self
        self.open = False

    def advance(self, count):
        self.steps.append(count)


@pytest.mark.parametrize("scheduler", ["threads", "sync"])
def test_each_block_of_each_teacher_and_split_is_a_step(scheduler):
    bar = Bar()
    statistics.compute(memory_store(9), ["moments", "views"], scheduler=scheduler, watch=bar)
    assert bar.totals == {"measures": 2 * 2 * 6}
    assert bar.steps == [1] * 24 + [0], "nothing was left at the end"
    assert not bar.open


def test_workers_of_a_cluster_tell_of_their_blocks():
    bar = Bar()
    with distributed.Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as client:
        for scheduler in (client, "distributed"):
            statistics.compute(memory_store(9), ["moments"], scheduler=scheduler, watch=bar)
    assert sum(bar.steps) == 2 * 24
    assert bar.steps.count(1) > 24, "most were told of before the end"


def test_the_tables_of_a_run_are_steps_too():
    bar = Bar()
    made = statistics.tables(memory_store(9), watch=bar)
    assert bar.totals == {"tables": 24}
    assert bar.steps == [1] * 24 + [0]
    assert made == statistics.tables(memory_store(9))


def test_blocks_of_a_lost_worker_count_once_and_those_not_told_of_at_the_end():
    class Client:
        def subscribe_topic(self, name, handler):
            self.name, self.handler = name, handler

        def unsubscribe_topic(self, name):
            assert name == self.name

    bar, client = Bar(), Client()
    with watched_cluster(bar, "measures", ["a", "b", "c"], client, "topic"):
        for key in ("a", "b", "a", "merge", "b"):
            client.handler((0.0, key))
    assert bar.steps == [1, 1, 1]


def test_an_error_ends_the_watch_and_comes_through():
    bar, store = Bar(), memory_store(9)
    store.readers["big", "train"].missing = ((0, 1),)
    with pytest.raises(MissingError):
        statistics.compute(store, ["moments"], scheduler="sync", watch=bar)
    assert sum(bar.steps) < 24


def test_without_anybody_nothing_is_told():
    with watched(None, "measures", ["a"]), watched_cluster(None, "measures", ["a"], None, ""):
        tell("nobody listens")


def test_a_client_that_is_not_there_is_an_error_for_people():
    with pytest.raises(InputError, match="there is no client; make one"):
        statistics.compute(memory_store(), ["moments"], scheduler="distributed")
