"""What was written is what is read, whoever died on the way, and nothing else is ever taken for it."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from threading import Barrier

import numpy as np
import pytest
from builders import KilledError, Plan, dies_after, tree
from zarr.codecs.numcodecs import PCodec

from logitcache.errors import CheckError, DamageError, InputError, MissingError
from logitcache.store import EncodingOptions, open_store, verify

PLAN = Plan(samples=13, block_rows=8)
RICH = Plan(features=3)
SHARD = "train/teachers/big/logits/c/0/0/0"


def contents(path):
    """All that a store holds, every committed block among it; a block that is not committed must say so."""
    store = open_store(path)
    found = {"record": store.record, "splits": store.splits}
    for split in store.splits:
        found[split] = store.split(split), store.labels(split).tolist(), store.index(split).tolist()
        for teacher in store.teachers(split):
            reader = store.logits(teacher, split)
            found[split, teacher] = reader.record
            found["classifier"] = {k: v.tolist() for k, v in store.classifier(teacher, split).items()}
            for view in range(reader.views):
                for block in range(reader.blocks):
                    found[split, teacher, view, block] = read(reader, view, block)
    return found


def read(reader, view, block):
    if not reader.has(view, block):
        with pytest.raises(MissingError):
            reader.read(view, block)
        return None
    features = reader.features(view, block).tobytes() if reader.record.features else b""
    return reader.commit(view, block), reader.read(view, block).tobytes(), features


def test_every_block_comes_back_within_half_a_step(tmp_path, unsynced):
    RICH.write(tmp_path)
    store = open_store(tmp_path)
    reader = store.logits("big", "train")
    assert (store.splits, store.teachers("train"), store.classes) == (("train",), ("big",), tuple("abcd"))
    assert (reader.views, reader.samples, reader.classes, reader.blocks) == (2, 20, 4, 3)
    assert (store.labels("train") == RICH.labels).all()
    assert (store.index("train") == RICH.index).all()
    assert store.classifier("big")["weight"].shape == (4, 3)
    for view in range(2):
        decoded = np.concatenate([reader.read(view, block) for block in range(3)])
        assert decoded.dtype == np.float32
        assert np.abs(decoded - RICH.logits[view]).max() <= reader.encoding.step / 2
        features = np.concatenate([reader.features(view, block) for block in range(3)])
        assert (features == RICH.penultimate[view].astype(np.float16)).all()


def test_lossless_logits_come_back_bit_by_bit(tmp_path, unsynced):
    plan = Plan(encoding=EncodingOptions(kind="lossless"))
    plan.write(tmp_path)
    reader = open_store(tmp_path).logits("big")
    assert (np.concatenate([reader.read(1, block) for block in range(3)]) == plan.logits[1]).all()


def survives(write, path):
    """Whether a writer came to its end."""
    try:
        write(path)
    except KilledError:
        return False
    return True


def test_a_writer_may_die_anywhere_and_the_same_command_ends_in_the_same_bytes(tmp_path, unsynced):
    PLAN.write(tmp_path / "whole")
    expected, values = tree(tmp_path / "whole"), contents(tmp_path / "whole")
    for changes in count():
        path = tmp_path / str(changes)
        with dies_after(changes):
            if survives(PLAN.write, path):
                break
        if (path / "zarr.json").exists():
            half = contents(path)
            assert all(value in (None, values[key]) for key, value in half.items() if len(key) == 4)
        PLAN.write(path)
        assert tree(path) == expected
    assert changes > 20


def test_a_writer_may_die_again_and_again(tmp_path, unsynced):
    PLAN.write(tmp_path / "whole")
    lives, finished = 0, False
    while not finished:
        lives += 1
        with dies_after(lives):
            finished = survives(PLAN.write, tmp_path / "often")
    assert lives > 8
    assert tree(tmp_path / "often") == tree(tmp_path / "whole")


def test_two_writers_in_turns_end_in_the_same_bytes(tmp_path, unsynced):
    PLAN.write(tmp_path / "one")
    first, second = PLAN.writer(tmp_path / "two"), PLAN.writer(tmp_path / "two")
    jobs = first.pending()
    for number, (view, block) in enumerate(jobs):
        for writer in (first, second) if number % 2 else (second, first):
            PLAN.write_block(writer, view, block)
    first.finish()
    PLAN.write_block(second, *jobs[0])
    second.finish()
    assert tree(tmp_path / "two") == tree(tmp_path / "one")


def test_two_writers_at_once_end_in_the_same_bytes(tmp_path, unsynced):
    PLAN.write(tmp_path / "one")
    for attempt in range(5):
        barrier = Barrier(2)

        def work(path, barrier=barrier):
            barrier.wait()
            PLAN.write(path)

        path = tmp_path / f"two{attempt}"
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, [path, path]))
        assert tree(path) == tree(tmp_path / "one")


def test_what_a_killed_writer_left_aside_is_gone_in_the_end(tmp_path, unsynced):
    """On file systems without nameless files a whole or partial object stands aside for a while."""
    PLAN.write(tmp_path / "whole")
    PLAN.write(tmp_path / "store", leave_out={(1, 1)})
    (tmp_path / "store/train/teachers/big/logits/c/1/.0.0123.partial").write_bytes(b"half")
    (tmp_path / "store/train/labels/.digests.json.4567.partial").write_bytes(b"")
    PLAN.write(tmp_path / "store")
    assert tree(tmp_path / "store") == tree(tmp_path / "whole")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("what", ["logits", "features"])
def test_what_is_not_finite_is_refused_by_the_samples_index(tmp_path, unsynced, what, bad):
    writer = RICH.writer(tmp_path)
    before = tree(tmp_path)
    blocks = {"logits": RICH.logits[0, 8:16].copy(), "features": RICH.penultimate[0, 8:16].copy()}
    blocks[what][3, 1] = bad
    with pytest.raises(InputError, match=rf"{what} of sample {RICH.sample(11)} are not finite"):
        writer.write(0, 1, **blocks)
    assert tree(tmp_path) == before


def test_features_beyond_float16_are_refused(tmp_path, unsynced):
    features = RICH.penultimate[0, :8].copy()
    features[5, 2] = 7e4
    with pytest.raises(InputError, match=rf"feature of sample {RICH.sample(5)} is 7e\+04, beyond float16"):
        RICH.writer(tmp_path).write(0, 0, RICH.logits[0, :8], features)


def test_blocks_of_another_shape_are_refused(tmp_path, unsynced):
    writer = RICH.writer(tmp_path)
    with pytest.raises(InputError, match=r"shape \(7, 4\); expected \(8, 4\)"):
        writer.write(0, 0, RICH.logits[0, :7], RICH.penultimate[0, :8])
    with pytest.raises(InputError, match="stores features, but the block came without"):
        writer.write(0, 0, RICH.logits[0, :8])


def test_a_missing_block_is_named_and_never_zero(tmp_path, unsynced):
    PLAN.write(tmp_path, leave_out={(1, 0)})
    reader = open_store(tmp_path).logits("big")
    assert [reader.has(1, block) for block in range(2)] == [False, True]
    with pytest.raises(MissingError) as error:
        reader.read(1, 0)
    assert str(error.value) == (
        f"{tmp_path}: block 0 of view 1 of teacher 'big' in split 'train' is not committed; run the cache step again"
    )


def test_a_shard_without_a_commit_is_no_data(tmp_path, unsynced, monkeypatch):
    """Its writer died between the two."""
    writer = PLAN.writer(tmp_path)
    monkeypatch.setattr(writer._commits, "add", lambda commit: None)
    PLAN.write_block(writer, 0, 0)
    reader = open_store(tmp_path).logits("big")
    assert (tmp_path / SHARD).exists()
    assert not reader.has(0, 0)
    with pytest.raises(MissingError):
        reader.read(0, 0)


def test_blocks_that_do_not_exist_are_wrong_usage(tmp_path, unsynced):
    PLAN.write(tmp_path)
    reader = open_store(tmp_path).logits("big")
    for view, block in ((2, 0), (-1, 0), (0, 2), (0, -1)):
        with pytest.raises(InputError, match=r"which has views 0\.\.1 and blocks 0\.\.1"):
            reader.read(view, block)


@pytest.mark.parametrize("spoil", ["truncate", "flip", "remove", "empty"])
def test_a_damaged_shard_is_named_with_store_teacher_view_and_rows(tmp_path, unsynced, spoil):
    PLAN.write(tmp_path)
    shard = tmp_path / "train/teachers/big/logits/c/1/1/0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 4
    shard.write_bytes({"truncate": data[:-1], "flip": data, "remove": b"", "empty": b""}[spoil])
    if spoil == "remove":
        shard.unlink()
    reader = open_store(tmp_path).logits("big")
    reader.read(1, 0)
    with pytest.raises(DamageError) as error:
        reader.read(1, 1)
    said = "block 1 of view 1 of teacher 'big' in split 'train' (rows 8..12) is damaged"
    assert str(error.value).startswith(f"{tmp_path}: {said}: its logits shard")


def damages(data, rng):
    """Some flips and cuts of a file's bytes."""
    for _ in range(3):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        yield bytes(flipped)
    yield data[: rng.randrange(len(data))]


