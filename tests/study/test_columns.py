"""Filters compare numbers as numbers, and values are ordered and written for people."""

from __future__ import annotations

import math

import pytest
from studies import run

from logitcache.study.columns import KNOWN, MEASURES, RUN_COLUMNS, matches, measured, ordered, value_text, where_text
from logitcache.sweep import COLUMNS


@pytest.mark.parametrize(
    ("where", "through"),
    [
        ({}, True),
        ({"tau": (4,)}, True),
        ({"tau": (1, 4.0)}, True),
        ({"tau": (3,)}, False),
        ({"tau": ("4",)}, True),
        ({"tau": (math.inf,)}, False),
        ({"objective": ("mse", "kl"), "tau": (4,)}, True),
        ({"objective": ("mse",), "tau": (4,)}, False),
        ({"variant": ("",)}, True),
        ({"no_such": ("x",)}, False),
        ({"label": ("KL τ=4",)}, False),
    ],
)
def test_a_filter_lets_through_runs_with_one_of_its_values(where, through):
    assert matches(run(), where) is through


def test_infinity_matches_infinity():
    assert matches(run(tau="inf"), {"tau": (math.inf,)})


@pytest.mark.parametrize(
    ("text", "status", "value"),
    [
        ("80.5", "done", 80.5),
        ("", "done", None),
        ("nan", "done", None),
        ("inf", "done", None),
        ("80.5", "failed", None),
    ],
)
def test_only_finite_values_of_finished_runs_are_measured(text, status, value):
    assert measured(run(text, status=status), "test_accuracy") == value


def test_numbers_are_ordered_by_size_with_nothing_first_and_infinity_last():
    assert ordered(["inf", "20.0", "3.0", "", "100.0", "3.0"]) == ["", "3.0", "20.0", "100.0", "inf"]


def test_text_keeps_the_order_of_its_first():
    assert ordered(["b", "a", "b", "10"]) == ["b", "a", "10"]


def test_values_and_filters_are_written_for_people():
    assert [value_text(text) for text in ("4.0", "inf", "", "0.1", "KL τ=4", "50000")] == [
        *("4", "∞", "–", "0.1", "KL τ=4", "50000")
    ]
    assert where_text({"alpha": (1.0,), "tau": (3, math.inf)}) == "alpha = 1, tau = 3 or ∞"


def test_every_column_of_results_has_its_place_in_runs():
    assert RUN_COLUMNS[0] == "variant"
    assert set(COLUMNS) < set(RUN_COLUMNS)
    assert len(set(RUN_COLUMNS)) == len(RUN_COLUMNS)
    assert set(MEASURES) < set(KNOWN) <= set(RUN_COLUMNS)
    assert len(set(KNOWN)) == len(KNOWN)
