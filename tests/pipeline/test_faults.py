"""A fault is named by its key in the file, also where pydantic's own name of the place leads nowhere."""

from __future__ import annotations

import pytest

from logitcache.pipeline.faults import check
from logitcache.records import Options


class Inner(Options):
    """A record in a list of a fixed length."""

    size: int


class Outer(Options):
    """Lists of a fixed length, alone, in a union, and of records."""

    span: tuple[float, float] = (0.0, 1.0)
    either: float | tuple[float, float] = 0.0
    pair: tuple[Inner, Inner] | None = None


def told(table: dict[str, object]) -> list[str]:
    record, faults = check(Outer, table)
    assert (record is None) == bool(faults)
    return [str(fault) for fault in faults]


@pytest.mark.parametrize(
    ("table", "faults"),
    [
        ({"span": [1]}, ["span.1 = (missing): must be given"]),
        ({"span": []}, ["span.0 = (missing): must be given", "span.1 = (missing): must be given"]),
        ({"span": [1, "x"]}, ['span.1 = "x": must be a number']),
        ({"span": [1, 2, 3]}, ["span = [1, 2, 3]: must have at most 2 entries"]),
        ({"span": {"0": 1}}, ["span = {0 = 1}: must be a list"]),
        ({"either": [1]}, ["either = [1]: must be a number", "either.1 = (missing): must be given"]),
        ({"pair": [{"size": 1}]}, ["pair.1 = (missing): must be given"]),
        ({"pair": [{"size": 1}, {}]}, ["pair.1.size = (missing): must be given"]),
        ({"pair": [{"size": 1}, {"size": 2}]}, []),
    ],
)
def test_lists_of_a_fixed_length_are_told_by_their_entries(table, faults):
    assert told(table) == faults
