"""One network trained by several processes is the network that one process trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import ddp_script
import pytest
import torch
from builders import Plan
from object_server import BUCKET
from toys import Toy, ce, lines, options, same_tensors, student

from logitcache.errors import InputError
from logitcache.models import build_model
from logitcache.store import EncodingOptions
from logitcache.student.distributed import (
    ALONE,
    DistributedLearner,
    World,
    batch_norm_note,
    from_environment,
    read_environment,
)
from logitcache.student.learner import SingleLearner
from logitcache.views import view_policy

TORCHRUN = {
    "RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}


PLAN = Plan(
    views=3,
    samples=ddp_script.SAMPLES,
    classes=ddp_script.CLASSES,
    block_rows=8,
    fingerprint=ddp_script.SPLIT.fingerprint,
    policy=tuple(view_policy(ddp_script.SPLIT, ddp_script.VIEWS).items()),
    encoding=EncodingOptions(kind="lossless"),
)


@pytest.fixture(scope="module")
def bucket(object_server, tmp_path_factory):
    """A server that has a store of the samples, put without a request."""
    object_server.reset()
    path = tmp_path_factory.mktemp("bucket") / "store.zarr"
    PLAN.write(path)
    for file in (each for each in path.rglob("*") if each.is_file()):
        object_server.change(f"store.zarr/{file.relative_to(path)}", file.read_bytes())
    return object_server


@pytest.fixture(scope="module")
def two(bucket, tmp_path_factory):
    """What two processes left, started by torchrun, and in ``asked`` how often they asked for each shard."""
    folder = tmp_path_factory.mktemp("two")
    script = Path(ddp_script.__file__)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    words += [str(folder), f"s3://{BUCKET}/store.zarr", str(folder / "stage")]
    environ = {k: v for k, v in os.environ.items() if k not in TORCHRUN} | bucket.environ
    environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(script.parent), str(script.parents[1])])}
    ended = subprocess.run(
        [sys.executable, *words], check=False, env=environ, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert "find_unused_parameters" not in ended.stderr
    asked = Counter(seen.key for seen in bucket.seen if seen.method == "GET" and "/big/logits/c/" in seen.key)
    (folder / "asked.json").write_text(json.dumps(asked))
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one process leaves: its state, and what it saw."""
    folder = tmp_path_factory.mktemp("one")
    return folder, *ddp_script.learn(folder, ALONE)


def said(folder, rank):
    return json.loads((folder / f"said{rank}.json").read_text())


def test_two_processes_end_with_the_weights_of_one(one, two):
    _, expected, _ = one
    weights = [torch.load(two / f"weights{rank}.pt", weights_only=True) for rank in range(2)]
    assert weights[0].keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(weights[0][name], value, rtol=1e-4, atol=1e-6, msg=name)
        if name != "scale":
            assert torch.equal(weights[0][name], weights[1][name])
    assert float(expected["scale"]) != 0
    assert torch.equal(weights[0]["scale"], weights[1]["scale"])


