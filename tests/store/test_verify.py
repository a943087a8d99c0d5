"""Verifying names every block that is not what was committed, and no other."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from builders import Plan, tree

from logitcache.errors import InputError, LogitcacheError
from logitcache.records import BlockId
from logitcache.store import open_store, verify
from logitcache.store.documents import pack
from logitcache.store.verify import block_total, verify_url

PLAN = Plan(features=3)
SHARDS = "train/teachers/big/{}/c/{}/{}/0"


@pytest.fixture
def path(tmp_path, unsynced):
    """A store with two teachers in train and one in test."""
    path = tmp_path / "store"
    PLAN.write(path)
    replace(PLAN, teacher="small", seed=3).write(path)
    replace(PLAN, split="test", fingerprint="t" * 16, views=1).write(path)
    return path


def test_an_intact_store_has_no_findings_and_is_left_alone(path):
    before = tree(path)
    found = verify(open_store(path), decode=True)
    assert (found.blocks, found.findings) == (15, ())
    shards = [path / name for name in before if "/logits/c/" in name or "/features/c/" in name]
    assert found.bytes == sum(shard.stat().st_size for shard in shards)
    assert tree(path) == before


def test_progress_counts_every_block(path):
    seen = []
    verify(open_store(path), progress=seen.append)
    assert block_total(open_store(path)) == seen[-1]
    assert seen == list(range(1, 16))


@pytest.mark.parametrize("array", ["logits", "features"])
def test_every_damaged_block_is_named_once(path, array):
    for view, block in ((0, 1), (1, 2)):
        shard = path / SHARDS.format(array, view, block)
        shard.write_bytes(shard.read_bytes()[::-1])
    findings = verify(open_store(path)).findings
    assert [finding.where for finding in findings] == [
        "block 1 of view 0 of teacher 'big' in split 'train'",
        "block 2 of view 1 of teacher 'big' in split 'train'",
    ]
    assert all(f"its {array} shard has other bytes" in str(finding) for finding in findings)


def test_a_missing_block_is_a_finding(tmp_path, unsynced):
    PLAN.write(tmp_path, leave_out={(0, 2)})
    [finding] = verify(open_store(tmp_path)).findings
    assert "block 2 of view 0" in finding.where
    assert "is not committed" in finding.problem


def test_damaged_metadata_of_one_teacher_leave_the_others_to_be_checked(path):
    metadata = path / "train/teachers/big/zarr.json"
    metadata.write_bytes(metadata.read_bytes().replace(b"cnn", b"cnm"))
    found = verify(open_store(path))
    assert [finding.where for finding in found.findings] == ["train/teachers/big/zarr.json"]
    assert found.blocks == 9


def test_damaged_commits_are_one_finding_with_each_of_their_blocks(path):
    commits = path / "train/teachers/big/logits/commits/1.json"
    commits.write_bytes(commits.read_bytes().replace(b'"block":2', b'"block":1'))
    found = verify(open_store(path))
    [finding] = found.findings
    assert (finding.kind, finding.key) == ("commit", "train/teachers/big/logits/commits/1.json")
    assert finding.problem.startswith(f"{finding.key} is damaged")
    assert finding.blocks == tuple(BlockId("big", "train", 1, block) for block in range(3)) == found.damaged


def test_a_damaged_commit_of_an_unfinished_view_is_that_of_one_block(tmp_path, unsynced):
    PLAN.write(tmp_path, leave_out={(1, 2)})
    commit = tmp_path / "train/teachers/big/logits/commits/1/0.json"
    commit.write_bytes(commit.read_bytes()[:-2])
    damaged, missing = verify_url(tmp_path).findings
    assert (damaged.kind, damaged.blocks) == ("commit", (BlockId("big", "train", 1, 0),))
    assert (missing.kind, missing.blocks) == ("block", (BlockId("big", "train", 1, 2),))


@pytest.mark.parametrize(("source", "target"), [("1/0", "1/1"), ("0", "1")], ids=["block", "view"])
def test_a_commit_in_the_place_of_another_is_damage(tmp_path, unsynced, source, target):
    PLAN.write(tmp_path, leave_out={(1, 2)} if "/" in source else ())
    folder = tmp_path / "train/teachers/big/logits/commits"
    shutil.copy(folder / f"{source}.json", folder / f"{target}.json")
    findings = [finding for finding in verify_url(tmp_path).findings if finding.kind == "commit"]
    assert [finding.key.removeprefix("train/teachers/big/logits/commits/") for finding in findings] == [
        f"{target}.json"
    ]
    assert f"it is of block 0 of view {source[0]}" in findings[0].problem


def test_a_commit_without_all_arrays_is_damage(path):
    commits = path / "train/teachers/big/logits/commits/0.json"
    record = json.loads(commits.read_bytes())["record"]
    del record["blocks"][1]["arrays"]["features"]
    commits.write_bytes(pack(record))
    [finding] = verify_url(path).findings
    assert finding.kind == "commit"
    assert "it commits logits" in finding.problem


@pytest.mark.parametrize("change", ["flip", "cut", "empty", "delete"])
def test_every_single_file_is_found_by_name(path, change):
    """Also where the store cannot be opened any more."""
    for name in tree(path):
        file = path / name
        data = file.read_bytes()
        if change == "delete":
            file.unlink()
        else:
            changed = {"flip": bytes([data[0] ^ 1]) + data[1:], "cut": data[:-1], "empty": b""}[change]
            file.write_bytes(changed)
        found = verify_url(path, decode=True)
        assert found.findings, name
        missing_commit = change == "delete" and "/commits/" in name  # its blocks were never committed, as it seems
        keys = {finding.key for finding in found.findings}
        assert name in keys or (missing_commit and all(finding.kind == "block" for finding in found.findings)), name
        assert missing_commit or len(keys) == 1, (name, keys)
        file.write_bytes(data)


def test_everything_that_is_wrong_is_found_at_once(path):
    names = [
        "test/zarr.json",
        "train/index/c/0",
        "train/teachers/big/classifier_bias/c/0",
        "train/teachers/big/features/zarr.json",
        "train/teachers/big/logits/commits/1.json",
        "train/teachers/big/logits/c/0/2/0",
        "train/teachers/small/logits/digests.json",
        "train/teachers/small/features/c/1/0/0",
        "zarr.json",
    ]
    for name in names:
        (path / name).write_bytes(b"x" + (path / name).read_bytes()[1:])
    with pytest.raises(LogitcacheError):
        open_store(path)
    found = verify_url(path)
    assert {finding.key for finding in found.findings} == set(names)
    kinds = {finding.key: finding.kind for finding in found.findings}
    assert kinds["train/teachers/big/logits/commits/1.json"] == "commit"
    assert {key for key, kind in kinds.items() if kind == "block"} == {
        n for n in names if "/c/" in n and n.count("/") > 5
    }
    assert [str(block) for block in found.damaged] == [
        *(
            f"block {block} of view {view} of teacher 'big' in split 'train'"
            for view, block in [(0, 2), (1, 0), (1, 1), (1, 2)]
        ),
        "block 0 of view 1 of teacher 'small' in split 'train'",
    ]
    assert found.blocks == block_total(path) == 15


@pytest.mark.parametrize("name", ["train/labels/digests.json", "train/teachers/big/logits/digests.json"])
def test_a_part_whose_digests_are_gone_is_not_passed_over(path, name):
    (path / name).unlink()
    [finding] = verify_url(path).findings
    assert (finding.kind, finding.key) == ("metadata", name)
    assert "is missing" in finding.problem


def test_a_teacher_under_another_name_is_found(path):
    (path / "train/teachers/small").rename(path / "train/teachers/third")
    findings = verify_url(path).findings
    assert any("which is not below train/teachers/third" in finding.problem for finding in findings)


def test_what_is_no_store_is_no_finding(tmp_path):
    with pytest.raises(InputError, match="is not a logit store"):
        verify_url(tmp_path)
    with pytest.raises(InputError, match="is not a logit store"):
        verify_url(tmp_path / "none")


def test_only_decoding_finds_values_that_were_never_committed(path):
    """Shard and commit agree in bytes, but the commit's digest of the values is another's."""
    commits = path / "train/teachers/big/logits/commits/0.json"
    record = json.loads(commits.read_bytes())["record"]
    record["blocks"][1]["arrays"]["logits"]["values_sha256"] = "0" * 64
    commits.write_bytes(pack(record))
    assert verify(open_store(path)).findings == ()
    [finding] = verify(open_store(path), decode=True).findings
    assert str(finding).startswith("block 1 of view 0")
    assert "decodes to other values" in finding.problem
