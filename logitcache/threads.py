"""How many threads torch uses on a CPU, set deliberately.

Small networks enter a parallel section hundreds of times a step, and each waits for its slowest thread. On two
shared cores, two threads gained 1.1 times at best and lost 10 to 30 times at worst (measured); so half of the
cores compute, and the rest is left to encoding, decoding and everything else that runs here.
"""

from __future__ import annotations

import os

import torch

__all__ = ["cores", "default_threads", "set_threads"]


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
