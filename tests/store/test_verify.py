"""Verifying names every block that is not what was committed, and no other."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from builders import Plan, tree

from logitcache.store import open_store, verify
from logitcache.store.schema import pack
from logitcache.store.verify import block_total

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
    assert [finding.where for finding in found.findings] == ["teacher 'big' in split 'train'"]
    assert found.blocks == 9


def test_damaged_commits_are_a_finding_for_each_of_their_blocks(path):
    commits = path / "train/teachers/big/logits/commits/1.json"
    commits.write_bytes(commits.read_bytes().replace(b'"block":2', b'"block":1'))
    findings = verify(open_store(path)).findings
    assert len(findings) == 3
    assert all("commits/1.json is damaged" in finding.problem for finding in findings)


def test_only_decoding_finds_values_that_were_never_committed(path):
    """Shard and commit agree in bytes, but the commit's digest of the values is another's."""
    commits = path / "train/teachers/big/logits/commits/0.json"
    record = json.loads(commits.read_bytes())["record"]
    record["blocks"][1]["arrays"]["logits"]["values_sha256"] = "0" * 64
    commits.write_bytes(pack(record))
    assert verify(open_store(path)).findings == ()
    [finding] = verify(open_store(path), decode=True).findings
    assert str(finding).startswith("block 1 of view 0")
    assert "decode to other values" in finding.problem
