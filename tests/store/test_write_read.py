"""What was written is what is read, whoever died on the way, and nothing else is ever taken for it."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier

import numpy as np
import pytest
from builders import KINDS, KilledError, Plan, dies_after, tree
from textbook import worst_kl as true_worst

from logitcache.errors import DamageError, InputError, MissingError
from logitcache.store import (
    EncodingOptions,
    SplitContent,
    SplitRecord,
    StoreRecord,
    TeacherContent,
    create_store,
    open_store,
    verify,
)
from logitcache.store.encodings import make_codec
from logitcache.store.encodings.topk import to_logits, top_k

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


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_every_kind_are_what_the_codec_makes_of_them(tmp_path, unsynced, kind):
    """Also in the view that the encoding was not chosen from, and in the last block, which is short."""
    plan = Plan(encoding=KINDS[kind], features=3)
    plan.write(tmp_path)
    reader = open_store(tmp_path).logits("big")
    codec = make_codec(plan.choice.encoding, plan.classes, plan.choice.wholes)
    assert reader.encoding == plan.choice.encoding
    for view in range(2):
        for block in range(3):
            rows = reader.rows(block)
            expected = codec.encode(plan.logits[view, rows.start : rows.stop])
            found = reader.values(view, block)
            assert {n: a.tolist() for n, a in found.items()} == {n: a.tolist() for n, a in expected.values.items()}
            assert {n: a.dtype for n, a in found.items()} == {n: a.dtype for n, a in expected.values.items()}
            decoded = reader.read(view, block)
            assert (decoded.dtype, decoded.shape) == (np.float32, (len(rows), 4))
            assert (decoded == codec.decode(expected.values)).all()
            assert reader.commit(view, block).fidelity.kl_largest == expected.fidelity.kl_largest
            assert reader.features(view, block).shape == (len(rows), 3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_of_a_store_keeps_its_promise(tmp_path, unsynced, kind):
    plan = Plan(encoding=KINDS[kind])
    plan.write(tmp_path)
    reader = open_store(tmp_path).logits("big")
    promise = reader.encoding.bound(1.0)
    if promise is None:
        assert kind in {"step", "topk"}
        return
    for view in range(2):
        decoded = np.concatenate([reader.read(view, block) for block in range(3)])
        assert true_worst(plan.logits[view], decoded, 1.0).max() <= promise + 1e-12


def test_sparse_rows_are_written_without_their_logits(tmp_path, unsynced):
    plan = Plan(encoding=KINDS["topk"])
    writer = plan.writer(tmp_path)
    writer.write(0, 0, top_k(plan.logits[0, :8], 2))
    reader = open_store(tmp_path).logits("big")
    assert reader.commit(0, 0).fidelity is None
    np.testing.assert_allclose(reader.read(0, 0), to_logits(top_k(plan.logits[0, :8], 2), 4), atol=2e-2)
    with pytest.raises(InputError, match="entries of 7 rows came for a block of 8"):
        writer.write(0, 1, top_k(plan.logits[0, :7], 2))
    with pytest.raises(InputError, match="the encoding must be topk, not spectral"):
        Plan(encoding=KINDS["spectral"]).writer(tmp_path / "dense").write(0, 0, top_k(plan.logits[0, :8], 2))


def test_a_transform_that_another_writer_stored_counts(tmp_path, unsynced):
    """The same encoding by record, but calibrated on another machine: what is there decides, to the last bit."""
    plan = Plan(encoding=KINDS["spectral"])
    plan.write(tmp_path / "ours")
    writer = plan.writer(tmp_path / "store")
    turned = {**plan.choice.wholes, "mean": plan.choice.wholes["mean"] + np.float32(1e-6)}
    content = TeacherContent(plan.split, plan.record, turned)
    split = SplitContent(SplitRecord(plan.split, plan.samples, plan.fingerprint), plan.labels, plan.index)
    record = StoreRecord("numbers", tuple("abcd"), dict(plan.policy))
    [writer] = create_store(tmp_path / "store", record, [split], [content])
    for view, block in writer.pending():
        plan.write_block(writer, view, block)
    writer.finish()
    assert tree(tmp_path / "store") == tree(tmp_path / "ours")


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
    jobs = list(first.pending())
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
    said = rf"feature of sample {RICH.sample(5)} is 7e\+04, beyond 6.55e\+04; use a larger"
    with pytest.raises(InputError, match=said):
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
