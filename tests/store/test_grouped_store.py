"""A store whose views have several groups of commits is one like any other: read, checked, mended, resumed, copied."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from builders import KilledError, Plan, dies_after, tree

from logitcache.errors import DamageError, InputError, MismatchError
from logitcache.records import BlockId
from logitcache.store import open_store, store_info, verify
from logitcache.store.documents import pack
from logitcache.store.verify import verify_url
from logitcache.transfer.copying import CopyOptions, CopyOutcome, copy_store

PLAN = Plan(features=3, block_rows=4, commit_group=2)
BLOCKS = [(view, block) for view in range(2) for block in range(5)]
COMMITS = "train/teachers/big/logits/commits"


@pytest.fixture
def path(tmp_path, unsynced):
    PLAN.write(tmp_path / "store")
    return tmp_path / "store"


def test_it_has_a_record_a_group_and_says_so(path):
    assert {name.rsplit("/", 1)[1] for name in tree(path) if "/commits/" in name} == {
        f"{view}.{group}.json" for view in range(2) for group in range(3)
    }
    said = json.loads((path / "train/teachers/big/zarr.json").read_bytes())["attributes"]["logitcache"]
    assert said["commit_group"] == 2


def test_of_few_blocks_nothing_is_said_and_nothing_is_other_than_it_was(tmp_path, unsynced):
    replace(PLAN, commit_group=0).write(tmp_path)
    assert "commit_group" not in (tmp_path / "train/teachers/big/zarr.json").read_text()
    assert {name.rsplit("/", 1)[1] for name in tree(tmp_path) if "/commits/" in name} == {"0.json", "1.json"}


def test_it_reads_as_a_store_without_groups(path, tmp_path):
    replace(PLAN, commit_group=0).write(tmp_path / "plain")
    ours, theirs = (open_store(each).logits("big") for each in (path, tmp_path / "plain"))
    for place in BLOCKS:
        np.testing.assert_array_equal(ours.read(*place), theirs.read(*place))
        np.testing.assert_array_equal(ours.features(*place), theirs.features(*place))
        assert ours.commit(*place) == theirs.commit(*place)
    told = [store_info(open_store(each))["splits"] for each in (path, tmp_path / "plain")]
    assert told[0] == told[1]
    shards = [{n: digest for n, digest in tree(each).items() if "/c/" in n} for each in (path, tmp_path / "plain")]
    assert shards[0] == shards[1]


def test_a_writer_that_dies_anywhere_resumes_to_the_same_bytes(path, tmp_path):
    plan = replace(PLAN, views=1, features=0)
    plan.write(tmp_path / "whole")
    expected = tree(tmp_path / "whole")
    for changes in count(8):
        try:
            with dies_after(changes):
                plan.write(tmp_path / str(changes))
        except KilledError:
            plan.write(tmp_path / str(changes))
            assert tree(tmp_path / str(changes)) == expected
        else:
            break
    assert changes > 25


def test_a_damaged_record_costs_its_own_group_only(path):
    file = path / COMMITS / "1.1.json"
    file.write_bytes(file.read_bytes()[:-3])
    found = verify_url(path)
    [finding] = found.findings
    assert (finding.kind, finding.key) == ("commit", f"{COMMITS}/1.1.json")
    assert found.damaged == tuple(BlockId("big", "train", 1, block) for block in (2, 3))
    reader = open_store(path).logits("big")
    with pytest.raises(DamageError, match=r"commits/1\.1\.json is damaged"):
        reader.read(1, 2)
    assert reader.read(1, 4).shape == (4, 4)


def test_a_record_that_is_gone_leaves_its_blocks_uncommitted(path):
    (path / COMMITS / "0.2.json").unlink()
    [finding] = verify_url(path).findings
    assert (finding.key, finding.problem) == (
        f"{COMMITS}/0.2/4.json",
        "it is not committed; run the cache step again",
    )


@pytest.mark.parametrize("block", [0, 3])
def test_blocks_that_are_written_anew_are_superseded_in_their_group(path, block):
    writer, rows = PLAN.writer(path), slice(4 * block, 4 * block + 4)
    moved = PLAN.logits[1, rows] + np.float32([0.5, 0, 0, 0])
    assert not writer.rewrite(1, block, moved, PLAN.penultimate[1, rows])
    assert writer.rewrite(1, block, moved, PLAN.penultimate[1, rows])
    assert [name for name in tree(path) if "repairs" in name] == [f"{COMMITS}/repairs/1.{block // 2}/{block}.1.json"]
    reader = open_store(path).logits("big")
    assert np.abs(reader.read(1, block) - moved).max() <= reader.encoding.step / 2 * (1 + 1e-6)
    assert reader.commit(1, block).repair == 1
    assert verify(open_store(path), decode=True).findings == ()


def test_a_copy_is_the_same_byte_for_byte_and_goes_on_where_it_was(tmp_path, unsynced):
    PLAN.write(tmp_path / "store", leave_out={(0, 1), (1, 4)})
    options = CopyOptions()
    assert copy_store(open_store(tmp_path / "store"), tmp_path / "copy", options) == CopyOutcome(8, 0, 2)
    assert list(open_store(tmp_path / "copy").logits("big").commits.pending()) == [(0, 1), (1, 4)]
    PLAN.write(tmp_path / "store")
    assert copy_store(open_store(tmp_path / "store"), tmp_path / "copy", options) == CopyOutcome(2, 8, 0)
    assert tree(tmp_path / "copy") == tree(tmp_path / "store")


def test_a_damaged_group_is_named_and_the_others_are_copied(path, tmp_path):
    (path / COMMITS / "0.1.json").write_bytes(pack({"view": 0, "blocks": [{}]}))
    with pytest.raises(DamageError, match=r"commits/0\.1\.json is damaged"):
        copy_store(open_store(path), tmp_path / "copy", CopyOptions())
    assert list(open_store(tmp_path / "copy").logits("big").commits.pending()) == [(0, 2), (0, 3)]


def test_other_groups_are_another_store(path):
    with pytest.raises(MismatchError, match="the number of blocks whose commits are together"):
        replace(PLAN, commit_group=3).writer(path)


@pytest.mark.parametrize("size", [-1, 1 << 25])
def test_groups_of_no_size_are_refused(size):
    with pytest.raises(InputError, match="commit_group"):
        replace(PLAN, commit_group=size).record  # noqa: B018  # making it is what fails
