"""An object store that fails: writers and readers come to the same end, and nobody tells its keys."""

from __future__ import annotations

import logging
import pickle
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from builders import KINDS, Plan, tree
from forked import forked
from impatient import PATIENT
from object_server import BUCKET, SECRETS, WAYS
from obstore.store import S3Store
from zarr.storage import ObjectStore

from logitcache.errors import DamageError, RemoteError
from logitcache.soft_targets import open_store as open_cached
from logitcache.store import open_store
from logitcache.store.verify import verify_url
from logitcache.transfer import CopyOptions, copy_store

PLAN = Plan(views=2, samples=24, block_rows=8)
WITH_ALL = Plan(views=2, samples=40, block_rows=8, features=3, encoding=KINDS["head"])
URL = f"s3://{BUCKET}/runs/store.zarr"
PREFIX = "runs/store.zarr"
ALL_WAYS = [{way: 0.1} for way in WAYS] + [dict.fromkeys(WAYS, 0.1)]
NAMES = [*WAYS, "all"]


@pytest.fixture(autouse=True)
def _quick(unsynced, monkeypatch):
    """Nothing here is about the disk, and a test has no minutes to wait."""
    monkeypatch.setattr("logitcache.store.objects.PATIENCE", PATIENT)


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    """The same store in a folder."""
    path = tmp_path_factory.mktemp("local") / "store.zarr"
    PLAN.write(path)
    return path


@pytest.fixture(scope="module")
def with_all(tmp_path_factory) -> Path:
    """One with many arrays."""
    path = tmp_path_factory.mktemp("all") / "store.zarr"
    WITH_ALL.write(path)
    return path


def put(s3, path: Path, prefix: str = PREFIX) -> None:
    """A folder's files, as objects, without a request."""
    for file in (each for each in path.rglob("*") if each.is_file()):
        s3.change(f"{prefix}/{file.relative_to(path)}", file.read_bytes())


@pytest.mark.parametrize("rates", ALL_WAYS, ids=NAMES)
def test_a_store_is_written_to_the_last_bit_whatever_fails(s3, local, rates):
    with s3.failing(**rates):
        PLAN.write(URL)
    assert s3.tree(PREFIX) == tree(local)
    assert {seen.failed for seen in s3.seen} == {None, *rates}


@pytest.mark.parametrize("rates", ALL_WAYS, ids=NAMES)
def test_a_store_is_read_and_verified_whatever_fails(s3, local, rates):
    put(s3, local)
    with s3.failing(**rates):
        reader, own = open_store(URL).logits("big"), open_store(local).logits("big")
        for view in range(reader.views):
            for block in range(reader.blocks):
                np.testing.assert_array_equal(reader.read(view, block), own.read(view, block))
        assert verify_url(URL, decode=True).findings == ()


def test_a_half_written_store_is_gone_on_with(s3, local):
    PLAN.write(URL, leave_out={(0, 1), (1, 0), (1, 1)})
    assert set(s3.tree(PREFIX)) != set(tree(local))
    with s3.failing(seed=3, **ALL_WAYS[-1]):
        PLAN.write(URL)
    assert s3.tree(PREFIX) == tree(local)


SCRIPT = """
import sys
sys.path[:0] = {paths}
from builders import Plan
from logitcache.store import objects
objects.PATIENCE = objects.Patience(**{patience})
plan = Plan(views=2, samples=24, block_rows=8)
writer = plan.writer(sys.argv[1])
for view, block in writer.pending():
    print(view, block, flush=True)
    plan.write_block(writer, view, block)
writer.finish()
print("finished", flush=True)
"""


def script() -> str:
    """Python text that finds the helpers of the tests."""
    here = Path(__file__).parent
    return SCRIPT.format(paths=[str(here.parent), str(here.parents[1])], patience=vars(PATIENT))


@pytest.mark.parametrize("lines", [1, 5])
def test_a_killed_writer_is_gone_on_with(s3, local, lines):
    """Killed wherever it is in a block, among failing requests; then gone on with among others."""
    with s3.failing(**ALL_WAYS[-1]):
        with forked(script(), URL) as process:
            for _ in range(lines):
                next(process.lines)
            process.kill(signal.SIGKILL)
            rest = list(process.lines)
            assert process.wait() == -signal.SIGKILL
        assert "finished\n" not in rest
        s3.seed = lines
        PLAN.write(URL)
    assert s3.tree(PREFIX) == tree(local)


def test_two_writers_at_once_make_one_store(s3, local):
    with s3.failing(**ALL_WAYS[-1]), forked(script(), URL) as process:
        PLAN.write(URL)
        assert list(process.lines)[-1] == "finished\n"
        assert process.wait() == 0
    assert s3.tree(PREFIX) == tree(local)


def test_copies_go_there_and_back_in_parts(s3, local, tmp_path):
    with s3.failing(**ALL_WAYS[-1]):
        first = copy_store(open_store(local), URL, CopyOptions(views=1))
        assert first.written == 3
        back = copy_store(open_store(URL), tmp_path / "back", CopyOptions())
        assert (back.written, back.missing) == (3, 0)
    assert s3.tree(PREFIX) == tree(tmp_path / "back")
    assert copy_store(open_store(URL), tmp_path / "back", CopyOptions()).found == 3
    assert verify_url(tmp_path / "back", decode=True).findings == ()


WIDE = Plan(views=16, samples=1200, classes=30, block_rows=400, encoding=KINDS["lossless"])


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """Sixteen views."""
    path = tmp_path_factory.mktemp("wide") / "store.zarr"
    WIDE.write(path)
    return path


