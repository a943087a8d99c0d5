"""The order of samples is a function of (seed, epoch); windows hold what is decoded together."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.soft_targets import epoch_rows, epoch_view
from logitcache.soft_targets.order import windowed_rows


def test_views_are_walked_in_turn_and_zero_means_clean():
    assert [epoch_view(epoch, 0) for epoch in range(3)] == [0, 0, 0]
    assert [epoch_view(epoch, 3) for epoch in range(7)] == [1, 2, 3, 1, 2, 3, 1]


def test_an_epoch_visits_every_row_once_in_an_order_of_its_own():
    orders = [epoch_rows(100, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(torch.equal(order.sort().values, torch.arange(100)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert torch.equal(epoch_rows(100, 1, 1), orders[3])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 60), st.integers(1, 8), st.integers(0, 5))
def test_windows_visit_every_row_once_and_every_block_in_one_window(samples, block_rows, window, epoch):
    order = windowed_rows(samples, block_rows, window, 7, epoch)
    assert torch.equal(order.sort().values, torch.arange(samples))
    assert torch.equal(order, windowed_rows(samples, block_rows, window, 7, epoch))
    # Blocks in order of first appearance: each window is a run of positions with the rows of its blocks.
    blocks = (order // block_rows).tolist()
    ends = {block: position for position, block in enumerate(blocks)}
    open_blocks = set()
    for position, block in enumerate(blocks):
        open_blocks.add(block)
        assert len(open_blocks) <= window
        if position == max(ends[b] for b in open_blocks) and len(open_blocks) == window:
            open_blocks.clear()


def test_rows_are_shuffled_inside_windows_and_windows_among_themselves():
    order = windowed_rows(1000, 50, 4, 0, 0)
    first = order[:200]
    assert len((first // 50).unique()) == 4
    assert not torch.equal(first, first.sort().values)
    assert (first // 50).diff().ne(0).float().mean() > 0.5  # blocks of a window are mixed, not joined
    assert not torch.equal(windowed_rows(1000, 50, 4, 0, 1), order)
