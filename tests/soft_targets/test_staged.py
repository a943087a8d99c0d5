"""With a stage students are given the same, and what was read before, or fetched ahead, is not asked of the store."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from builders import KINDS, Plan, make_split
from object_server import BUCKET
from torch.utils.data import DataLoader

from logitcache.errors import DamageError
from logitcache.soft_targets import CachedDataset, CachedStream, FeatureTargets, SoftTargets, open_store
from logitcache.soft_targets.ahead import FetchAhead
from logitcache.store import Stage, Tally
from logitcache.student.feed import FeedOptions, ViewFeed
from logitcache.views import Renderer, ViewOptions, view_policy

VIEWS = ViewOptions(kind="crop_flip", count=2, padding=1)
SPLIT = make_split(40)
POLICY = tuple(view_policy(SPLIT, VIEWS).items())
PLAN = Plan(
    views=3,
    samples=40,
    classes=3,
    block_rows=8,
    fingerprint=SPLIT.fingerprint,
    policy=POLICY,
    features=5,
    encoding=KINDS["lossless"],
)
PREFIX, URL = "runs/store.zarr", f"s3://{BUCKET}/runs/store.zarr"
BLOCKS = 5
ONE_VIEW, WINDOWED = 40 * 3 * 4, 2 * 8 * 3 * 4
"""Bytes for soft targets: one view, or two blocks."""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("staged") / "store.zarr"
    PLAN.write(path)
    return path


def put(s3, path: Path) -> None:
    """A folder's files, as objects, without a request."""
    for file in (each for each in path.rglob("*") if each.is_file()):
        s3.change(f"{PREFIX}/{file.relative_to(path)}", file.read_bytes())


@pytest.fixture(autouse=True)
def planned(monkeypatch):
    """The places of each plan to fetch ahead; what is still under way at the end of a test is waited for."""
    plans, made, real = [], [], FetchAhead.plan

    def plan(self, places):
        plans.append(list(places))
        made.append(self)
        real(self, plans[-1])

    monkeypatch.setattr(FetchAhead, "plan", plan)
    yield plans
    for ahead in made:
        real(ahead, [])
    until = time.monotonic() + 60
    while any(ahead._busy for ahead in made):
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.fixture
def remote(s3, path):
    put(s3, path)
    return s3


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path / "stage", "1MB")


def asked(s3, plan=PLAN) -> Counter[str]:
    """How often each shard was asked for."""
    arrays = [f"/{plan.teacher}/{name}/c/" for name in plan.record.arrays]
    return Counter(seen.key for seen in s3.seen if seen.method == "GET" and any(name in seen.key for name in arrays))


def everything(soft):
    return torch.stack([soft.gather(torch.arange(soft.samples), view) for view in range(soft.views)])


@pytest.mark.parametrize(("kind", "memory"), [("head", 1 << 20), ("head", 1), ("topk", 1)])
def test_every_shard_is_asked_for_once_and_the_logits_are_the_same(s3, tmp_path, stage, kind, memory):
    plan = replace(PLAN, views=2, samples=16, encoding=KINDS[kind], features=0)
    plan.write(tmp_path / "store.zarr")
    put(s3, tmp_path / "store.zarr")
    plain = open_store(tmp_path / "store.zarr")
    expected, reader = everything(plain.soft_targets()), plain.logits("big")
    for soft in (open_store(URL, stage=stage).soft_targets(memory=memory) for _ in range(2)):
        assert torch.equal(everything(soft), expected)
        assert torch.equal(everything(soft), expected)
    places = product(plan.record.arrays, range(2), range(2))
    shards = {reader.digest(*place).sha256 for place in places}
    assert set(asked(s3, plan).values()) == {1}
    assert len(asked(s3, plan)) == len(shards), "and one of several that are equal"
    tally = stage.take_tally()
    assert tally.misses + tally.ahead == len(shards)
    assert tally.hits >= len(shards)


def test_features_are_staged_too(remote, stage, path):
    expected = everything(FeatureTargets(open_store(path).logits("big")))
    for _ in range(2):
        assert torch.equal(everything(open_store(URL, stage=stage).feature_targets()), expected)
    assert set(asked(remote).values()) == {1}
    assert len(asked(remote)) == 3 * BLOCKS


