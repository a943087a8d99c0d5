"""What a reader remembers of commits is bounded, right, and enough: no record is read for each block again."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from logitcache.errors import DamageError
from logitcache.store.backend import LocalBackend
from logitcache.store.commits import ArrayDigest, Commit, Commits
from logitcache.store.documents import pack
from logitcache.store.groups import Groups
from logitcache.store.known import _OVERHEAD, KnownShards, ShardDigest

VIEWS, BLOCKS, SIZE = 2, 10, 4
PLACES = [(view, block) for view in range(VIEWS) for block in range(BLOCKS)]


class Counted(LocalBackend):
    """Counts what is asked for."""

    def __init__(self, root):
        super().__init__(root)
        self.asked = Counter()

    def get(self, key, limit=None):
        self.asked[key] += 1
        return super().get(key, limit)

    def size(self, key):
        self.asked[key] += 1
        return super().size(key)

    def names(self, folder):
        self.asked[folder] += 1
        return super().names(folder)


def sha256(view, block, column):
    return f"{(view * 100 + block) * 10 + column:064x}"


def commit(view, block):
    shards = expected(view, block).items()
    arrays = {name: ArrayDigest(shard.bytes, shard.sha256, "0" * 64) for name, shard in shards}
    return Commit(view, block, 8 * block, 8 * block + 8, arrays, None)


def expected(view, block):
    return {name: ShardDigest(block + n, sha256(view, block, n)) for n, name in enumerate(("codes", "level"))}


def commits(path, leave_out=(), fold=True):
    found = Commits(Counted(path), "logits", Groups(VIEWS, BLOCKS, SIZE))
    for place in PLACES:
        if place not in leave_out:
            found.add(commit(*place))
    if fold:
        found.fold()
    found._backend.asked.clear()
    return found


@pytest.mark.parametrize("fold", [True, False])
def test_shards_are_those_of_the_commits(tmp_path, fold):
    known = KnownShards(commits(tmp_path, {(1, 9), (1, 3)}, fold))
    for place in PLACES * 2:
        assert known.shards(*place) == (None if place in {(1, 9), (1, 3)} else expected(*place))


def test_a_folded_group_is_read_once_in_whatever_order(tmp_path):
    found = commits(tmp_path)
    known = KnownShards(found)
    for place in PLACES[::3] + PLACES[1::3] + PLACES[2::3]:
        known.shards(*place)
    records = {key: count for key, count in found._backend.asked.items() if key.endswith(".json")}
    assert records == dict.fromkeys((f"logits/commits/{v}.{g}.json" for v in range(VIEWS) for g in range(3)), 1)


def test_of_an_unfinished_group_only_the_commits_asked_for_are_read(tmp_path):
    found = commits(tmp_path, {(0, 3)})
    known = KnownShards(found)
    for _ in range(3):
        assert known.shards(0, 1) == expected(0, 1)
    asked = {key for key in found._backend.asked if key.endswith(".json")}
    assert asked == {"logits/commits/0.0.json", "logits/commits/0.0/1.json"}
    assert found._backend.asked["logits/commits/0.0/1.json"] == 1


def test_a_block_that_comes_later_is_found(tmp_path):
    found = commits(tmp_path, {(0, 3)})
    known = KnownShards(found)
    assert known.shards(0, 3) is None
    found.add(commit(0, 3))
    assert known.shards(0, 3) == expected(0, 3)
    found.fold()
    assert known.shards(0, 2) == expected(0, 2)


def test_what_is_kept_is_bounded_and_the_group_met_last_stays(tmp_path):
    found = commits(tmp_path)
    known = KnownShards(found, most=2 * (2 * SIZE + _OVERHEAD))
    for place in PLACES * 3:
        assert known.shards(*place) == expected(*place)
        assert len(known) <= 2 * 2 * SIZE
    found._backend.asked.clear()
    known.shards(1, 9)
    assert not found._backend.asked
    known.shards(0, 0)
    assert found._backend.asked


def test_a_group_larger_than_the_bound_is_kept_alone(tmp_path):
    known = KnownShards(commits(tmp_path), most=1)
    assert [known.shards(*place) for place in PLACES] == [expected(*place) for place in PLACES]
    assert len(known) <= 2 * SIZE


def test_single_commits_that_are_kept_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("logitcache.store.known._MOST_SINGLE", 3)
    known = KnownShards(commits(tmp_path, {(0, 3), (1, 3)}))
    for place in PLACES:
        known.shards(*place)
        assert len(known._single) <= 3


def test_threads_agree_and_read_a_group_once(tmp_path):
    found = commits(tmp_path)
    known = KnownShards(found, most=3 * (2 * SIZE + _OVERHEAD))
    barrier = Barrier(8)

    def look(number):
        barrier.wait()
        return all(known.shards(*place) == expected(*place) for place in (PLACES[number:] + PLACES[:number]) * 4)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(look, range(8)))
    assert len(known) <= 3 * 2 * SIZE
    fresh = KnownShards(found)
    found._backend.asked.clear()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: (barrier.wait(), fresh.shards(0, 0)), range(8)))
    assert found._backend.asked["logits/commits/0.0.json"] == 1


def test_it_travels_without_what_it_knows(tmp_path):
    known = KnownShards(commits(tmp_path))
    known.shards(0, 0)
    travelled = pickle.loads(pickle.dumps(known))  # noqa: S301  # our own
    assert len(travelled) == 0
    assert travelled.shards(0, 0) == expected(0, 0)


def test_a_fork_is_not_kept_waiting_by_locks_of_its_parents_threads(tmp_path, monkeypatch):
    known = KnownShards(commits(tmp_path))
    known._lock.acquire()
    known._loading.acquire()
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a fork
    assert known.shards(0, 0) == expected(0, 0)


def test_a_digest_that_is_none_agrees_with_no_bytes(tmp_path):
    found = commits(tmp_path)
    record = [commit(0, block).to_json() for block in range(SIZE)]
    record[1]["arrays"]["codes"]["sha256"] = "no digest"
    (tmp_path / "logits/commits/0.0.json").write_bytes(pack({"view": 0, "blocks": record}))
    assert KnownShards(found).shards(0, 1)["codes"] == ShardDigest(1, "0" * 64)


def test_a_damaged_record_is_named(tmp_path):
    found = commits(tmp_path)
    (tmp_path / "logits/commits/0.1.json").write_bytes(b"{}")
    with pytest.raises(DamageError, match=r"commits/0\.1\.json is damaged"):
        KnownShards(found).shards(0, 5)
