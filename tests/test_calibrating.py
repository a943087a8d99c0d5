"""An encoding is chosen from the clean view before anything is stored, and the pass for it is not repeated."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch
from builders import KilledError, dies_after, make_split, make_teacher, tree

from logitcache import calibrating
from logitcache.cache_job import CacheJob, CacheOptions, cached_blocks
from logitcache.caching import run_cache
from logitcache.errors import InputError, MismatchError
from logitcache.soft_targets import open_store
from logitcache.store import EncodingOptions, TeacherWriter, store_info, verify
from logitcache.store.encodings import kl_bound
from logitcache.teacher_options import InferenceOptions, TeacherOptions
from logitcache.views import ViewOptions

CPU = torch.device("cpu")
SPLITS = {"train": make_split(22), "test": make_split(9, seed=1, name="test")}
VIEWS = ViewOptions(kind="crop_flip", count=2, padding=2, seed=1)
TEACHER = make_teacher(SPLITS["train"])
SPECTRAL = EncodingOptions(kind="spectral", max_kl=0.1)
OPTIONS = CacheOptions(block=8, inference=InferenceOptions(batch=3), workers=0, encoding=SPECTRAL)
PASSES, BLOCKS = 3 * 22 + 9, 3 * 3 + 2
ASKED = {
    "auto": EncodingOptions(),
    "spectral": SPECTRAL,
    "head": EncodingOptions(kind="spectral", max_kl=0.1, head=2),
    "bytes": EncodingOptions(bytes_per_row=60),
}


@pytest.fixture(autouse=True)
def _fast(unsynced):
    """Nothing here is about the disk."""


class Counted:
    """A teacher that counts the rows that it is given."""

    def __init__(self, teacher=TEACHER):
        self.rows = 0
        with_features = self._counted(teacher.run_with_features)
        self.teacher = replace(teacher, run=self._counted(teacher.run), run_with_features=with_features)

    def _counted(self, run):
        def counted(inputs):
            self.rows += len(inputs)
            return run(inputs)

        return counted


def job(path, **options):
    return CacheJob(path, SPLITS, VIEWS, OPTIONS.model_copy(update=options))


def cache(path, teacher=TEACHER, say=None, **changes):
    return run_cache(job(path, **changes), teacher, CPU, say=say)


def stored(path, view, split="train"):
    reader = open_store(path).logits("big", split)
    return np.concatenate([reader.read(view, block) for block in range(reader.blocks)])


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("features", [False, True])
def test_every_row_goes_through_the_teacher_once(tmp_path, name, features):
    counted = Counted()
    outcome = cache(tmp_path, counted.teacher, encoding=ASKED[name], features=features)
    assert (outcome.written, outcome.found, outcome.forward_passes) == (BLOCKS, 0, PASSES)
    assert counted.rows == PASSES
    assert verify(open_store(tmp_path), decode=True).findings == ()


@pytest.mark.parametrize("name", ASKED)
def test_stored_logits_are_the_teachers_own_within_the_promise(tmp_path, name):
    cache(tmp_path / "exact", encoding=EncodingOptions(kind="lossless"))
    cache(tmp_path / "store", encoding=ASKED[name])
    for split, views in (("train", 3), ("test", 1)):
        promise = open_store(tmp_path / "store").logits("big", split).encoding.bound(1.0)
        for view in range(views):
            error = torch.from_numpy(stored(tmp_path / "store", view, split))
            p = torch.from_numpy(stored(tmp_path / "exact", view, split)).double()
            for tau in (1.0, 1.7, 3.0, 20.0):
                q = torch.log_softmax(error.double() / tau, 1)
                kl = torch.nn.functional.kl_div(q, torch.log_softmax(p / tau, 1), log_target=True, reduction="none")
                assert kl.sum(1).max() <= promise
        assert promise <= {"spectral": 0.1, "head": 0.1, "auto": 1e-3}.get(name, 10)


def test_each_split_has_an_encoding_of_its_own_and_it_is_said(tmp_path):
    lines = []
    cache(tmp_path, say=lines.append)
    store = open_store(tmp_path)
    means = [store.transform("big", split)["mean"] for split in ("train", "test")]
    assert (means[0] != means[1]).any()
    assert [line.partition(":")[0] for line in lines] == ["encoding of train", "encoding of test"]
    assert all("bytes a row on" in line for line in lines)
    quiet = []
    cache(tmp_path / "plain", say=quiet.append, encoding=EncodingOptions(kind="uniform"))
    assert quiet == []


def test_a_second_run_takes_the_choice_from_the_store(tmp_path, monkeypatch):
    cache(tmp_path, features=True)
    before = tree(tmp_path)
    monkeypatch.setattr(calibrating, "choose_encoding", None)
    monkeypatch.setattr(calibrating, "feature_step", None)
    counted = Counted()
    outcome = cache(tmp_path, counted.teacher, features=True)
    assert (outcome.written, outcome.found, outcome.forward_passes) == (0, BLOCKS, 0)
    assert counted.rows == 0
    assert tree(tmp_path) == before


def test_a_resumed_run_does_not_choose_again(tmp_path, monkeypatch):
    """What the sample would say now, on another machine perhaps, does not count."""
    cache(tmp_path / "whole")
    with dies_after(50), pytest.raises(KilledError):
        cache(tmp_path / "store")
    committed, total = cached_blocks(job(tmp_path / "store"), TeacherOptions(name="big", model="cnn-4-8"))
    assert 0 < committed < total == BLOCKS
    monkeypatch.setattr(calibrating, "choose_encoding", None)
    counted = Counted()
    cache(tmp_path / "store", counted.teacher)
    assert counted.rows < PASSES
    assert tree(tmp_path / "store") == tree(tmp_path / "whole")


@pytest.mark.parametrize("name", ["spectral", "head"])
def test_a_run_whose_disk_dies_anywhere_resumes_to_the_same_bytes(tmp_path, name):
    changed = {"encoding": ASKED[name], "features": name == "spectral", "splits": ("train",)}
    cache(tmp_path / "whole", **changed)
    expected = tree(tmp_path / "whole")
    for changes in count(step=13 if name == "spectral" else 17):
        path = tmp_path / str(changes)
        try:
            with dies_after(changes):
                cache(path, **changed)
            break
        except KilledError:
            cache(path, **changed)
        assert tree(path) == expected
    assert changes > 60


def test_a_run_that_dies_at_any_block_resumes_to_the_same_bytes(tmp_path, monkeypatch):
    cache(tmp_path / "whole")
    real = TeacherWriter.write
    for deadly in range(0, BLOCKS, 4):
        calls = count()

        def write(self, *block, calls=calls, deadly=deadly):
            if next(calls) >= deadly:
                raise KilledError
            real(self, *block)

        path = tmp_path / str(deadly)
        with monkeypatch.context() as patch:
            patch.setattr(TeacherWriter, "write", write)
            with pytest.raises(KilledError):
                cache(path)
        outcome = cache(path)
        assert (outcome.found, outcome.written) == (deadly, BLOCKS - deadly)
        assert tree(path) == tree(tmp_path / "whole")


@pytest.mark.parametrize("features", [False, True])
def test_of_a_view_too_large_to_hold_only_the_sample_is_computed_twice(tmp_path, monkeypatch, features):
    cache(tmp_path / "held", features=features)
    monkeypatch.setattr(calibrating, "_HELD_BYTES", 0)
    monkeypatch.setattr(calibrating, "sample_rows", lambda samples, classes: samples - 2)
    counted = Counted()
    outcome = cache(tmp_path / "store", counted.teacher, features=features)
    assert counted.rows == outcome.forward_passes == PASSES + 20 + 7
    assert verify(open_store(tmp_path / "store"), decode=True).findings == ()
    for view in range(3):
        kinds = [stored(tmp_path / name, view) for name in ("held", "store")]
        assert kl_bound(np.ptp(kinds[0] - kinds[1], axis=1).max(), 1.0) < 1


def test_the_whole_view_as_a_sample_gives_the_same_store_held_or_not(tmp_path, monkeypatch):
    """Batches of the sample are cut otherwise than those of blocks, where that changes nothing."""

    def run(inputs):
        return torch.stack([TEACHER.network(one[None])[0] for one in inputs])

    teacher = replace(TEACHER, run=run)
    cache(tmp_path / "held", teacher)
    monkeypatch.setattr(calibrating, "_HELD_BYTES", 0)
    cache(tmp_path / "store", teacher)
    assert tree(tmp_path / "store") == tree(tmp_path / "held")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoding": SPECTRAL.model_copy(update={"max_kl": 0.01})}, "max_kl of teacher 'big' differs: .* 0.1, .*0.01"),
        ({"encoding": EncodingOptions(max_kl=0.1)}, "kind of teacher 'big' differs: the store has spectral, .* auto"),
        ({"encoding": SPECTRAL.model_copy(update={"head": 2})}, "head of teacher 'big' differs: .* None, given was 2"),
        ({"encoding": SPECTRAL.model_copy(update={"tau_min": 2.0})}, "tau_min of teacher 'big' differs: .* None, .* 2"),
        ({"encoding": EncodingOptions(kind="uniform")}, "of teacher 'big' differs"),
        ({"encoding": EncodingOptions(bytes_per_row=60)}, "kind of teacher 'big' differs"),
        ({"feature_step": 0.5}, "step of features of teacher 'big' differs: the store has 0.03125, given was 0.5"),
        ({"features": False}, "features of teacher 'big' differs: the store has True, given was False"),
    ],
)
def test_what_is_asked_otherwise_is_refused_and_named_without_the_teacher(tmp_path, change, said):
    cache(tmp_path, features=True)
    before = tree(tmp_path)
    changed = {"features": True, **change}
    with pytest.raises(MismatchError, match=said):
        cached_blocks(job(tmp_path, **changed), TeacherOptions(name="big", model="cnn-4-8"))
    with pytest.raises(MismatchError):
        cache(tmp_path, **changed)
    assert tree(tmp_path) == before


def test_auto_goes_on_with_a_store_that_is_uniform_as_asked(tmp_path):
    cache(tmp_path, encoding=EncodingOptions(kind="uniform"))
    before = tree(tmp_path)
    outcome = cache(tmp_path, encoding=EncodingOptions())
    assert (outcome.written, outcome.forward_passes) == (0, 0)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("held", [True, False])
def test_logits_that_are_not_finite_are_refused_before_anything_is_written(tmp_path, monkeypatch, held):
    if not held:
        monkeypatch.setattr(calibrating, "_HELD_BYTES", 0)
    seen = count()

    def run(inputs):
        logits = TEACHER.network(inputs)
        logits[[next(seen) == 17 for _ in inputs], 1] = torch.nan
        return logits

    part = {"train": SPLITS["train"].take(torch.arange(1, 22)), "test": SPLITS["test"]}
    with pytest.raises(InputError, match="logits of sample 18 are not finite"):
        run_cache(CacheJob(tmp_path / "store", part, VIEWS, OPTIONS), replace(TEACHER, run=run), CPU)
    assert not (tmp_path / "store").exists()


def test_features_are_within_half_of_the_step_that_is_stated(tmp_path):
    """The very rows of the split are seen: its samples are fewer than the sample may have."""
    cache(tmp_path, features=True, feature_step=0.125, encoding=EncodingOptions(kind="lossless"))
    store = open_store(tmp_path)
    found = store_info(store)["splits"][1]["teachers"][0]["features"]
    reader, classifier = store.logits("big"), store.classifier("big")
    assert found["error_bound"] == reader.record.feature_step / 2
    assert 0 < found["largest_error"] <= found["error_bound"]
    clean = np.concatenate([reader.features(0, block) for block in range(reader.blocks)])
    assert reader.record.feature_step == pytest.approx(0.125 * clean.std(), rel=0.02)
    for view in range(3):
        features = np.concatenate([reader.features(view, block) for block in range(reader.blocks)])
        logits = features @ classifier["weight"].T + classifier["bias"]
        most = np.abs(classifier["weight"]).sum(axis=1).max() * found["error_bound"]
        assert np.abs(logits - stored(tmp_path, view)).max() <= most + 1e-4


def test_features_alone_make_the_clean_view_be_looked_at_first(tmp_path):
    counted = Counted()
    outcome = cache(tmp_path, counted.teacher, features=True, encoding=EncodingOptions(kind="topk"))
    assert counted.rows == outcome.forward_passes == PASSES
    assert open_store(tmp_path).logits("big").record.feature_step > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ASKED)
def test_a_gpu_chooses_and_keeps_the_promise_too(tmp_path, name):
    teacher = make_teacher(SPLITS["train"])
    teacher.network.to("cuda")
    outcome = run_cache(job(tmp_path, encoding=ASKED[name], features=True), teacher, torch.device("cuda"))
    assert outcome.forward_passes == PASSES
    info = store_info(open_store(tmp_path))
    for split in info["splits"]:
        fidelity = split["teachers"][0]["fidelity"]
        assert fidelity["kl_largest"][1] <= fidelity["kl_bound"][1]
    assert verify(open_store(tmp_path), decode=True).findings == ()
