"""Repair puts back what is damaged, byte for byte, and touches nothing else; what it cannot make it refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from builders import DyingBackend, KilledError, make_split, make_teacher, tree

from logitcache.cache_job import CacheJob, CacheOptions
from logitcache.caching import run_cache
from logitcache.errors import CheckError, MismatchError
from logitcache.repairing import Repaired, damaged_teachers, repair_splits, repair_teacher
from logitcache.store import EncodingOptions, TeacherWriter, open_store, store_info
from logitcache.store.verify import verify_url
from logitcache.teacher_options import InferenceOptions
from logitcache.views import ViewOptions

CPU = torch.device("cpu")
ROWS = 28
CLEAN = make_split(ROWS, 10)
SPLITS = {"train": CLEAN.with_noisy_labels((CLEAN.labels + 1) % 10), "test": make_split(12, 10, seed=1, name="test")}
VIEWS = ViewOptions(kind="crop_flip", count=1, padding=2, seed=1)
SPECTRAL = EncodingOptions(kind="spectral", head=2, max_kl=1e-4)
OPTIONS = CacheOptions(encoding=SPECTRAL, block=16, inference=InferenceOptions(batch=5), workers=0, features=True)
TEACHER = make_teacher(SPLITS["train"])
HERE = "train/teachers/big"


def job(path, *, data=SPLITS, views=VIEWS, **options) -> CacheJob:
    return CacheJob(path, data, views, OPTIONS.model_copy(update=options))


def small(path) -> CacheJob:
    """One split without features, for what is repaired many times."""
    few = {"train": SPLITS["train"].take(torch.arange(22))}
    options = EncodingOptions(kind="uniform", max_kl=1e-4)
    return job(path, data=few, splits=("train",), features=False, block=8, encoding=options)


def repair(path, teacher=TEACHER, make=job, **changes) -> Repaired:
    """What the command does."""
    mine = make(path, **changes)
    findings = verify_url(path, decode=True).findings
    restored = 0
    if any(finding.kind == "metadata" for finding in findings):
        restored = repair_splits(mine)
        findings = verify_url(path, decode=True).findings
    if teacher.name not in {name for _, name in damaged_teachers(findings)}:
        return Repaired(restored, 0, 0)
    done = repair_teacher(mine, teacher, CPU, findings)
    return replace(done, objects=restored + done.objects)


@pytest.fixture(autouse=True)
def _fast(unsynced):
    """Nothing here is about the disk."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished store; tests leave it as it is."""
    path = tmp_path_factory.mktemp("whole") / "store"
    run_cache(job(path), TEACHER, CPU)
    return path


