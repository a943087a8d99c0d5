"""The requests that a plan counts are those that the code makes: a backend counts them."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import ClassVar

import pytest
import torch
from builders import make_split, make_teacher

from logitcache.cache_job import CacheJob, CacheOptions, cached_blocks
from logitcache.caching import run_cache
from logitcache.planning.traffic import COUNTS, Requests, StoredPart
from logitcache.soft_targets import open_store
from logitcache.store import EncodingOptions
from logitcache.store.backend import LocalBackend
from logitcache.store.verify import verify_url
from logitcache.teacher import InferenceOptions
from logitcache.teacher_options import TeacherOptions
from logitcache.views import ViewOptions

ENCODINGS = {1: EncodingOptions(kind="uniform"), 3: EncodingOptions(kind="topk", entries=2)}
"""By the number of their arrays."""
ROWS = 10
OPENERS = ("backend", "read", "verify", "write")


class CountingBackend(LocalBackend):
    """A folder that takes itself for an object store, where each call is a request, and counts them."""

    remote = True
    seen: ClassVar[Counter[str]] = Counter()
    lock = Lock()

    def note(self, kind):
        with self.lock:
            self.seen[kind] += 1

    def get(self, key, limit=None):
        self.note("get")
        return super().get(key, limit)

    def put(self, key, data):
        self.note("put")
        return super().put(key, data)

    def size(self, key):
        self.note("head")
        return super().size(key)

    def names(self, folder):
        self.note("list")
        return super().names(folder)

    def delete(self, key):
        self.note("delete")
        super().delete(key)


def counted_by(server, act):
    """Likewise, by an S3 server."""
    server.seen.clear()
    act()
    names = {"POST": "delete"}  # S3 deletes several objects, or one, by a POST
    kinds = Counter("list" if seen.listing else names.get(seen.method, seen.method.lower()) for seen in server.seen)
    return Requests(**kinds)


def counting(address):
    return CountingBackend(Path(address))


def counted(act):
    """What an act asks for."""
    CountingBackend.seen.clear()
    act()
    return Requests(**CountingBackend.seen)


def part(views, blocks, arrays):
    return StoredPart("big", "train", ROWS * blocks, views, ROWS, arrays)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Requests of each step of a small store by views, blocks a view and arrays."""

    @cache
    def measure(views, blocks, arrays):
        path = tmp_path_factory.mktemp("stores") / "store.zarr"
        with pytest.MonkeyPatch.context() as patch:
            for module in OPENERS:
                patch.setattr(import_module(f"logitcache.store.{module}"), "open_backend", counting)
            return {name: counted(act) for name, act in acts(path, views, blocks, arrays).items()}

    return measure


def acts(path, views, blocks, arrays):
    split = make_split(ROWS * blocks)
    options = CacheOptions(
        encoding=ENCODINGS[arrays], block=ROWS, splits=("train",), inference=InferenceOptions(batch=ROWS), workers=0
    )
    job = CacheJob(path, {"train": split}, ViewOptions(kind="crop_flip", padding=1, count=views - 1), options)
    teacher = make_teacher(split)

    def write():
        cached_blocks(job, TeacherOptions(name="big", model="cnn-4-8"))
        run_cache(job, teacher, torch.device("cpu"))

    def read():
        soft = open_store(path).soft_targets()
        for view in range(views):
            soft.gather(torch.arange(3), view)

    return {
        "cache": write,
        "resume": write,
        "verify": lambda: verify_url(path),
        "decode": lambda: verify_url(path, decode=True),
        "epoch": read,
    }


def difference(one, other):
    return tuple(a - b for a, b in zip(astuple(one), astuple(other), strict=True))


@pytest.mark.parametrize("arrays", ENCODINGS)
@pytest.mark.parametrize("step", COUNTS)
def test_more_blocks_ask_for_as_much_more_as_a_plan_says(measured, step, arrays):
    small, large = (2, 2, arrays), (2, 5, arrays)
    found = difference(measured(*large)[step], measured(*small)[step])
    assert found == difference(part(*large).requests(step), part(*small).requests(step))


@pytest.mark.parametrize("step", COUNTS)
def test_more_groups_of_commits_ask_for_as_much_more_as_a_plan_says(measured, step):
    small, large = (2, 2, 1), (4, 2, 1)
    found = difference(measured(*large)[step], measured(*small)[step])
    assert found == difference(part(*large).requests(step), part(*small).requests(step))


def test_an_s3_server_is_asked_for_as_much(s3):
    found = [
        {name: counted_by(s3, act) for name, act in acts(f"s3://bucket/{blocks}.zarr", 2, blocks, 1).items()}
        for blocks in (1, 3)
    ]
    for step in COUNTS:
        more = difference(found[1][step], found[0][step])
        assert more == difference(part(2, 3, 1).requests(step), part(2, 1, 1).requests(step)), step


def test_what_is_left_out_is_what_opens_a_store(measured):
    for step, requests in measured(2, 2, 1).items():
        left = difference(requests, part(2, 2, 1).requests(step))
        assert min(left) >= 0, step
        assert sum(left) < 300, step


def test_a_store_of_ten_billion_rows_has_its_blocks_and_groups_counted_and_not_walked():
    huge = StoredPart("big", "train", 10**8, 100, 8192, 1)
    assert huge.rows == 10**10
    assert (huge.view_blocks, huge.blocks) == (12_208, 1_220_800)
    assert huge.groups == 100 * 12
    assert huge.requests("epoch").get == 1_220_800 + 1200
    assert StoredPart("big", "train", 10**13, 1000, 8192, 1).blocks == 1000 * 1_220_703_125


def test_a_view_of_few_blocks_is_one_group():
    assert part(5, 3, 1).groups == 5
    assert StoredPart("big", "train", 1024 * ROWS, 5, ROWS, 1).groups == 5
    assert StoredPart("big", "train", 1025 * ROWS, 5, ROWS, 1).groups == 10


def test_requests_add_up_by_kind():
    one = Requests(1, 2, 3, 4, 5)
    assert one + one == one.times(2) == Requests(2, 4, 6, 8, 10)
    assert [field.name for field in fields(one)] == ["put", "get", "head", "list", "delete"]
