"""Keyed draws are pure functions of their counters: pinned, uniform, the same by element, batch and device."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache import keyed

SEEDS = st.integers(-(2**70), 2**70)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs 1 CUDA device, found 0")


def test_golden_values_never_change():
    # stores and recipes depend on these: another value means other subsets, views and shuffles
    assert keyed.draw(0, 0).item() == -3979687178571836898
    assert keyed.draw(1, 2, torch.arange(3)).tolist() == [
        -6063859583019943381,
        -8482886456765766791,
        -8557019802706400619,
    ]
    assert keyed.permute(torch.arange(10), 10, 7, 3).tolist() == [1, 8, 9, 3, 7, 6, 0, 5, 2, 4]
    assert keyed.shuffled(8, 5).tolist() == [4, 3, 6, 2, 5, 0, 1, 7]
    assert keyed.choose(60000, 4, 0, 1).tolist() == [6808, 14211, 43487, 54569]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 400), SEEDS, SEEDS)
def test_permute_is_a_permutation_of_any_size(size, seed, counter):
    assert sorted(keyed.permute(torch.arange(size), size, seed, counter).tolist()) == list(range(size))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 300), SEEDS)
def test_shuffled_is_a_permutation_and_choose_is_nested_and_sorted(size, seed):
    assert sorted(keyed.shuffled(size, seed).tolist()) == list(range(size))
    smaller, larger = (keyed.choose(size, count, seed).tolist() for count in (size // 3, size // 2))
    assert set(smaller) <= set(larger)
    assert larger == sorted(set(larger))
    assert len(larger) == size // 2


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_a_draw_is_the_same_by_element_and_by_batch(seed, counters):
    batch = keyed.draw(seed, torch.tensor(counters), 5)
    assert batch.tolist() == [keyed.draw(seed, counter, 5).item() for counter in counters]


def test_permute_is_the_same_by_element_and_by_batch():
    batch = keyed.permute(torch.arange(162), 162, 9, 4)
    assert batch.tolist() == [keyed.permute(torch.tensor(row), 162, 9, 4).item() for row in range(162)]


def test_permute_takes_one_counter_an_element():
    samples = torch.tensor([3, 1, 4])
    together = keyed.permute(torch.tensor([0, 1, 2]), 50, 6, samples)
    apart = [keyed.permute(torch.tensor(at), 50, 6, int(sample)).item() for at, sample in enumerate(samples)]
    assert together.tolist() == apart


@pytest.mark.parametrize("size", [1, 2, 7, 162, 2**31 - 1])
def test_below_stays_in_range_and_reaches_both_ends(size):
    drawn = keyed.below(keyed.draw(3, torch.arange(4000)), size)
    assert 0 <= int(drawn.min()) <= size // 500
    assert size - 1 >= int(drawn.max()) >= (size - 1) - size // 500


def test_below_is_uniform():
    counts = torch.bincount(keyed.below(keyed.draw(11, torch.arange(100_000)), 10), minlength=10)
    # chi-square with 9 degrees of freedom: 33.7 is passed by chance once in 10 000
    assert float(((counts - 10_000.0) ** 2 / 10_000).sum()) < 33.7


def test_uniform_fills_the_unit_interval():
    drawn = keyed.uniform(keyed.draw(2, torch.arange(100_000)))
    assert drawn.dtype == torch.float64
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) < 1
    assert abs(float(drawn.mean()) - 0.5) < 4 / (12 * 100_000) ** 0.5
    assert abs(float(drawn.var()) - 1 / 12) < 0.002


def test_the_largest_bits_stay_below_one():
    assert float(keyed.uniform(torch.tensor(-1))) < 1


def test_a_permuted_position_is_uniform_over_keys():
    landed = torch.stack([keyed.permute(torch.tensor(0), 8, seed) for seed in range(800)])
    counts = torch.bincount(landed, minlength=8)
    # chi-square with 7 degrees of freedom: 29.9 is passed by chance once in 10 000
    assert float(((counts - 100.0) ** 2 / 100).sum()) < 29.9


def test_seed_and_each_counter_matter_and_so_does_their_order():
    draws = {keyed.draw(*key).item() for key in [(0, 1, 2), (1, 1, 2), (0, 2, 1), (0, 1), (0, 1, 2, 0), (0, 0, 2)]}
    assert len(draws) == 6


@needs_cuda
def test_cuda_draws_what_the_cpu_draws():
    rows = torch.arange(10_000)
    assert torch.equal(keyed.draw(7, rows.cuda(), 3).cpu(), keyed.draw(7, rows, 3))
    assert torch.equal(keyed.permute(rows.cuda(), 10_000, 7, 3).cpu(), keyed.permute(rows, 10_000, 7, 3))
    assert torch.equal(keyed.uniform(keyed.draw(7, rows.cuda())).cpu(), keyed.uniform(keyed.draw(7, rows)))
