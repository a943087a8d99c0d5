"""A block exists when its commit does, folded or not, in one group or several, and folding may stop anywhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
from builders import DyingBackend, KilledError, tree

from logitcache.errors import DamageError
from logitcache.store.backend import LocalBackend
from logitcache.store.commits import ArrayDigest, Commit, Commits
from logitcache.store.documents import pack
from logitcache.store.encodings import Fidelity
from logitcache.store.groups import Groups

VIEWS, BLOCKS = 2, 3
FOLDER = "train/teachers/big/logits/commits"


@pytest.fixture(params=[0, 2], ids=["a view", "two blocks"])
def size(request):
    """Blocks of a group; 0: all of a view."""
    return request.param


def commit(view, block):
    fidelity = Fidelity(8, 32, 0.01 * block, 0.02, 0.003, 1.5, 8, (1.0, 4.0), (1e-4, 1e-5), (1e-3, 1e-4))
    digest = ArrayDigest(100 + block, f"{view}{block}" * 32, "cd" * 32)
    return Commit(view, block, 8 * block, 8 * block + 8, {"logits": digest, "features": digest}, fidelity)


def commits(backend, size=0):
    return Commits(backend, "train/teachers/big/logits", Groups(VIEWS, BLOCKS, size))


def filled(path, leave_out=(), size=0):
    found = commits(LocalBackend(path), size)
    for view in range(VIEWS):
        for block in range(BLOCKS):
            if (view, block) not in leave_out:
                assert found.add(commit(view, block))
    return found


def everything(found):
    """All commits by view and block."""
    return {(each.view, each.block): each for each in found.walk()}


def expected(leave_out=()):
    places = [(view, block) for view in range(VIEWS) for block in range(BLOCKS)]
    return {place: commit(*place) for place in places if place not in leave_out}


def test_commits_come_back_as_they_were(tmp_path, size):
    found = filled(tmp_path, size=size)
    assert everything(found) == expected()
    assert [found.read_one(*place) for place in expected()] == list(expected().values())
    assert found.read_one(1, BLOCKS) is None
    assert [found.read_folded(group) for group in found.groups] == [None] * len(found.groups)


def test_presence_is_read_from_names_alone(tmp_path, size):
    absent = [(0, 1), (1, 0), (1, 2)]
    found = filled(tmp_path, absent, size)
    for file in tmp_path.rglob("*.json"):
        file.write_bytes(b"")
    assert set(found.present(found.groups.of(0, 0))) == ({0} if size else {0, 2})
    assert list(found.pending()) == absent
    assert list(found.pending(by_block=True)) == [(1, 0), (0, 1), (1, 2)]
    assert (found.committed(), found.complete(0), found.complete(1)) == (3, False, False)
    assert [found.has(*place) for place in ((0, 0), (0, 1), (1, 2))] == [True, False, False]


def test_a_view_is_complete_with_its_last_block(tmp_path, size):
    found = filled(tmp_path, {(1, 2)}, size)
    found.fold()
    assert [found.complete(view) for view in range(VIEWS)] == [True, False]
    found.add(commit(1, 2))
    assert found.complete(1)


def test_files_of_others_are_no_commits(tmp_path):
    found = filled(tmp_path, leave_out={(0, 1)})
    (tmp_path / FOLDER / "0/.nfs0001").write_bytes(b"")
    (tmp_path / FOLDER / "0/1.json~").write_bytes(b"")
    (tmp_path / FOLDER / "0/7.json").write_bytes(b"")
    assert list(found.pending()) == [(0, 1)]


def test_a_groups_files_bear_its_name(tmp_path):
    found = filled(tmp_path, {(1, 2)}, size=2)
    found.fold()
    found.add(commit(1, 2))
    assert sorted(tree(tmp_path)) == [f"{FOLDER}/{name}" for name in ("0.0.json", "0.1.json", "1.0.json", "1.1/2.json")]


def test_a_commit_is_never_replaced(tmp_path):
    found = filled(tmp_path)
    before = tree(tmp_path)
    assert not found.add(commit(1, 1))
    assert tree(tmp_path) == before


def test_folding_changes_files_but_no_commit(tmp_path):
    found = filled(tmp_path, leave_out={(1, 2)})
    found.fold()
    assert sorted(tree(tmp_path)) == [f"{FOLDER}/0.json", f"{FOLDER}/1/0.json", f"{FOLDER}/1/1.json"]
    assert everything(found) == expected({(1, 2)})
    assert found.read_folded(found.groups.of(0, 0)) == {block: commit(0, block) for block in range(BLOCKS)}
    assert [found.read_one(*place) for place in ((0, 2), (1, 0), (1, 2))] == [commit(0, 2), commit(1, 0), None]
    assert list(found.pending()) == [(1, 2)]
    files = tree(tmp_path)
    found.fold()
    assert tree(tmp_path) == files


def test_folding_may_stop_anywhere(tmp_path, unsynced, size):
    filled(tmp_path / "whole", size=size).fold()
    whole = tree(tmp_path / "whole")
    for changes in count():
        path = tmp_path / str(changes)
        filled(path, size=size)
        try:
            commits(DyingBackend(path, changes), size).fold()
        except KilledError:
            found = commits(LocalBackend(path), size)
            assert list(found.pending()) == []
            assert everything(found) == expected()
            found.fold()
            assert tree(path) == whole
        else:
            break
    assert changes == VIEWS * ((2 if size else 1) + BLOCKS)


def test_a_straggler_of_another_writer_is_tidied_away(tmp_path, size):
    found = filled(tmp_path, size=size)
    found.fold()
    files = tree(tmp_path)
    found.add(commit(0, 1))
    found.fold()
    assert tree(tmp_path) == files


def test_commits_folded_between_two_looks_are_found(tmp_path, size):
    """Another writer folds the group after its names were listed."""
    found = filled(tmp_path, size=size)

    class Late(LocalBackend):
        def names(self, folder):
            names = super().names(folder)
            found.fold()
            return names

    assert everything(commits(Late(tmp_path), size)) == expected()


@pytest.mark.parametrize("fold", [False, True])
def test_a_changed_commit_is_damage(tmp_path, fold, size):
    found = filled(tmp_path, size=size)
    if fold:
        found.fold()
    file = min(tmp_path.rglob("*.json"))
    file.write_bytes(file.read_bytes().replace(b'"rows":8', b'"rows":9', 1))
    for read in (list, lambda walk: found.read_one(0, 0)):
        with pytest.raises(DamageError, match=r"big/logits/commits/0.*json is damaged"):
            read(found.walk())


def test_a_commit_in_the_place_of_another_groups_is_damage(tmp_path):
    found = filled(tmp_path, size=2)
    found.fold()
    (tmp_path / FOLDER / "0.0.json").rename(tmp_path / FOLDER / "0.1.json")
    with pytest.raises(DamageError, match=r"commits/0\.1\.json is damaged: it is of block 0 of view 0"):
        found.read(found.groups.of(0, 2))


def test_a_single_commit_that_holds_none_is_damage(tmp_path):
    found = filled(tmp_path)
    (tmp_path / FOLDER / "0/1.json").write_bytes(pack({"view": 0, "blocks": []}))
    with pytest.raises(DamageError, match=r"0/1\.json is damaged: it has 0 commits, and is to have one"):
        found.read_one(0, 1)


def repaired(view, block, number):
    return replace(commit(view, block), stop=number, repair=number)


@pytest.mark.parametrize("fold", [False, True])
def test_the_latest_repair_of_a_block_counts(tmp_path, size, fold):
    found = filled(tmp_path, size=size)
    for number in (1, 2):
        found.supersede(repaired(1, 0, number))
    if fold:
        found.fold()
    assert everything(found) == {**expected(), (1, 0): repaired(1, 0, 2)}
    assert found.read_one(1, 0) == repaired(1, 0, 2)
    assert found.read_one(1, 1) == commit(1, 1)
    group = "1.0" if size else "1"
    assert {name for name in tree(tmp_path) if "repairs" in name} == {
        f"{FOLDER}/repairs/{group}/0.{number}.json" for number in (1, 2)
    }


def test_repairs_of_earlier_versions_count_too(tmp_path):
    """They lay all in one folder."""
    found = filled(tmp_path)
    (tmp_path / FOLDER / "repairs").mkdir()
    (tmp_path / FOLDER / "repairs/1.0.1.json").write_bytes(pack(repaired(1, 0, 1).to_json()))
    assert everything(commits(LocalBackend(tmp_path))) == {**expected(), (1, 0): repaired(1, 0, 1)}
    found.supersede(repaired(1, 0, 2))
    assert commits(LocalBackend(tmp_path)).read_one(1, 0) == repaired(1, 0, 2)
    commits(LocalBackend(tmp_path)).forget(1, 0)
    assert not [name for name in tree(tmp_path) if "repairs" in name]


def test_a_block_that_is_forgotten_is_pending_and_no_other_of_its_group(tmp_path, size):
    found = filled(tmp_path, size=size)
    found.supersede(repaired(0, 0, 1))
    found.supersede(repaired(0, 1, 1))
    found.forget(0, 0)
    assert list(found.pending()) == [(0, 0)]
    assert everything(found) == {**expected({(0, 0)}), (0, 1): repaired(0, 1, 1)}
    found.add(commit(0, 0))
    assert found.read_one(0, 0) == commit(0, 0)


def test_of_folded_commits_all_of_the_group_are_forgotten(tmp_path):
    found = filled(tmp_path, size=2)
    found.fold()
    found.supersede(repaired(0, 1, 1))
    found.forget(0, 0)
    assert list(found.pending()) == [(0, 0), (0, 1)]
    assert found.committed() == VIEWS * BLOCKS - 2
    assert not [name for name in tree(tmp_path) if "repairs" in name]
