"""However many blocks a store has, each costs the same: what is asked of the backend grows as their number does.

Requests are counted, and names in the answers to listings; a group has four blocks, so that a few dozen are many.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from builders import Plan

from logitcache.store import Store, store_info, verify
from logitcache.store.backend import LocalBackend
from logitcache.store.commits import Commits
from logitcache.store.totals import bytes_of_row, total_of
from logitcache.transfer.copying import CopyOptions, copy_store

FEW, MANY = 8, 32
SHAPES = {"one view": lambda total: (1, total), "many views": lambda total: (total // 4, 4)}


class Weighed(LocalBackend):
    """Counts requests, and the names in what listings answer."""

    work = 0

    def get(self, key, limit=None):
        Weighed.work += 1
        return super().get(key, limit)

    def put(self, key, data):
        Weighed.work += 1
        return super().put(key, data)

    def replace(self, key, data):
        Weighed.work += 1
        return super().replace(key, data)

    def size(self, key):
        Weighed.work += 1
        return super().size(key)

    def delete(self, key):
        Weighed.work += 1
        return super().delete(key)

    def names(self, folder):
        names = super().names(folder)
        Weighed.work += 1 + len(names)
        return names


@pytest.fixture(autouse=True)
def _weighed(monkeypatch):
    for module in ("write", "read"):
        monkeypatch.setattr(f"logitcache.store.{module}.open_backend", lambda url: Weighed(Path(url)))


def write(path, shape, total, part=1.0, fold=True):
    """A store of so many blocks, of which a part is committed: real commits of blocks that are all the same."""
    views, blocks = SHAPES[shape](total)
    made = Plan(views=views, samples=2 * blocks, block_rows=2, classes=2, commit_group=4)
    writer = made.writer(path)
    places = list(writer.pending())
    made.write_block(writer, 0, 0)
    first = writer._commits.read_one(0, 0)
    shard = (path / "train/teachers/big/logits/c/0/0/0").read_bytes()
    for view, block in places[1 : round(part * len(places))]:
        writer.copy(replace(first, view=view, block=block, start=2 * block, stop=2 * block + 2), {"logits": shard})
    if fold:
        writer._commits.fold()
    return made, writer


def reader(path):
    return Store(path, Weighed(path)).logits("big")


def weigh(act):
    """What an act asks of the backend; what it returns is looked at by no one."""
    before = Weighed.work
    act()
    return Weighed.work - before


def resume(path, shape, total):
    _, writer = write(path, shape, total, 0.9, fold=False)
    return weigh(lambda: list(writer.pending()))


def count_folded(path, shape, total):
    write(path, shape, total)
    return weigh(reader(path).commits.committed)


def fold(path, shape, total):
    _, writer = write(path, shape, total, fold=False)
    return weigh(writer._commits.fold)


def read(path, shape, total):
    made, _ = write(path, shape, total)
    mine = reader(path)
    places = [(view, block) for block in reversed(range(mine.blocks)) for view in range(made.views)]
    return weigh(lambda: [mine.shard("logits", *place) for place in places])


def read_unfinished(path, shape, total):
    """No group is whole: the last block of each is left out, and none is folded."""
    write(path, shape, total, fold=False)
    mine = reader(path)
    for group in mine.commits.groups:
        mine.commits.forget(group.view, group.blocks[-1])
    return weigh(lambda: [mine.digest("logits", *place) for place in places_of(mine) if mine.has(*place)])


def places_of(mine):
    return [(view, block) for view in range(mine.views) for block in range(mine.blocks)]


def check(path, shape, total):
    write(path, shape, total)
    store = Store(path, Weighed(path))
    return weigh(lambda: verify(store))


def tell(path, shape, total):
    write(path, shape, total)
    store = Store(path, Weighed(path))
    return weigh(lambda: store_info(store))


def repair(path, shape, total):
    """Every block is written anew with other bytes."""
    made, writer = write(path, shape, total)
    places = places_of(reader(path))
    rows = 1 + made.logits[0, :2]
    return weigh(lambda: [writer.rewrite(*place, rows) for place in places])


def read_repaired(path, shape, total):
    made, writer = write(path, shape, total)
    for place in places_of(reader(path)):
        writer.rewrite(*place, 1 + made.logits[0, :2])
    return weigh(lambda: [commit for commit in reader(path).commits.walk() if commit.repair])


def copy_unfinished(path, shape, total):
    write(path / "one", shape, total, 0.9, fold=False)
    source = Store(path / "one", Weighed(path / "one"))
    return weigh(lambda: copy_store(source, path / "other", CopyOptions()))


ACTS = [resume, count_folded, fold, read, read_unfinished, check, tell, repair, read_repaired, copy_unfinished]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_a_block_costs_the_same_in_a_larger_store(tmp_path, act, shape):
    few, many = (act(tmp_path / str(total), shape, total) for total in (FEW, MANY))
    assert 0 < few < many <= MANY / FEW * few


def test_what_is_pending_is_looked_for_on_the_way(tmp_path):
    _, writer = write(tmp_path, "one view", MANY, 0.1)
    pending = writer.pending()
    assert weigh(lambda: next(pending)) <= 20
    assert weigh(lambda: list(pending)) > 20


def test_commits_are_walked_a_group_at_a_time(tmp_path):
    write(tmp_path, "one view", MANY)
    walk = reader(tmp_path).commits.walk()
    assert weigh(lambda: next(walk)) < 10


def test_bytes_of_a_row_come_from_some_groups_of_a_large_store(tmp_path, monkeypatch):
    write(tmp_path, "one view", MANY)
    commits = reader(tmp_path).commits
    every = total_of(commits.walk(), ("logits",))
    assert bytes_of_row(commits, ("logits",)) == {"logits": every.bytes["logits"] / every.rows}
    whole = weigh(lambda: bytes_of_row(commits, ("logits",)))
    monkeypatch.setattr("logitcache.store.totals._SAMPLED", 8)
    assert weigh(lambda: bytes_of_row(commits, ("logits",))) <= whole / 4
    assert bytes_of_row(commits, ("logits",)) == {"logits": every.bytes["logits"] / every.rows}


def test_bytes_of_a_row_are_found_wherever_the_first_blocks_are(tmp_path, monkeypatch):
    made, writer = write(tmp_path, "one view", MANY, 0.01)
    monkeypatch.setattr("logitcache.store.totals._SAMPLED", 8)
    writer.forget(0, 0)
    commits = reader(tmp_path).commits
    assert bytes_of_row(commits, ("logits",)) == {}
    made.write_block(writer, 0, 21)
    assert bytes_of_row(commits, ("logits",))["logits"] > 0


def test_totals_of_nothing_are_nothing():
    found = total_of([], ("logits",))
    assert (found.blocks, found.rows, found.bytes, found.fidelity) == (0, 0, {"logits": 0}, None)


def test_a_repair_of_a_whole_group_reads_its_record_once(tmp_path, monkeypatch):
    made, writer = write(tmp_path, "one view", FEW)
    seen = []
    real = Commits.read
    monkeypatch.setattr(Commits, "read", lambda self, group: seen.append(group.key) or real(self, group))
    for block in range(FEW):
        writer.rewrite(0, block, 1 + made.logits[0, :2])
    assert seen == ["0.0", "0.1"]