@pytest.fixture
def path(whole, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(whole, tmp_path / "store")


def flip(file: Path, place: float = 0.5) -> None:
    """Change one bit."""
    data = bytearray(file.read_bytes())
    data[int(place * len(data))] ^= 4
    file.write_bytes(data)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def remove(file: Path) -> None:
    file.unlink()


SHARDS = [
    "coefficients/c/1/0/1",
    "level/c/0/1",
    "head_classes/c/0/0/0",
    "head_values/c/1/0/1",
    "features/c/0/1/0",
]
OBJECTS = [
    "basis/c/0/0",
    "basis/zarr.json",
    "mean/c/0",
    "spread/c/0",
    "classifier_weight/c/0/0",
    "classifier_bias/zarr.json",
    "coefficients/zarr.json",
    "level/zarr.json",
    "coefficients/digests.json",
    "zarr.json",
]
ROOTS = ["zarr.json", "train/zarr.json", "test/zarr.json", "train/teachers/zarr.json", "train/labels/c/0"]
ROOTS += ["train/noisy_labels/c/0", "train/noisy_labels/zarr.json"]
ROOTS += ["train/labels/zarr.json", "test/index/c/0", "train/labels/digests.json"]
HARMS = [flip, cut, empty, remove]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("name", SHARDS)
def test_a_damaged_shard_comes_back_byte_for_byte(path, whole, name, harm):
    harm(path / HERE / name)
    assert repair(path) == Repaired(0, 1, 0)
    assert tree(path) == tree(whole)


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_damaged_commits_come_back_byte_for_byte(path, whole, harm):
    harm(path / HERE / "coefficients/commits/1.json")
    done = repair(path)
    assert (done.objects, done.superseded) == (0, 0)
    assert tree(path) == tree(whole)


@pytest.mark.parametrize("harm", [flip, empty], ids=lambda harm: harm.__name__)
def test_a_damaged_commit_of_an_unfinished_view_comes_back(tmp_path, whole, harm, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("logitcache.store.write.TeacherWriter.finish", lambda self, **_: None)
        run_cache(job(tmp_path / "store"), TEACHER, CPU)
    harm(tmp_path / "store" / HERE / "coefficients/commits/0/1.json")
    assert repair(tmp_path / "store") == Repaired(0, 1, 0)
    assert tree(tmp_path / "store") == tree(whole), "folded too"


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("name", OBJECTS)
def test_damaged_metadata_of_a_teacher_come_back_byte_for_byte(path, whole, name, harm):
    harm(path / HERE / name)
    assert repair(path) == Repaired(1, 0, 0)
    assert tree(path) == tree(whole)


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("name", ROOTS)
def test_damaged_metadata_of_splits_come_back_byte_for_byte(path, whole, name, harm):
    harm(path / name)
    assert repair(path) == Repaired(1, 0, 0)
    assert tree(path) == tree(whole)


def test_all_at_once_come_back_byte_for_byte(path, whole):
    for name in (*SHARDS, *OBJECTS):
        cut(path / HERE / name)
    for name in ROOTS:
        cut(path / name)
    for view in (0, 1):
        cut(path / HERE / f"coefficients/commits/{view}.json")
    remove(path / "test/teachers/big/level/c/0/0")
    done = repair(path)
    assert (done.objects, done.superseded) == (len(OBJECTS) + len(ROOTS), 0)
    assert tree(path) == tree(whole)


def test_a_damaged_shard_behind_a_damaged_commit_comes_back(path, whole):
    flip(path / HERE / "coefficients/commits/0.json")
    flip(path / HERE / "coefficients/c/0/0/1")
    repair(path)
    assert tree(path) == tree(whole)


def test_blocks_that_were_never_committed_are_computed(tmp_path, whole, monkeypatch):
    calls, write = count(), TeacherWriter.write

    def dies(self, *block):
        if next(calls) >= 2:
            raise KilledError
        write(self, *block)

    with monkeypatch.context() as patch:
        patch.setattr(TeacherWriter, "write", dies)
        with pytest.raises(KilledError):
            run_cache(job(tmp_path / "store"), TEACHER, CPU)
    assert repair(tmp_path / "store") == Repaired(0, 3, 0)
    assert tree(tmp_path / "store") == tree(whole)


def test_intact_files_are_not_touched(path):
    hurt = {f"{HERE}/level/c/0/1", f"{HERE}/mean/c/0", "train/labels/c/0"}
    for name in hurt:
        flip(path / name)
    before = {str(file.relative_to(path)): file.stat() for file in path.rglob("*") if file.is_file()}
    repair(path)
    after = {str(file.relative_to(path)): file.stat() for file in path.rglob("*") if file.is_file()}
    same = {
        name
        for name in before
        if (before[name].st_ino, before[name].st_mtime_ns) == (after[name].st_ino, after[name].st_mtime_ns)
    }
    other_arrays = {f"{HERE}/{array}/c/{rest}" for array, rest in (
        ("coefficients", "0/0/1"), ("head_classes", "0/0/1"), ("head_values", "0/0/1"), ("features", "0/1/0")
    )}  # fmt: skip
    assert set(before) - same <= hurt | other_arrays, "the arrays of a damaged block are written together"


def test_an_intact_store_is_left_as_it_is(path):
    before = tree(path)
    assert repair(path) == Repaired(0, 0, 0)
    assert tree(path) == before


OTHERS = {
    "weights": (make_teacher(SPLITS["train"], seed=1), {}),
    "samples": (TEACHER, {"data": {**SPLITS, "train": make_split(ROWS, 10, seed=5)}}),
    "noise": (TEACHER, {"data": {**SPLITS, "train": SPLITS["train"].with_noisy_labels(SPLITS["train"].labels)}}),
    "no noise": (TEACHER, {"data": {**SPLITS, "train": CLEAN}}),
    "views": (TEACHER, {"views": VIEWS.model_copy(update={"padding": 1})}),
    "bound": (TEACHER, {"encoding": SPECTRAL.model_copy(update={"max_kl": 2e-4})}),
}
DAMAGES = ["coefficients/c/1/0/1", "coefficients/commits/1.json", "basis/c/0/0", "zarr.json"]


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize(("teacher", "changes"), OTHERS.values(), ids=list(OTHERS))
def test_another_recipe_is_refused_and_changes_nothing(path, teacher, changes, name):
    flip(path / HERE / name)
    before = tree(path)
    with pytest.raises((MismatchError, CheckError)):
        repair(path, teacher, **changes)
    assert tree(path) == before


@pytest.mark.parametrize("digests", ["train/labels/digests.json", f"{HERE}/coefficients/digests.json"])
@pytest.mark.parametrize(("teacher", "changes"), OTHERS.values(), ids=list(OTHERS))
@pytest.mark.parametrize("harm", [flip, remove], ids=lambda harm: harm.__name__)
def test_another_recipe_is_refused_where_the_digests_are_gone(path, teacher, changes, digests, harm):
    harm(path / digests)
    before = tree(path)
    split_only = digests.startswith("train/labels") and set(changes) <= {"encoding"}
    if split_only:  # what splits hold does not depend on the teacher
        assert repair(path, teacher, **changes) == Repaired(1, 0, 0)
        return
    with pytest.raises((MismatchError, CheckError)):
        repair(path, teacher, **changes)
    assert tree(path) == before


@pytest.fixture
def noisy():
    """The same teacher on other software: its logits differ by a little."""

    def other_last_bits(logits):
        return logits + 1e-3 * torch.sin(1e4 * logits)

    def run_with_features(inputs):
        logits, features = TEACHER.run_with_features(inputs)
        return other_last_bits(logits), features

    return replace(
        TEACHER, run=lambda inputs: other_last_bits(TEACHER.run(inputs)), run_with_features=run_with_features
    )


def test_elsewhere_a_block_is_superseded_and_says_so(path, whole, noisy):
    intact = open_store(whole).logits("big")
    flip(path / HERE / "coefficients/c/1/0/1")
    assert repair(path, noisy) == Repaired(0, 0, 1)
    assert verify_url(path, decode=True).findings == ()
    reader = open_store(path).logits("big")
    assert reader.commit(1, 1).repair == 1
    assert 0 < abs(reader.read(1, 1) - intact.read(1, 1)).max() < 1
    assert (reader.read(1, 0) == intact.read(1, 0)).all()
    [train] = [split for split in store_info(open_store(path))["splits"] if split["split"] == "train"]
    assert train["teachers"][0]["repaired"] == 1
    before = tree(path)
    assert repair(path, noisy) == Repaired(0, 0, 0)
    assert tree(path) == before


def test_a_superseded_block_that_is_damaged_comes_back_as_it_was(path, noisy):
    name = path / HERE / "coefficients/c/1/0/1"
    flip(name)
    repair(path, noisy)
    once = tree(path)
    flip(name)
    assert repair(path, noisy) == Repaired(0, 1, 0)
    assert tree(path) == once
    flip(name)
    assert repair(path) == Repaired(0, 0, 1), "back where the store was made"
    assert open_store(path).logits("big").commit(1, 1).repair == 2


@pytest.mark.parametrize("harm", [flip, remove], ids=lambda harm: harm.__name__)
def test_a_superseding_commit_that_is_damaged_leaves_a_sound_store(path, noisy, harm):
    flip(path / HERE / "coefficients/c/1/0/1")
    repair(path, noisy)
    [commit] = (path / HERE / "coefficients/commits/repairs/1").iterdir()
    harm(commit)
    repair(path, noisy)
    assert verify_url(path, decode=True).findings == ()


class _Dying(DyingBackend):
    """Dies after a number of changes, replacements among them."""

    def replace(self, key: str, data: bytes) -> None:
        with self._lock:
            self._spend()
            self._inner.replace(key, data)


def killed(path, changes, teacher, make) -> bool:
    """Whether a repair that dies after a number of changes came to its end before."""
    left = _Dying(path, changes)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("repairing", "store.write"):
            patch.setattr(f"logitcache.{module}.open_backend", lambda url: left)
        try:
            repair(path, teacher, make)
        except KilledError:
            return False
    return True


def test_a_repair_that_is_killed_anywhere_goes_on(tmp_path):
    path = tmp_path / "damaged"
    run_cache(small(path), TEACHER, CPU)
    expected = tree(path)
    for name in ("logits/c/1/1/0", "logits/commits/0.json", "zarr.json"):
        flip(path / HERE / name)
    remove(path / "train/labels/digests.json")
    for changes in count():
        mine = shutil.copytree(path, tmp_path / str(changes))
        finished = killed(mine, changes, TEACHER, small)
        repair(mine, make=small)
        assert not finished or tree(mine) == expected
        run_cache(small(mine), TEACHER, CPU)  # folds commits, where nothing but that was left
        assert tree(mine) == expected, changes
        if finished:
            break
        shutil.rmtree(mine)
    assert changes > 10


def test_an_elsewhere_repair_that_is_killed_anywhere_goes_on(noisy, tmp_path):
    path = tmp_path / "damaged"
    run_cache(small(path), TEACHER, CPU)
    for name in ("logits/c/1/1/0", "logits/c/0/2/0"):
        flip(path / HERE / name)
    done = shutil.copytree(path, tmp_path / "done")
    assert repair(done, noisy, small).superseded == 2
    for changes in count():
        mine = shutil.copytree(path, tmp_path / str(changes))
        finished = killed(mine, changes, noisy, small)
        repair(mine, noisy, small)
        assert tree(mine) == tree(done), changes
        if finished:
            break
        shutil.rmtree(mine)
    assert changes >= 4
