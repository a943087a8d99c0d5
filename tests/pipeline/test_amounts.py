"""Amounts are said in units that leave few digits."""

from __future__ import annotations

import pytest

from logitcache.pipeline.amounts import money, size, span


@pytest.mark.parametrize(
    ("seconds", "said"), [(119, "119 s"), (120, "2 min"), (7300, "2 h"), (170_000, "47 h"), (1e6, "11.6 days")]
)
def test_long_times_are_said_in_hours_and_days(seconds, said):
    assert span(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(999, "999 bytes"), (1000, "1 kB"), (2.5e9, "2.5 GB"), (4.2e13, "42 TB"), (1.5e15, "1.5 PB")]
)
def test_bytes_are_said_in_decimal_units(count, said):
    assert size(count) == said


def test_money_has_its_currency_where_there_is_one():
    assert money(0.0123, "EUR") == "0.0123 EUR"
    assert money(1234.5) == "1,234"
