"""What a student reads is what the store holds, for any rows, views, ensembles and memory."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import Plan

from logitcache.errors import DamageError, InputError, MissingError
from logitcache.soft_targets import CombineOptions, open_store
from logitcache.store import EncodingOptions, LogitsReader

PLAN = Plan(views=3, samples=50, classes=6, block_rows=8)
SMALL = replace(PLAN, teacher="small", seed=1, block_rows=16, encoding=EncodingOptions(kind="lossless"))
THIRD = replace(PLAN, teacher="third", seed=2, views=2)
VIEW_BYTES = 50 * 6 * 2
MEMORY = {"whole views": 1 << 20, "one view": VIEW_BYTES, "two blocks": VIEW_BYTES // 3, "one block": 1}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("soft") / "store"
    for plan in (PLAN, SMALL, THIRD):
        plan.write(path)
    return path


@pytest.fixture
def store(path):
    return open_store(path)


def decoded(store, teacher="big"):
    """All logits of a teacher by the plain reader, float32 (views, samples, classes)."""
    reader = store.logits(teacher)
    views = [[reader.read(view, block) for block in range(reader.blocks)] for view in range(reader.views)]
    return torch.from_numpy(np.stack([np.concatenate(view) for view in views]))


@pytest.fixture
def reads(monkeypatch):
    """Counts how often each (view, block) is decoded."""
    counted = Counter()
    real = LogitsReader.values

    def values(self, view, block):
        counted[view, block] += 1
        return real(self, view, block)

    monkeypatch.setattr(LogitsReader, "values", values)
    return counted


@pytest.mark.parametrize("memory", MEMORY.values(), ids=MEMORY)
@pytest.mark.parametrize("teacher", ["big", "small"])
def test_any_rows_of_any_view_are_what_the_reader_reads(store, teacher, memory):
    soft, expected = store.soft_targets([teacher], memory=memory), decoded(store, teacher)
    assert (soft.views, soft.samples, soft.classes, soft.teachers) == (3, 50, 6, (teacher,))
    generator = torch.Generator().manual_seed(0)
    for view in (2, 0, 1, 2):
        rows = torch.randint(0, 50, (64,), generator=generator)
        found = soft.gather(rows, view)
        assert found.dtype == torch.float32
        assert torch.equal(found, expected[view, rows])
    assert soft.gather(torch.arange(0), 1).shape == (0, 6)


@pytest.mark.parametrize("memory", MEMORY.values(), ids=MEMORY)
def test_every_row_may_have_a_view_of_its_own(store, memory):
    soft, expected = store.soft_targets(["big"], memory=memory), decoded(store)
    rows, views = torch.tensor([49, 0, 0, 17, 3]), torch.tensor([2, 0, 2, 1, 0])
    assert torch.equal(soft.gather(rows, views), expected[views, rows])


def test_a_view_is_decoded_once_and_kept(store, reads):
    soft = store.soft_targets(["big"], memory=2 * VIEW_BYTES)
    for view in (0, 1, 0, 1, 1):
        soft.gather(torch.arange(50), view)
    assert reads == {(view, block): 1 for view in (0, 1) for block in range(7)}
    soft.gather(torch.arange(3), 2)  # makes room: view 0 was used longest ago
    soft.gather(torch.arange(3), 1)
    assert reads[1, 0] == 1
    soft.gather(torch.arange(3), 0)
    assert reads[0, 0] == 2


def test_a_prefetched_view_is_not_decoded_again(store, reads):
    soft = store.soft_targets(["big"], memory=2 * VIEW_BYTES)
    soft.prefetch(1)
    soft.gather(torch.arange(5), 0)
    soft.gather(torch.arange(5), 1)
    assert set(reads.values()) == {1}
    assert {view for view, _ in reads} == {0, 1}


def test_prefetching_never_displaces_the_only_view(store, reads):
    for memory in (VIEW_BYTES, VIEW_BYTES // 3):
        soft = store.soft_targets(["big"], memory=memory)
        soft.gather(torch.arange(50), 0)
        soft.prefetch(1)
        reads.clear()
        soft.gather(torch.arange(1), 0)
        assert sum(reads.values()) <= (memory < VIEW_BYTES)


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def parts(store, view, rows):
    return [decoded(store, name)[view, rows].double().numpy() for name in ("big", "small", "third")]


@pytest.mark.parametrize("weights", [None, (1, 2, 5), (0.5, 0, 0.5)])
def test_mean_logits_is_the_weighted_mean(store, weights):
    rows, names = torch.tensor([4, 30, 7]), ["big", "small", "third"]
    found = store.soft_targets(names, weights=weights).gather(rows, 1)
    expected = np.average(parts(store, 1, rows), axis=0, weights=weights)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("weights", [None, (1, 2, 5), (0.5, 0, 0.5)])
def test_mean_probs_gives_the_mean_probabilities_at_its_tau(store, tau, weights):
    rows, names = torch.arange(50), ["big", "small", "third"]
    found = store.soft_targets(names, combine="mean_probs", tau=tau, weights=weights).gather(rows, 0).double().numpy()
    mean = np.average([softmax(logits / tau) for logits in parts(store, 0, rows)], axis=0, weights=weights)
    np.testing.assert_allclose(found, tau * np.log(mean), atol=1e-4)
    np.testing.assert_allclose(softmax(found / tau), mean, atol=1e-6)


def test_an_ensemble_has_the_views_that_all_have(store):
    soft = store.soft_targets()
    assert (soft.teachers, soft.views) == (("big", "small", "third"), 2)
    with pytest.raises(InputError, match=r"view 2 asked; the store has views 0\.\.1"):
        soft.gather(torch.arange(2), 2)


@pytest.mark.parametrize("memory", [1, 700, 900])
def test_an_ensemble_in_little_memory_reads_the_same(store, memory):
    rows = torch.randperm(50)
    expected = store.soft_targets().gather(rows, 1)
    assert torch.equal(store.soft_targets(memory=memory).gather(rows, 1), expected)


@pytest.mark.parametrize("memory", [VIEW_BYTES // 3, 1], ids=["two blocks", "one block"])
@pytest.mark.parametrize("batch", [7, 16])
def test_little_memory_reads_every_row_and_decodes_every_block_once_an_epoch(store, reads, memory, batch):
    soft, expected = store.soft_targets(["big"], memory=memory), decoded(store)
    for epoch in (0, 1):
        order = soft.order(seed=3, epoch=epoch)
        assert torch.equal(order.sort().values, torch.arange(50))
        assert torch.equal(order, soft.order(seed=3, epoch=epoch))
        reads.clear()
        for rows in order.split(batch):
            assert torch.equal(soft.gather(rows, 1 + epoch), expected[1 + epoch, rows])
        assert reads == {(1 + epoch, block): 1 for block in range(7)}
    assert not torch.equal(soft.order(3, 0), soft.order(3, 1))


def test_where_a_view_fits_the_order_is_a_plain_shuffle(store):
    order = store.soft_targets(["big"]).order(0, 0)
    assert torch.equal(order.sort().values, torch.arange(50))
    assert len((order[:10] // 8).unique()) > 3


def test_memory_counts_codes(store):
    sizes = [reader.samples * reader.codec.row_bytes for reader in map(store.logits, ("big", "small"))]
    assert sizes == [VIEW_BYTES, 2 * VIEW_BYTES]


@pytest.mark.parametrize(
    ("rows", "view", "said"),
    [
        ([0, 50], 0, r"rows 0\.\.50 asked; the split has 0\.\.49"),
        ([-1, 3], 0, r"rows -1\.\.3 asked; the split has 0\.\.49"),
        ([0], 3, r"view 3 asked; the store has views 0\.\.2"),
        ([0], -1, r"view -1 asked; the store has views 0\.\.2"),
        ([0, 1], [0, 3], r"view 3 asked"),
        ([0, 1], [-1, 2], r"view -1 asked"),
    ],
)
@pytest.mark.parametrize("memory", [1 << 20, 1])
def test_rows_and_views_out_of_range_are_refused(store, rows, view, said, memory):
    soft = store.soft_targets(["big"], memory=memory)
    with pytest.raises(InputError, match=said):
        soft.gather(torch.tensor(rows), view if isinstance(view, int) else torch.tensor(view))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"combine": "mean_probs"}, "mean_probs needs tau, mean_logits takes none"),
        ({"tau": 2.0}, "mean_probs needs tau, mean_logits takes none"),
        ({"combine": "mean_probs", "tau": 0}, "greater than 0"),
        ({"combine": "median"}, "'mean_logits' or 'mean_probs'"),
        ({"weights": (1, -1)}, "weights must be >= 0 and not all 0"),
        ({"weights": (0, 0)}, "weights must be >= 0 and not all 0"),
    ],
)
def test_combinations_that_are_none_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        CombineOptions(**fields)


def test_wrong_teachers_and_weights_are_refused(store):
    with pytest.raises(InputError, match="2 weights for 3 teachers"):
        store.soft_targets(weights=(1, 2))
    with pytest.raises(InputError, match="no teacher 'large' in split 'train'; it has big, small, third"):
        store.soft_targets(["large"])
    with pytest.raises(InputError, match="no split 'test'"):
        store.soft_targets(split="test")


@pytest.mark.parametrize("memory", [1 << 20, 1])
def test_missing_and_damaged_blocks_are_named_and_no_zeros(tmp_path, unsynced, memory):
    writer = PLAN.write(tmp_path, leave_out={(1, 6)})
    soft = open_store(tmp_path).soft_targets(memory=memory)
    with pytest.raises(MissingError, match="block 6 of view 1 of teacher 'big'"):
        soft.gather(torch.tensor([49]), 1)
    PLAN.write_block(writer, 1, 6)
    assert torch.equal(soft.gather(torch.tensor([49]), 1), decoded(open_store(tmp_path))[1, 49:])
    shard = tmp_path / "train/teachers/big/logits/c/2/6/0"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DamageError, match=r"block 6 of view 2 .*\(rows 48\.\.49\) is damaged"):
        soft.gather(torch.tensor([49]), 2)


@pytest.mark.parametrize("memory", [1 << 20, 1])
def test_soft_targets_pickle_for_worker_processes(store, memory):
    soft = store.soft_targets(memory=memory)
    expected = soft.gather(torch.arange(50), 1)
    assert torch.equal(pickle.loads(pickle.dumps(soft)).gather(torch.arange(50), 1), expected)  # noqa: S301 - our own


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gathers_the_same(store):
    for memory in (1 << 20, 1):
        soft = store.soft_targets(memory=memory, device="cuda")
        found = soft.gather(torch.arange(50), 1)
        assert found.device.type == "cuda"
        torch.testing.assert_close(found.cpu(), store.soft_targets().gather(torch.arange(50), 1))
