"""How many threads torch uses on a CPU, set deliberately.

Small networks enter a parallel section hundreds of times a step, and each waits for its slowest thread. On two
shared cores, two threads gained 1.1 times at best and lost 10 to 30 times at worst (measured); so half of the
cores compute, and the rest is left to encoding, decoding and everything else that runs here.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["cores", "default_threads", "mapped", "set_threads", "single_threaded_pool"]

A = TypeVar("A")
B = TypeVar("B")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads() -> int:
    """Half of the cores, at least one."""
    return max(1, cores() // 2)


def set_threads() -> None:
    """Give torch its default number of threads, unless ``OMP_NUM_THREADS`` says otherwise."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(default_threads())


def single_threaded_pool(workers: int, name: str) -> ThreadPoolExecutor:
    """A pool whose threads are the parallelism: inside each, torch computes by itself.

    Sums then do not depend on the number of cores either, so that encoded bytes do not.
    """
    torch.get_num_threads()  # fixes the caller's own number, which a first look after the next line would lose
    return ThreadPoolExecutor(workers, thread_name_prefix=name, initializer=torch.set_num_threads, initargs=(1,))


def mapped(pool: ThreadPoolExecutor, act: Callable[[A], B], items: Iterable[A], ahead: int) -> Iterator[B]:
    """What ``act`` makes of each item, in order; unlike ``pool.map`` it takes no more than ``ahead`` items at a time.

    What ``act`` raises comes through in its place.
    """
    waiting: deque[Future[B]] = deque()
    for item in items:  # may be millions
        waiting.append(pool.submit(act, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
