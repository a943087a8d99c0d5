"""Shards without a commit, that another writer left, are adopted where they hold what was to be written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import KINDS, Plan
from zarr.codecs import BloscCodec
from zarr.codecs.numcodecs import PCodec

from logitcache.errors import CheckError
from logitcache.store import open_store
from logitcache.store.encodings.topk import top_k

PLAN = Plan(samples=13, block_rows=8)
RICH = Plan(features=3)


@pytest.mark.parametrize("spoil", ["cut", "other", "empty"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_uncommitted_shard_is_not_taken_for_ours(tmp_path, unsynced, kind, spoil):
    plan = replace(PLAN, encoding=KINDS[kind])
    where = f"train/teachers/big/{plan.record.arrays[plan.choice.encoding.primary].key(0, 0)}"
    shard = tmp_path / "store" / where
    plan.writer(tmp_path / "store")
    other = plan.writer(tmp_path / "other")
    other.write(0, 0, plan.logits[1, :8])
    data = (tmp_path / "other" / where).read_bytes()
    shard.parent.mkdir(parents=True)
    shard.write_bytes({"cut": data[:-5], "other": data, "empty": b""}[spoil])
    with pytest.raises(CheckError, match=f"is in the way; delete {where} and run again"):
        plan.write(tmp_path / "store")
    shard.unlink()
    plan.write(tmp_path / "store")
    assert open_store(tmp_path / "store").logits("big").has(0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_values_in_other_bytes_are_adopted(tmp_path, unsynced, monkeypatch, kind):
    """Another version of the compressor wrote the shards and died before its commit."""
    plan = replace(PLAN, encoding=KINDS[kind])
    writer = plan.writer(tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr(writer._commits, "add", lambda commit: None)
        patch.setattr(
            "logitcache.store.schema._serializer", lambda: PCodec(delta_spec="try_consecutive", delta_encoding_order=2)
        )
        patch.setattr("logitcache.store.schema.BloscCodec", lambda **said: BloscCodec(**{**said, "cname": "lz4"}))
        plan.write_block(writer, 0, 0)
    shards = [f"train/teachers/big/{spec.key(0, 0)}" for spec in plan.record.arrays.values()]
    others = {name: (tmp_path / "store" / name).read_bytes() for name in shards}
    plan.write(tmp_path / "store")
    plan.write(tmp_path / "ours")
    assert {name: (tmp_path / "store" / name).read_bytes() for name in shards} == others
    assert any((tmp_path / "ours" / name).read_bytes() != data for name, data in others.items())
    theirs, ours = (open_store(tmp_path / name).logits("big") for name in ("store", "ours"))
    assert (theirs.read(0, 0) == ours.read(0, 0)).all()
    assert theirs.commit(0, 0).fidelity == ours.commit(0, 0).fidelity


@pytest.mark.parametrize("kind", ["uniform", "head", "step", "topk"])
@pytest.mark.parametrize("sparse", [False, True])
def test_empty_shards_are_not_taken_for_missing_values(tmp_path, unsynced, kind, sparse):
    """A copy of a store that lost what its files held."""
    plan = replace(PLAN, encoding=KINDS[kind])
    if sparse and kind != "topk":
        return
    for name, spec in plan.record.arrays.items():
        path = tmp_path / name
        writer, shard = plan.writer(path), path / f"train/teachers/big/{spec.key(0, 0)}"
        shard.parent.mkdir(parents=True)
        shard.write_bytes(b"")
        with pytest.raises(CheckError, match=r"damaged uncommitted shard \(it is empty\) is in the way"):
            writer.write(0, 0, top_k(plan.logits[0, :8], 3) if sparse else plan.logits[0, :8])
        assert not open_store(path).logits("big").has(0, 0)


def test_features_that_are_within_their_step_are_adopted_and_others_are_not(tmp_path, unsynced, monkeypatch):
    """Their last bits differ between devices."""
    plan = replace(RICH, feature_step=0.125)
    nearly, other = plan.penultimate[0, :8].copy(), plan.penultimate[0, :8].copy()
    edge = np.float32(0.125 * 2.5)
    nearly[2, 1], other[2, 1] = np.nextafter(edge, np.float32(1)), edge + np.float32(0.2)
    features = plan.penultimate[0, :8].copy()
    features[2, 1] = np.nextafter(edge, np.float32(0))
    for name, theirs in (("nearly", nearly), ("other", other)):
        writer = plan.writer(tmp_path / name)
        with monkeypatch.context() as patch:
            patch.setattr(writer._commits, "add", lambda commit: None)
            writer.write(0, 0, plan.logits[0, :8], theirs)
    writer = plan.writer(tmp_path / "other")
    with pytest.raises(CheckError, match=r"an uncommitted shard of other features is in the way; delete .*features/c"):
        writer.write(0, 0, plan.logits[0, :8], features)
    plan.writer(tmp_path / "nearly").write(0, 0, plan.logits[0, :8], features)
    reader = open_store(tmp_path / "nearly").logits("big")
    assert reader.features(0, 0)[2, 1] == 0.125 * 3
    fidelity = reader.commit(0, 0).fidelity
    assert fidelity.features_largest_error == pytest.approx(0.0625)
    assert fidelity.largest_error > 0


def test_sparse_rows_of_others_are_not_adopted(tmp_path, unsynced, monkeypatch):
    plan = replace(PLAN, encoding=KINDS["topk"])
    writer = plan.writer(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(writer._commits, "add", lambda commit: None)
        writer.write(0, 0, top_k(plan.logits[1, :8], 3))
    with pytest.raises(CheckError, match=r"other values \(from another device or software\?\) is in the way"):
        writer.write(0, 0, top_k(plan.logits[0, :8], 3))
    writer.write(0, 0, top_k(plan.logits[1, :8], 3))
    assert open_store(tmp_path).logits("big").has(0, 0)