def test_damage_anywhere_is_found_or_harmless(tmp_path, unsynced):
    """Every file of a store with single and folded commits, features and a classifier."""
    RICH.write(tmp_path, leave_out={(1, 1)})
    values, rng = contents(tmp_path), random.Random(0)  # noqa: S311 - places to damage
    files = [file for file in sorted(tmp_path.rglob("*")) if file.is_file()]
    assert len(files) > 25
    found, usual = 0, findings(tmp_path)
    for file in files:
        data = file.read_bytes()
        for damaged in damages(data, rng):
            file.write_bytes(damaged)
            try:
                assert contents(tmp_path) == values, file
            except DamageError:
                found += 1
                assert findings(tmp_path) != usual
        file.write_bytes(data)
    assert found > 3 * len(files)
    assert contents(tmp_path) == values


def findings(path):
    """What opening and verifying find."""
    try:
        return verify(open_store(path), decode=True).findings
    except DamageError as error:
        return (error,)


@pytest.mark.parametrize("spoil", ["cut", "other", "empty"])
@pytest.mark.parametrize("kind", ["uniform", "lossless"])
def test_a_foreign_uncommitted_shard_is_not_taken_for_ours(tmp_path, unsynced, kind, spoil):
    plan, shard = replace(PLAN, encoding=EncodingOptions(kind=kind)), tmp_path / "store" / SHARD
    plan.writer(tmp_path / "store")
    replace(plan, seed=9).write(tmp_path / "other")
    data = (tmp_path / "other" / SHARD).read_bytes()
    shard.parent.mkdir(parents=True)
    shard.write_bytes({"cut": data[:-5], "other": data, "empty": b""}[spoil])
    with pytest.raises(CheckError, match=f"is in the way; delete {SHARD} and run again"):
        plan.write(tmp_path / "store")
    shard.unlink()
    plan.write(tmp_path / "store")
    assert open_store(tmp_path / "store").logits("big").has(0, 0)


def test_equal_values_in_other_bytes_are_adopted(tmp_path, unsynced, monkeypatch):
    """Another version of the compressor wrote the shard and died before its commit."""
    writer = PLAN.writer(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(writer._commits, "add", lambda commit: None)
        patch.setattr(
            "logitcache.store.schema._serializer", lambda: PCodec(delta_spec="try_consecutive", delta_encoding_order=2)
        )
        PLAN.write_block(writer, 0, 0)
    other = (tmp_path / SHARD).read_bytes()
    PLAN.write(tmp_path)
    PLAN.write(tmp_path / "ours")
    assert (tmp_path / SHARD).read_bytes() == other != (tmp_path / "ours" / SHARD).read_bytes()
    reader = open_store(tmp_path).logits("big")
    assert np.abs(reader.read(0, 0) - PLAN.logits[0, :8]).max() <= reader.encoding.step / 2
