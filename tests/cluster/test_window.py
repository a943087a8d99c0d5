"""Tasks are sent a few at a time; lost ones come back, slow ones are sent twice, and errors are the caller's."""

from __future__ import annotations

import os
import signal
import time
from itertools import count, islice
from pathlib import Path

import pytest

from logitcache.cluster import ClusterOptions, TaskOptions, open_client, run_tasks
from logitcache.errors import CheckError


@pytest.fixture(scope="module")
def client(quick_workers):
    """Two worker processes."""
    with open_client(ClusterOptions(workers=2)) as opened:
        yield opened


def double(number: int) -> int:
    return 2 * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three is refused")
    return number


def die_once(folder: str) -> int:
    """Kill the own worker, but for the second time."""
    mark = Path(folder) / "died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def slow_once(folder: str) -> str:
    """Take long for the first time."""
    try:
        (Path(folder) / "begun").touch(exist_ok=False)
    except FileExistsError:
        return "second"
    time.sleep(20)
    return "first"


def test_every_item_comes_back_once_with_its_result(client):
    assert sorted(run_tasks(client, double, range(50))) == [(k, 2 * k) for k in range(50)]


def test_items_are_taken_as_there_is_room(client):
    taken: list[int] = []

    def items():
        for k in count():
            taken.append(k)
            yield k

    results = run_tasks(client, double, items(), TaskOptions(ahead=3))
    assert len(list(islice(results, 10))) == 10
    results.close()
    assert len(taken) <= 10 + 2 * 3


def test_an_error_of_the_work_is_raised_as_it_was(client):
    with pytest.raises(ValueError, match="three is refused"):
        list(run_tasks(client, fail_at_three, range(9)))
    assert list(run_tasks(client, double, [1])) == [(1, 2)]


def test_a_task_that_was_lost_with_its_worker_is_done_by_another(client, tmp_path):
    [(_, pid)] = run_tasks(client, die_once, [str(tmp_path)])
    assert isinstance(pid, int)


def test_what_kills_every_worker_is_named(client):
    client.run_on_scheduler(_allow, failures=0)
    try:
        with pytest.raises(CheckError, match=r"^7: the worker that had it was lost 2 times"):
            list(run_tasks(client, die, [7], TaskOptions(tries=2)))
    finally:
        client.run_on_scheduler(_allow, failures=1000)


def _allow(dask_scheduler, failures: int) -> None:
    """Set how often a task may lose its worker before Dask gives it up."""
    dask_scheduler.allowed_failures = failures


def test_near_the_end_a_slow_task_is_sent_twice_and_the_first_answer_counts(client, tmp_path):
    client.wait_for_workers(2, timeout=30)
    options = TaskOptions(slow=1, slow_seconds=0.3, look_seconds=0.1)
    work = {str(tmp_path): slow_once}
    started = time.monotonic()
    found = dict(run_tasks(client, _either, [*map(str, range(6)), *work], options))
    assert found[str(tmp_path)] == "second"
    assert time.monotonic() - started < 15


def _either(item: str) -> str:
    """What is quick for numbers, slow once for a folder."""
    return item if item.isdecimal() else slow_once(item)
