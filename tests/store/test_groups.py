"""Every block is in one group, whatever their size, and where a group is follows from its block alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.store.groups import GROUP_BLOCKS, Groups, commit_group

COUNTS = st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(0, 50))


@settings(max_examples=25)
@given(counts=COUNTS)
def test_every_block_is_in_one_group_in_order(counts):
    groups = Groups(*counts)
    found = [(group.view, block) for group in groups for block in group.blocks]
    assert found == [(view, block) for view in range(groups.views) for block in range(groups.blocks)]
    assert len({group.key for group in groups}) == len(list(groups)) == len(groups)


@settings(max_examples=25)
@given(counts=COUNTS)
def test_the_group_of_a_block_is_the_one_that_has_it(counts):
    groups = Groups(*counts)
    for group in groups:
        assert {groups.of(group.view, block) for block in group.blocks} == {group}
        assert counts[2] == 0 or len(group.blocks) <= counts[2]


@settings(max_examples=25)
@given(counts=COUNTS, most=st.integers(0, 60))
def test_some_groups_are_spread_over_all(counts, most):
    groups = Groups(*counts)
    chosen = list(groups.spread(most))
    every = list(groups)
    assert len(chosen) == len(set(chosen)) == min(len(every), max(1, most))
    assert chosen[0] == every[0]
    places = [every.index(group) for group in chosen]
    assert max((b - a for a, b in zip(places, [*places[1:], len(every)], strict=True)), default=0) <= -(
        -len(every) // len(chosen)
    )


@pytest.mark.parametrize(("samples", "rows", "size"), [(1, 8, 0), (8 * 1024, 8, 0), (8 * 1024 + 1, 8, GROUP_BLOCKS)])
def test_only_views_of_many_blocks_have_several_groups(samples, rows, size):
    assert commit_group(samples, rows) == size


def test_a_view_of_few_blocks_keeps_the_names_that_it_always_had():
    assert [group.key for group in Groups(3, 1024)] == ["0", "1", "2"]
    assert [group.key for group in Groups(2, 5, 3)] == ["0.0", "0.1", "1.0", "1.1"]
