"""A block exists when its commit does, folded or not, and folding may stop anywhere."""

from __future__ import annotations

from itertools import count

import pytest
from builders import DyingBackend, KilledError, tree

from logitcache.errors import DamageError
from logitcache.store.backend import LocalBackend
from logitcache.store.commits import ArrayDigest, Commit, Commits
from logitcache.store.encodings import Fidelity

VIEWS, BLOCKS = 2, 3


def commit(view, block):
    fidelity = Fidelity(8, 32, 0.01 * block, 0.02, 0.003, 1.5, 8, (1.0, 4.0), (1e-4, 1e-5), (1e-3, 1e-4))
    digest = ArrayDigest(100 + block, f"{view}{block}" * 32, "cd" * 32)
    return Commit(view, block, 8 * block, 8 * block + 8, {"logits": digest, "features": digest}, fidelity)


def commits(backend):
    return Commits(backend, "train/teachers/big/logits", VIEWS, BLOCKS)


def filled(path, leave_out=()):
    found = commits(LocalBackend(path))
    for view in range(VIEWS):
        for block in range(BLOCKS):
            if (view, block) not in leave_out:
                assert found.add(commit(view, block))
    return found


def test_commits_come_back_as_they_were(tmp_path):
    found = filled(tmp_path)
    for view in range(VIEWS):
        assert found.read(view) == {block: commit(view, block) for block in range(BLOCKS)}


def test_presence_is_read_from_names_alone(tmp_path):
    found = filled(tmp_path, leave_out={(0, 1), (1, 0), (1, 2)})
    assert found.present(0) == {0, 2}
    assert found.pending() == [(0, 1), (1, 0), (1, 2)]
    for file in tmp_path.rglob("*.json"):
        file.write_bytes(b"")
    assert commits(LocalBackend(tmp_path)).pending() == [(0, 1), (1, 0), (1, 2)]


def test_files_of_others_are_no_commits(tmp_path):
    found = filled(tmp_path, leave_out={(0, 1)})
    folder = tmp_path / "train/teachers/big/logits/commits/0"
    (folder / ".nfs0001").write_bytes(b"")
    (folder / "1.json~").write_bytes(b"")
    assert found.pending() == [(0, 1)]


def test_a_commit_is_never_replaced(tmp_path):
    found = filled(tmp_path)
    before = tree(tmp_path)
    assert not found.add(commit(1, 1))
    assert tree(tmp_path) == before


def test_folding_changes_files_but_no_commit(tmp_path):
    found = filled(tmp_path, leave_out={(1, 2)})
    before = [found.read(view) for view in range(VIEWS)]
    found.fold()
    folder = "train/teachers/big/logits/commits"
    assert sorted(tree(tmp_path)) == [f"{folder}/0.json", f"{folder}/1/0.json", f"{folder}/1/1.json"]
    assert [found.read(view) for view in range(VIEWS)] == before
    assert found.pending() == [(1, 2)]
    files = tree(tmp_path)
    found.fold()
    assert tree(tmp_path) == files


def test_folding_may_stop_anywhere(tmp_path, unsynced):
    filled(tmp_path / "whole").fold()
    expected = tree(tmp_path / "whole")
    for changes in count():
        path = tmp_path / str(changes)
        filled(path)
        try:
            commits(DyingBackend(path, changes)).fold()
        except KilledError:
            found = commits(LocalBackend(path))
            assert found.pending() == []
            assert found.read(1) == {block: commit(1, block) for block in range(BLOCKS)}
            found.fold()
            assert tree(path) == expected
        else:
            break
    assert changes == VIEWS * (1 + BLOCKS)


def test_a_straggler_of_another_writer_is_tidied_away(tmp_path):
    found = filled(tmp_path)
    found.fold()
    files = tree(tmp_path)
    found.add(commit(0, 1))
    found.fold()
    assert tree(tmp_path) == files


def test_commits_folded_between_two_looks_are_found(tmp_path):
    """Another writer folds the view after its names were listed."""
    found = filled(tmp_path)

    class Late(LocalBackend):
        def names(self, folder):
            names = super().names(folder)
            found.fold()
            return names

    assert commits(Late(tmp_path)).read(0) == {block: commit(0, block) for block in range(BLOCKS)}


@pytest.mark.parametrize("fold", [False, True])
def test_a_changed_commit_is_damage(tmp_path, fold):
    found = filled(tmp_path)
    if fold:
        found.fold()
    file = min(tmp_path.rglob("*.json"))
    file.write_bytes(file.read_bytes().replace(b'"rows":8', b'"rows":9', 1))
    with pytest.raises(DamageError, match=r"big/logits/commits/0.*json is damaged"):
        found.read(0)
