"""Hours and money: what caching costs, what a student costs with a cache and without, and where the two meet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from logitcache.planning.options import BudgetOptions
from logitcache.planning.traffic import Requests

__all__ = ["Costs", "break_even", "caching_costs", "gpu_hours", "gpus_for", "request_cost", "student_costs"]

_GB = 10**9
_HOUR = 3600


@dataclass(frozen=True)
class Costs:
    """Money by cause, in the budget's currency."""

    gpu: float = 0.0
    requests: float = 0.0
    storage: float = 0.0
    reading: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.gpu + self.requests + self.storage + self.reading


def gpu_hours(passes: Mapping[str, int], rates: Mapping[str, float]) -> float:
    """Hours of one GPU for so many forward passes of each teacher at its rate in rows a second."""
    return sum(count / rates[teacher] for teacher, count in passes.items()) / _HOUR


def gpus_for(hours: float, deadline: float) -> int:
    """GPUs that do so many hours' work within a deadline in hours, each as one worker."""
    return max(1, math.ceil(hours / deadline - 1e-9))


def request_cost(requests: Requests, budget: BudgetOptions) -> float:
    """What requests cost; to delete is free with all providers."""
    written, read = requests.put + requests.list, requests.get + requests.head
    return (written * budget.put_1000 + read * budget.get_1000) / 1000


def caching_costs(hours: float, requests: Requests, size: float, budget: BudgetOptions) -> Costs:
    """What it costs to cache ``size`` bytes in so many GPU hours and requests, and to keep them."""
    stored = size / _GB * budget.gb_month * budget.months
    return Costs(gpu=hours * budget.gpu_hour, requests=request_cost(requests, budget), storage=stored)


def student_costs(requests: Requests, size: float, budget: BudgetOptions) -> Costs:
    """What it costs to read ``size`` bytes by so many requests for one student."""
    return Costs(requests=request_cost(requests, budget), reading=size / _GB * budget.gb_out)


def break_even(cache: float, cached: float, online: float) -> float | None:
    """From how many students on caching is the cheaper way.

    Args:
        cache: what it takes to make the cache, once.
        cached: what it takes to read it, a student.
        online: what it takes to run the teacher in every step, a student.

    Returns:
        The number of students, 0 where the cache is made at no cost; None where it never pays.
    """
    return cache / (online - cached) if online > cached else None