def test_rank_0_alone_has_the_record_of_one_process(one, two):
    folder, _, _ = one
    for record, expected in zip(lines(two / "whole"), lines(folder), strict=True):
        assert record["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        for name in ("epoch", "learning_rate", "test_accuracy", "samples"):
            assert record[name] == expected[name]
    assert said(two, 0)["accuracy"] == lines(two / "whole")[-1]["test_accuracy"]
    assert said(two, 1)["accuracy"] is None
    assert said(two, 0)["loss"] == said(two, 1)["loss"]


def test_each_sample_is_shown_once_an_epoch_by_one_of_them(one, two):
    alone = one[2]["shown"]
    for epoch in range(ddp_script.EPOCHS):
        shown = [rows for rank in range(2) for e, part in said(two, rank)["shown"] if e == epoch for rows in part]
        assert sorted(shown) == list(range(ddp_script.SAMPLES))
        assert sorted(rows for e, part in alone if e == epoch for rows in part) == sorted(shown)
    sizes = [[len(part) for _, part in said(two, rank)["shown"][:5]] for rank in range(2)]
    assert sizes[0] == [4, 4, 4, 4, 1]
    assert sizes[1][:4] == [3, 3, 3, 3]


def test_from_one_store_in_a_bucket_each_row_is_read_once_an_epoch_by_one_of_them(two):
    logits = torch.from_numpy(PLAN.logits)
    for epoch in range(2):
        read = [(rows, given) for rank in range(2) for e, rows, given in said(two, rank)["read"] if e == epoch]
        assert sorted(row for rows, _ in read for row in rows) == list(range(ddp_script.SAMPLES))
        for rows, given in read:
            assert torch.equal(torch.tensor(given), logits[1 + epoch, rows])


def test_processes_that_share_a_stage_ask_for_each_shard_once(two):
    asked = json.loads((two / "asked.json").read_text())
    assert asked == {
        f"store.zarr/train/teachers/big/logits/c/{view}/{block}/0": 1 for view in (1, 2) for block in range(4)
    }


def test_stopped_they_resume_to_identical_weights(two):
    assert [said(two, rank)["resumed"] for rank in range(2)] == [True, True]


def test_without_torchrun_a_process_is_alone():
    assert read_environment({}) == (ALONE, 0)
    with from_environment("cpu", {}) as world:
        assert world == ALONE
        assert not torch.distributed.is_initialized()


def test_torchrun_says_rank_and_size():
    assert read_environment(TORCHRUN) == (World(1, 4), 1)
    assert read_environment({**TORCHRUN, "LOCAL_RANK": "0"}) == (World(1, 4), 0)
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    with from_environment("cpu", alone) as world:
        assert world == ALONE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"RANK": None}, "must be set to whole numbers together"),
        ({"WORLD_SIZE": "two"}, "must be set to whole numbers together"),
        ({"RANK": "-1"}, "must be set to whole numbers together"),
        ({"RANK": "4"}, "RANK must be below WORLD_SIZE"),
        ({"WORLD_SIZE": "0"}, "RANK must be below WORLD_SIZE"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK at most RANK"),
        ({"MASTER_PORT": None}, "cannot meet without MASTER_PORT"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(change, words):
    environ = {name: value for name, value in (TORCHRUN | change).items() if value is not None}
    with pytest.raises(InputError, match=f"{words}.*torchrun"):
        read_environment(environ)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    refused = pytest.raises(InputError, match="process 1 of this machine has no GPU of its own, there are 1")
    with refused, from_environment("cuda", TORCHRUN):
        pass


@pytest.fixture
def group(tmp_path):
    """A group of one process."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield World(0, 1)
    torch.distributed.destroy_process_group()


def test_local_batch_norm_is_told(group):
    network = build_model("cnn-4-8", 3, (1, 8, 8))
    DistributedLearner(network, ce, options(), group)
    assert batch_norm_note(network, ALONE) == ""
    assert batch_norm_note(ddp_script.Plain(), World(0, 2)) == ""
    note = batch_norm_note(network, World(0, 2))
    assert note.startswith("2 batch norm layers take their statistics over each process's own part of a batch")
    assert "those of rank 0" in note


def test_a_group_of_one_steps_as_a_process_alone(group, capfd):
    learners = [
        DistributedLearner(student(dropout=0.0), ce, options(ema=0.9), group),
        SingleLearner(student(dropout=0.0), ce, options(ema=0.9)),
    ]
    for batch in Toy().epoch(0):
        losses = [each.step([batch], 0.0) for each in learners]
        assert torch.equal(*losses)
    assert same_tensors(*(each.tensors() for each in learners))
    assert "find_unused_parameters" not in capfd.readouterr().err


def test_what_is_saved_is_the_plain_network(group):
    network = student(dropout=0.0)
    names = network.state_dict().keys()
    learner = DistributedLearner(network, ce, options(), group)
    assert learner.networks() == [network]
    assert network.state_dict().keys() == names
    assert {name.removeprefix("network/") for name in learner.tensors()} == names


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_gpus_batch_norm_is_taken_over_the_whole_batch(tmp_path):
    environ = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    with from_environment("cuda", environ):
        torch.distributed.init_process_group("nccl", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
        try:
            network = build_model("cnn-4-8", 3, (1, 8, 8)).cuda()
            DistributedLearner(network, ce, options(), World(0, 1))
            assert isinstance(network.body[1], torch.nn.SyncBatchNorm)
            assert "SyncBatchNorm" in batch_norm_note(network, World(0, 2))
        finally:
            torch.distributed.destroy_process_group()
