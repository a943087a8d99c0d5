"""What a plan reckons with is checked where it is made, and nothing has a price unless it is given one."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from logitcache.pipeline.faults import check
from logitcache.planning.options import BudgetOptions

PRICES = ("gpu_hour", "put_1000", "get_1000", "gb_month", "gb_out")


def test_nothing_has_a_price_bandwidth_or_deadline_unless_it_is_given():
    budget = BudgetOptions()
    assert not budget.priced
    assert {getattr(budget, name) for name in PRICES} == {0.0}
    assert (budget.network, budget.disk, budget.deadline, budget.student_rate) == (None,) * 4


@pytest.mark.parametrize("name", PRICES)
def test_any_price_counts(name):
    assert BudgetOptions(**{name: 0.5}).priced


def test_a_rate_is_of_all_teachers_or_of_those_named():
    assert BudgetOptions(teacher_rate=900).rate_of("big") == 900
    several = BudgetOptions(teacher_rate={"big": 900, "small": 4000})
    assert [several.rate_of(name) for name in ("big", "small", "other")] == [900, 4000, None]
    assert BudgetOptions().rate_of("big") is None


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"teacher_rate": 0}, "teacher_rate = 0: must be greater than 0 or a table"),
        ({"teacher_rate": "fast"}, 'teacher_rate = "fast": must be a number or a table'),
        ({"deadline": -1}, "deadline = -1: must be greater than 0"),
        ({"gpu_hour": -0.5}, "gpu_hour = -0.5: must be at least 0"),
        ({"processes": 0}, "processes = 0: must be at least 1"),
        ({"netwrok": 100}, "netwrok = 100: unknown key; did you mean 'network'?"),
    ],
)
def test_wrong_inputs_are_answered_with_what_is_allowed(table, fault):
    record, faults = check(BudgetOptions, table)
    assert record is None
    assert [str(each) for each in faults] == [fault]


def test_a_budget_does_not_change():
    with pytest.raises(ValidationError):
        BudgetOptions().gpu_hour = 3