def test_a_stage_may_be_said_by_its_folder(remote, tmp_path):
    for _ in range(2):
        open_store(URL, stage=str(tmp_path / "here")).soft_targets().gather(torch.arange(40), 1)
    assert sum(asked(remote).values()) == BLOCKS


def test_a_store_in_a_folder_is_staged_likewise(path, tmp_path, stage):
    """A slow file system; the shards are taken away, so what is read then comes from the stage."""
    plan = replace(PLAN, features=0)
    plan.write(tmp_path / "store.zarr")
    expected = everything(open_store(tmp_path / "store.zarr", stage=stage).soft_targets())
    for shard in (tmp_path / "store.zarr").rglob("logits/c/*/*/0"):
        shard.unlink()
    soft = open_store(tmp_path / "store.zarr", stage=stage).soft_targets()
    assert torch.equal(everything(soft), expected)
    assert torch.equal(everything(pickle.loads(pickle.dumps(soft))), expected)  # noqa: S301


def test_a_shard_that_the_store_has_otherwise_is_damage_with_a_stage_too(remote, stage):
    key = f"{PREFIX}/train/teachers/big/logits/c/1/2/0"
    remote.change(key, remote.objects(PREFIX)["train/teachers/big/logits/c/1/2/0"][:-1] + b"x")
    soft = open_store(URL, stage=stage).soft_targets(memory=WINDOWED)
    soft.fetch_ahead([(1, None)])
    for _ in range(2):
        with pytest.raises(DamageError, match=r"rows 16..23.*other bytes"):
            soft.gather(torch.arange(40), 1)
    soft.gather(torch.arange(16), 1)
    soft.gather(torch.arange(24, 40), 1)


def wait(stage, ahead):
    """Wait until so many shards were fetched ahead; returns what was counted on the way."""
    until, tally = time.monotonic() + 20, Tally()
    while tally.ahead < ahead:
        assert time.monotonic() < until, tally
        time.sleep(0.002)
        tally += stage.take_tally()
    time.sleep(0.02)
    return tally + stage.take_tally()


def feed(soft, views=2, **options):
    return ViewFeed(Renderer(SPLIT, VIEWS), None, FeedOptions(8, 7, views), soft=soft, **options)


