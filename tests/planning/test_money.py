"""Costs are sums of what was given a price, and caching pays where they meet."""

from __future__ import annotations

import pytest

from logitcache.planning.money import break_even, caching_costs, gpu_hours, gpus_for, request_cost, student_costs
from logitcache.planning.options import BudgetOptions
from logitcache.planning.traffic import Requests

REQUESTS = Requests(put=3000, get=5000, head=2000, list=1000, delete=10**6)


def test_gpu_hours_are_passes_by_rate():
    assert gpu_hours({"big": 7_200_000, "small": 3_600_000}, {"big": 1000, "small": 500}) == pytest.approx(4)


@pytest.mark.parametrize(("hours", "deadline", "gpus"), [(100, 24, 5), (96, 24, 4), (96.001, 24, 5), (0.1, 24, 1)])
def test_gpus_are_as_many_as_keep_the_deadline(hours, deadline, gpus):
    assert gpus_for(hours, deadline) == gpus


def test_requests_cost_by_class_and_deleting_is_free():
    budget = BudgetOptions(put_1000=0.5, get_1000=0.01)
    assert request_cost(REQUESTS, budget) == pytest.approx(4 * 0.5 + 7 * 0.01)
    assert request_cost(REQUESTS, BudgetOptions(gpu_hour=3)) == 0


def test_a_cache_costs_gpus_requests_and_storage():
    budget = BudgetOptions(gpu_hour=3, put_1000=0.5, gb_month=0.02, months=6)
    costs = caching_costs(10, REQUESTS, 5e11, budget)
    assert (costs.gpu, costs.requests, costs.storage, costs.reading) == (30, 2, pytest.approx(60), 0)
    assert costs.total == pytest.approx(92)


def test_a_student_costs_what_it_reads():
    costs = student_costs(REQUESTS, 2e9, BudgetOptions(get_1000=0.01, gb_out=0.09))
    assert (costs.requests, costs.reading) == (pytest.approx(0.07), pytest.approx(0.18))
    assert costs.total == pytest.approx(0.25)


def test_caching_pays_where_both_ways_cost_the_same():
    assert break_even(100, 5, 30) == pytest.approx(4)
    students = break_even(100, 5, 30)
    assert 100 + 5 * students == pytest.approx(30 * students)


def test_caching_never_pays_where_reading_costs_more_than_the_teacher():
    assert break_even(100, 30, 30) is None
    assert break_even(100, 31, 30) is None


def test_a_cache_for_nothing_pays_at_once():
    assert break_even(0, 1, 2) == 0