def transferred(s3) -> int:
    """Bytes of objects that the server has sent."""
    return sum(seen.sent for seen in s3.seen)


def test_two_of_sixteen_views_transfer_an_eighth_of_the_bytes(s3, wide, tmp_path):
    put(s3, wide)
    every = sum(map(len, s3.objects(PREFIX).values()))
    soft = open_cached(URL).soft_targets()
    assert transferred(s3) < 0.05 * every, "opening reads metadata and labels"
    for view in range(2):
        soft.gather(torch.arange(WIDE.samples), view)
    assert transferred(s3) <= 1.1 * 2 / 16 * every
    s3.seen.clear()
    copy_store(open_store(URL), tmp_path / "copy", CopyOptions(views=2))
    assert transferred(s3) <= 1.1 * 2 / 16 * every


def test_the_hot_path_lists_nothing_and_asks_once_for_a_shard(s3, with_all):
    writer = WITH_ALL.writer(URL)
    s3.seen.clear()
    WITH_ALL.write_block(writer, 0, 0)
    arrays = len(WITH_ALL.record.arrays)
    assert [seen.method for seen in s3.seen] == ["PUT"] * (arrays + 1), "a shard an array, then the commit"
    assert s3.seen[-1].key.endswith("commits/0/0.json")
    s3.reset()
    put(s3, with_all)
    reader = open_store(URL).logits("big")
    reader.read(0, 0)
    s3.seen.clear()
    reader.read(0, 1)
    assert {(seen.method, seen.listing) for seen in s3.seen} == {("GET", False)}
    assert len(s3.seen) == arrays - 1, "all but the features"


def test_verify_asks_for_lengths_and_reads_only_to_decode(s3, wide):
    put(s3, wide)
    shards = [key for key in s3.objects(PREFIX) if "/logits/c/" in key]
    assert verify_url(URL).findings == ()
    asked = [(seen.method, seen.key.removeprefix(f"{PREFIX}/")) for seen in s3.seen]
    assert sorted(key for method, key in asked if method == "HEAD" and key in shards) == sorted(shards)
    assert not [key for method, key in asked if method == "GET" and key in shards]
    data = s3.objects(PREFIX)[shards[3]]
    s3.change(f"{PREFIX}/{shards[3]}", data[:-1] + bytes([data[-1] ^ 1]))
    s3.change(f"{PREFIX}/{shards[5]}", data[:-1])
    s3.change(f"{PREFIX}/{shards[7]}", None)
    assert {finding.key for finding in verify_url(URL).findings} == {shards[5], shards[7]}
    assert {finding.key for finding in verify_url(URL, decode=True).findings} == {shards[3], shards[5], shards[7]}


def test_damage_is_named_as_in_a_folder(s3, local):
    put(s3, local)
    key = "train/teachers/big/logits/c/0/1/0"
    data = s3.objects(PREFIX)[key]
    for changed, match in ((data[:-1] + b"x", "other bytes"), (data + b"x", "bytes, committed"), (None, "is missing")):
        s3.change(f"{PREFIX}/{key}", changed)
        with pytest.raises(DamageError, match=f"^{URL}: .*rows 8..15.*{match}"):
            open_store(URL).logits("big").read(0, 1)


def test_a_commit_that_came_late_is_harmless_and_the_next_writer_takes_it_away(s3, local):
    """A request whose time was up may still be done, after the commits of its view were folded."""
    PLAN.write(URL, leave_out={(1, 2)})
    key = "train/teachers/big/logits/commits/1/1.json"
    commit = s3.objects(PREFIX)[key]
    PLAN.write(URL)
    s3.change(f"{PREFIX}/{key}", commit)
    assert verify_url(URL, decode=True).findings == ()
    PLAN.write(URL)
    assert s3.tree(PREFIX) == tree(local)


def test_zarr_and_xarray_open_it_by_obstore(s3, local):
    """As ``docs/object_storage.md`` says."""
    put(s3, local)
    bucket = S3Store(BUCKET, prefix=PREFIX, client_options={"allow_http": True})
    place = ObjectStore(bucket, read_only=True)
    logits = xr.open_zarr(place, group="train/teachers/big", consolidated=False).logits
    np.testing.assert_allclose(logits.values[1, :8], open_store(local).logits("big").read(1, 0), rtol=1e-6)


def test_a_reader_travels_to_other_processes(s3, local):
    put(s3, local)
    reader = open_store(URL).logits("big")
    data = pickle.dumps(reader)
    assert not any(secret.encode() in data for secret in SECRETS.values())
    np.testing.assert_array_equal(pickle.loads(data).read(1, 2), reader.read(1, 2))  # noqa: S301


def test_no_key_is_ever_said(s3, local, caplog, capfd, monkeypatch):
    """Whatever the server answers, and in whatever way it fails for good."""
    monkeypatch.setattr("logitcache.store.objects.PATIENCE", replace(PATIENT, tries=2))
    caplog.set_level(logging.DEBUG)
    put(s3, local)
    said = []
    for answer in (("403 Forbidden", "InvalidAccessKeyId"), ("500 Internal Server Error", "InternalError"), None):
        s3.answer = answer
        with s3.failing(**({} if answer else {"cut": 1.0})), pytest.raises(RemoteError) as caught:
            open_store(URL)
        said += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    out, err = capfd.readouterr()
    text = "\n".join([*said, out, err, caplog.text])
    assert "access was refused" in text
    assert not any(secret in text for secret in SECRETS.values())