def test_what_does_not_fit_in_memory_is_fetched_in_the_order_in_which_it_is_read(remote, stage, planned):
    soft = open_store(URL, stage=stage).soft_targets(memory=WINDOWED)
    assert soft.window is not None
    order = soft.order(7, 0)
    soft.fetch_ahead([(1, order)])
    wait(stage, BLOCKS)
    assert planned == [[(1, block) for block in dict.fromkeys((order // 8).tolist())]]
    soft.gather(order, 1)
    assert stage.take_tally() == Tally(hits=BLOCKS)
    assert sum(asked(remote).values()) == BLOCKS


@pytest.mark.parametrize("memory", [1 << 20, ONE_VIEW, WINDOWED], ids=["resident", "one view", "windowed"])
def test_epochs_ask_for_each_shard_of_their_views_once(remote, stage, path, memory):
    soft = open_store(URL, stage=stage).soft_targets(memory=memory)
    plain = open_store(path).soft_targets(memory=memory)
    for epoch in range(4):
        for staged, expected in zip(feed(soft).epoch(epoch), feed(plain).epoch(epoch), strict=True):
            assert torch.equal(staged.teacher, expected.teacher)
            assert torch.equal(staged.inputs, expected.inputs)
    assert asked(remote) == {
        f"{PREFIX}/train/teachers/big/logits/c/{view}/{block}/0": 1 for view in (1, 2) for block in range(BLOCKS)
    }


@pytest.mark.parametrize("memory", [ONE_VIEW, WINDOWED], ids=["one view", "windowed"])
def test_the_next_view_is_there_before_its_epoch_begins(remote, stage, memory):
    soft = open_store(URL, stage=stage).soft_targets(memory=memory)
    batches = feed(soft).epoch(0)
    next(batches)
    until = time.monotonic() + 20
    while len(asked(remote)) < 2 * BLOCKS:
        assert time.monotonic() < until
        time.sleep(0.002)
    time.sleep(0.02)
    list(batches)
    stage.take_tally()
    list(feed(soft).epoch(1))
    tally = stage.take_tally()
    assert (tally.misses, tally.hits) == (0, BLOCKS)


def test_an_epoch_that_goes_on_fetches_what_is_left_of_it_and_then_the_next_one(path, stage, planned):
    soft = open_store(path, stage=stage).soft_targets(memory=WINDOWED)
    list(feed(soft).epoch(0, 4))
    left, following = soft.order(7, 0)[32:], soft.order(7, 1)
    blocks = [dict.fromkeys((rows // 8).tolist()) for rows in (left, following)]
    assert planned == [[(1, block) for block in blocks[0]] + [(2, block) for block in blocks[1]]]
    assert len(planned[0]) < 2 * BLOCKS


def test_a_view_in_memory_is_not_fetched_again(path, stage, planned):
    soft = open_store(path, stage=stage).soft_targets(memory=ONE_VIEW)
    for epoch in range(2):
        list(feed(soft, views=1).epoch(epoch))
    assert planned == [[(1, block) for block in range(BLOCKS)] * 2, []]


def test_the_clean_view_of_controls_is_fetched_once(remote, stage):
    soft = open_store(URL, stage=stage).soft_targets(memory=WINDOWED)
    for epoch in range(2):
        list(feed(soft, clean=True).epoch(epoch))
    assert {key.split("/")[-3] for key in asked(remote)} == {"0"}
    assert sum(asked(remote).values()) == BLOCKS


def test_no_more_is_fetched_ahead_than_half_of_a_small_stage(remote, tmp_path):
    length = len(remote.objects(PREFIX)["train/teachers/big/logits/c/1/0/0"])
    stage = Stage(tmp_path / "stage", 5 * length)
    soft = open_store(URL, stage=stage).soft_targets(memory=WINDOWED)
    soft.fetch_ahead([(1, None), (2, None)])
    assert wait(stage, 2).ahead == 2
    soft.gather(torch.arange(40), 1)
    assert wait(stage, 1).ahead >= 1, "what is read makes room for more"
    for epoch in range(4):
        for batch in feed(soft).epoch(epoch):
            assert batch.teacher.shape == (8, 3)
    sizes = [path.stat().st_size for path in stage.folder.glob("??/*")]
    assert sum(sizes) <= 5 * length


def test_a_stream_in_windows_and_a_data_set_bring_the_next_view(remote, stage):
    soft = open_store(URL, stage=stage).soft_targets(memory=WINDOWED)
    stream = CachedStream(SPLIT, soft, VIEWS, batch=8, seed=7)
    rows = 0
    for epoch in range(3):
        stream.set_epoch(epoch)
        rows += sum(len(batch[0]) for batch in DataLoader(stream, batch_size=None))
    assert rows == 3 * 40
    assert set(asked(remote).values()) == {1}, (asked(remote), stage.take_tally())
    dataset = CachedDataset(SPLIT, open_store(URL, stage=stage).soft_targets(memory=ONE_VIEW), VIEWS)
    dataset.set_epoch(0)
    assert torch.equal(dataset[11][2], soft.gather(torch.tensor([11]), 1)[0])
    assert sum(asked(remote).values()) == 2 * BLOCKS


def test_forked_workers_read_a_staged_folder(path, stage):
    soft = open_store(path, stage=stage).soft_targets(memory=WINDOWED)
    stream = CachedStream(SPLIT, soft, VIEWS, batch=8, seed=7)
    stream.set_epoch(0)
    logits = torch.cat([batch[2] for batch in DataLoader(stream, batch_size=None, num_workers=2, timeout=60)])
    assert torch.equal(logits, open_store(path).soft_targets().gather(soft.order(7, 0), 1))


def test_without_a_stage_nothing_is_fetched_ahead(remote):
    soft = open_store(URL).soft_targets(memory=WINDOWED)
    assert not soft.staged
    soft.fetch_ahead([(1, None)])
    time.sleep(0.02)
    assert asked(remote) == Counter()
    assert isinstance(soft, SoftTargets)
