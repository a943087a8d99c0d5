"""Lists of the first few of each group: as sorting says, and the same however they are joined."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from logitcache.statistics.ranked import first_of_groups, join_lists, keyed_order, places, take

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=40)


def rows_of(pairs):
    group, value = np.array(pairs, np.int64).reshape(-1, 2).T
    return {"group": group, "value": value, "row": np.arange(len(pairs))}


def first(rows, count):
    return take(rows, first_of_groups(rows["group"], (rows["value"], rows["row"]), count))


@given(ROWS, st.integers(1, 5))
def test_the_first_of_each_group_are_those_of_a_sort(pairs, count):
    rows = rows_of(pairs)
    kept = first(rows, count)
    wanted = [i for g in range(4) for _, i in sorted((v, i) for i, (h, v) in enumerate(pairs) if h == g)[:count]]
    assert kept["row"].tolist() == wanted


@given(ROWS, st.integers(1, 5), st.integers(0, 40))
def test_joining_keeps_what_one_list_keeps(pairs, count, cut):
    rows = rows_of(pairs)
    parts = [first(take(rows, np.arange(len(pairs))[part]), count) for part in (slice(cut, None), slice(cut))]
    joined = first(join_lists(*parts, ("group", "value", "row")), count)
    assert joined["row"].tolist() == first(rows, count)["row"].tolist()


@given(st.lists(st.integers(-1, 3), max_size=30))
def test_places_count_earlier_rows_of_the_group(groups):
    assert places(np.array(groups, np.int64)).tolist() == [groups[:i].count(g) for i, g in enumerate(groups)]


def test_a_keyed_order_is_random_and_knows_row_view_and_seed_alone():
    rows = np.arange(1000)
    order = keyed_order(5, rows)
    assert len(np.unique(order)) == 1000
    assert np.array_equal(keyed_order(5, rows[300:]), order[300:])
    assert not np.isin(keyed_order(5, rows, view=1), order).any()
    assert not np.isin(keyed_order(6, rows), order).any()
    assert abs(np.argsort(order)[:500].mean() - 500) < 40
