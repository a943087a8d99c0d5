"""A copy is the store itself, a part of it that is whole in itself, or the same logits encoded anew."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch
from builders import KilledError, Plan, dies_after, tree
from textbook import realistic, worst_kl

from logitcache.errors import DamageError, InputError, MismatchError, MissingError
from logitcache.soft_targets import open_store as open_cached
from logitcache.store import EncodingOptions, open_store, verify
from logitcache.store.encodings.topk import to_logits, top_k
from logitcache.transfer import CopyOptions, CopyOutcome, copy_store


class Real(Plan):
    """A plan whose logits have a spectrum like a network's."""

    @property
    def logits(self):
        return np.stack([realistic(self.samples, self.classes, 10 * self.seed + view) for view in range(self.views)])


SPECTRAL = EncodingOptions(kind="spectral", head=2, max_kl=0.01)
NOISE = {"kind": "symmetric", "rate": 1 / 3, "seed": 0, "labels": "1" * 16}
PLAN = Real(noise=NOISE, samples=60, classes=10, block_rows=16, features=3, encoding=SPECTRAL)
SMALL = replace(PLAN, teacher="small", seed=3, features=0, encoding=EncodingOptions(kind="uniform"), weights="x" * 16)
TEST = replace(PLAN, noise=None, split="test", fingerprint="t" * 16, views=1, seed=5)
ALL = CopyOptions()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A store with two teachers in train and one in test."""
    path = tmp_path_factory.mktemp("source") / "store"
    for plan in (PLAN, SMALL, TEST):
        plan.write(path)
    return path


@pytest.fixture(autouse=True)
def _fast(unsynced):
    """Nothing here is about the disk."""


def copy(source, dest, options=ALL, progress=None):
    return copy_store(open_store(source), dest, options, progress)


def rows(path, teacher="big", split="train", view=0):
    reader = open_store(path).logits(teacher, split)
    return np.concatenate([reader.read(view, block) for block in range(reader.blocks)])


def is_sound(path):
    """Nothing is wrong with it, and soft targets are read from it."""
    store = open_store(path)
    assert verify(store, decode=True).findings == ()
    for split in store.splits:
        for name in store.teachers(split):
            soft = open_cached(path).soft_targets([name], split)
            assert soft.gather(torch.tensor([59, 0]), 0).shape == (2, 10)
    return True


def test_a_whole_copy_is_the_same_byte_for_byte(source, tmp_path):
    counted = []
    assert copy(source, tmp_path / "copy", progress=counted.append) == CopyOutcome(8 + 8 + 4, 0, 0)
    assert tree(tmp_path / "copy") == tree(source)
    assert sum(counted) == 5 * 60


PARTS = {
    "teacher": (CopyOptions(teachers=("small",)), {("train", "small", 2)}),
    "teachers": (CopyOptions(("small", "big"), ("train",)), {("train", "small", 2), ("train", "big", 2)}),
    "split": (CopyOptions(splits=("test",)), {("test", "big", 1)}),
    "views": (CopyOptions(views=1), {("train", "small", 1), ("train", "big", 1), ("test", "big", 1)}),
    "all three": (CopyOptions(("big",), ("train",), 1), {("train", "big", 1)}),
    "more views than there are": (CopyOptions(("big",), ("train",), 9), {("train", "big", 2)}),
}  # fmt: skip


@pytest.mark.parametrize(("options", "content"), PARTS.values(), ids=list(PARTS))
def test_a_part_is_a_store_of_its_own(source, tmp_path, options, content):
    copy(source, tmp_path / "copy", options)
    store = open_store(tmp_path / "copy")
    found = {(s, t, store.logits(t, s).views) for s in store.splits for t in store.teachers(s)}
    assert found == content
    assert is_sound(tmp_path / "copy")
    for split, teacher, views in found:
        for view in range(views):
            assert (rows(tmp_path / "copy", teacher, split, view) == rows(source, teacher, split, view)).all()
    for split in store.splits:
        assert store.split(split) == open_store(source).split(split)
    ours = {name: digest for name, digest in tree(tmp_path / "copy").items() if "/c/" in name}
    assert ("train/noisy_labels/c/0" in ours) == ("train" in store.splits)
    assert ours.items() <= tree(source).items(), "shards are the same bytes"


def test_more_of_a_store_is_added_to_a_part(source, tmp_path):
    copy(source, tmp_path / "copy", CopyOptions(teachers=("small",)))
    assert copy(source, tmp_path / "copy") == CopyOutcome(8 + 4, 8, 0)
    assert tree(tmp_path / "copy") == tree(source)


ANEW = {
    "auto": EncodingOptions(max_kl=0.03),
    "uniform": EncodingOptions(kind="uniform", max_kl=0.03),
    "spectral": EncodingOptions(kind="spectral", max_kl=0.03, head=3),
    "lossless": EncodingOptions(kind="lossless"),
    "portable": EncodingOptions(kind="spectral", max_kl=0.03, codec="portable"),
}


@pytest.mark.parametrize("options", ANEW.values(), ids=list(ANEW))
def test_encoding_anew_keeps_its_own_promise_and_says_from_what(source, tmp_path, options):
    outcome = copy(source, tmp_path / "copy", CopyOptions(encoding=options))
    assert outcome.written == 20
    assert is_sound(tmp_path / "copy")
    for split, teacher, view in (("train", "big", 0), ("train", "big", 1), ("train", "small", 1), ("test", "big", 0)):
        before, after = (rows(path, teacher, split, view) for path in (source, tmp_path / "copy"))
        encoding = open_store(tmp_path / "copy").logits(teacher, split).encoding
        assert worst_kl(before, after, encoding.tau_min, 21).max() <= encoding.bound(encoding.tau_min) + 1e-6
    record = open_store(tmp_path / "copy").logits("big").record
    assert "; encoded anew from spectral int16, step" in record.provenance
    assert record.weights == PLAN.weights


@pytest.mark.parametrize("options", [ANEW["uniform"], ANEW["spectral"]], ids=["uniform", "spectral"])
def test_features_and_classifier_go_along_when_encoded_anew(source, tmp_path, options):
    copy(source, tmp_path / "copy", CopyOptions(encoding=options))
    ours, theirs = open_store(tmp_path / "copy"), open_store(source)
    for view in (0, 1):
        for block in range(4):
            pair = (store.logits("big").features(view, block) for store in (ours, theirs))
            assert np.array_equal(*pair)
    assert {n: a.tolist() for n, a in ours.classifier("big").items()} == {
        name: array.tolist() for name, array in theirs.classifier("big").items()
    }


def test_topk_is_made_but_not_encoded_anew(source, tmp_path):
    copy(source, tmp_path / "few", CopyOptions(("big",), encoding=EncodingOptions(kind="topk", entries=4)))
    expected = to_logits(top_k(rows(source), 4), 10)
    assert np.abs(rows(tmp_path / "few") - expected).max() < 0.02
    copy(tmp_path / "few", tmp_path / "same")
    assert tree(tmp_path / "same") == tree(tmp_path / "few")
    for kind in ("topk", "auto", "uniform", "spectral"):
        anew = CopyOptions(encoding=EncodingOptions(kind=kind))
        with pytest.raises(InputError, match="'big' has the largest entries of each row only"):
            copy(tmp_path / "few", tmp_path / "none", anew)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("options", "step"), [(ALL, 1), (CopyOptions(encoding=ANEW["spectral"]), 5)], ids=["bytes", "anew"]
)
def test_a_copy_that_is_killed_anywhere_goes_on_to_the_same_bytes(tmp_path, options, step):
    source, path = tmp_path / "source", tmp_path / "copy"
    replace(PLAN, samples=30).write(source)
    copy(source, tmp_path / "whole", options)
    expected = tree(tmp_path / "whole")
    for changes in count(0, step):
        with dies_after(changes):
            try:
                copy(source, path, options)
            except KilledError:
                finished = False
            else:
                finished = True
        outcome = copy(source, path, options)
        assert outcome.written + outcome.found == 4
        assert tree(path) == expected, changes
        if finished:
            break
        shutil.rmtree(path)
    assert changes > 40
    assert copy(source, path, options) == CopyOutcome(0, 4, 0)
    assert tree(path) == expected


def test_the_source_itself_is_refused(source, tmp_path):
    before = tree(source)
    (tmp_path / "link").symlink_to(source)
    for place in (source, source / ".." / source.name, tmp_path / "link"):
        with pytest.raises(InputError, match="is the source itself"):
            copy(source, place)
    assert tree(source) == before


@pytest.mark.parametrize(
    "change",
    [{"fingerprint": "g" * 16}, {"policy": (("kind", "none"),)}, {"weights": "v" * 16}, {"classes": 9}],
    ids=["samples", "views", "weights", "classes"],
)  # fmt: skip
def test_another_store_is_refused_and_left_alone(source, tmp_path, change):
    replace(PLAN, **change).write(tmp_path / "copy")
    before = tree(tmp_path / "copy")
    with pytest.raises(MismatchError):
        copy(source, tmp_path / "copy")
    assert tree(tmp_path / "copy") == before


def test_another_encoding_at_the_destination_is_refused(source, tmp_path):
    copy(source, tmp_path / "copy", CopyOptions(encoding=ANEW["uniform"]))
    before = tree(tmp_path / "copy")
    for options in (ALL, CopyOptions(encoding=ANEW["lossless"])):
        with pytest.raises(MismatchError, match=r"the encoding|provenance"):
            copy(source, tmp_path / "copy", options)
    assert tree(tmp_path / "copy") == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (CopyOptions(teachers=("bih",)), "has no teacher bih in test, train; it has big, small"),
        (CopyOptions(teachers=("big", "bih")), "has no teacher bih"),
        (CopyOptions(teachers=("small",), splits=("test",)), "has no teacher small in test; it has big"),
        (CopyOptions(splits=("valid",)), "has no split 'valid'; it has test, train"),
    ],
)
def test_what_is_not_there_is_refused_and_nothing_is_written(source, tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        copy(source, tmp_path / "copy", options)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("encoding", [None, ANEW["uniform"], ANEW["spectral"]], ids=["bytes", "uniform", "spectral"])
def test_missing_blocks_are_counted_and_come_when_they_are_there(tmp_path, encoding):
    source, options = tmp_path / "source", CopyOptions(encoding=encoding)
    PLAN.write(source, leave_out={(0, 1), (1, 0), (1, 3)})
    assert copy(source, tmp_path / "copy", options) == CopyOutcome(5, 0, 3)
    assert list(open_store(tmp_path / "copy").logits("big").commits.pending()) == [(0, 1), (1, 0), (1, 3)]
    PLAN.write(source)
    assert copy(source, tmp_path / "copy", options) == CopyOutcome(3, 5, 0)
    assert is_sound(tmp_path / "copy")


def test_without_any_row_no_encoding_can_be_chosen(tmp_path):
    PLAN.write(tmp_path / "source", leave_out={(view, block) for view in (0, 1) for block in range(4)})
    with pytest.raises(MissingError, match="'big' has no committed rows of the clean view"):
        copy(tmp_path / "source", tmp_path / "copy", CopyOptions(encoding=ANEW["auto"]))
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("encoding", [None, ANEW["uniform"]], ids=["bytes", "anew"])
def test_all_damaged_blocks_are_named_and_the_others_are_copied(source, tmp_path, encoding):
    mine = shutil.copytree(source, tmp_path / "mine")
    for name in ("coefficients/c/1/0/2", "features/c/0/1/0", "level/c/1/0"):
        (mine / "train/teachers/big" / name).write_bytes(b"x")
    (mine / "train/teachers/small/logits/commits/1.json").write_bytes(b"{}")
    with pytest.raises(DamageError) as error:
        copy(mine, tmp_path / "copy", CopyOptions(encoding=encoding))
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    for part in ("block 2 of view 1", "block 1 of view 0", "block 0 of view 1", "small/logits/commits/1.json"):
        assert sum(part in line for line in lines) == 1
    store = open_store(tmp_path / "copy")
    assert list(store.logits("big").commits.pending()) == [(0, 1), (1, 0), (1, 2)]
    assert list(store.logits("small").commits.pending()) == [(1, block) for block in range(4)]
    assert list(store.logits("big", "test").commits.pending()) == []
    copy(source, tmp_path / "copy", CopyOptions(encoding=encoding))
    copy(source, tmp_path / "fresh", CopyOptions(encoding=encoding))
    assert tree(tmp_path / "copy") == tree(tmp_path / "fresh"), "a sound source fills the holes"


def test_a_superseded_block_is_copied_as_it_is_now(source, tmp_path):
    mine = shutil.copytree(source, tmp_path / "mine")
    writer = PLAN.writer(mine)
    moved = PLAN.logits[1, 16:32] + np.float32(0.3) * np.arange(10, dtype=np.float32)
    assert not writer.rewrite(1, 1, moved, PLAN.penultimate[1, 16:32])
    assert open_store(mine).logits("big").commit(1, 1).repair == 1
    copy(mine, tmp_path / "copy")
    assert is_sound(tmp_path / "copy")
    assert open_store(tmp_path / "copy").logits("big").commit(1, 1).repair == 0
    assert (rows(tmp_path / "copy", view=1) == rows(mine, view=1)).all()
    assert not (rows(tmp_path / "copy", view=1) == rows(source, view=1)).all()
