"""The cache step stores the teacher's own logits, resumes to the same bytes, and refuses what is not the same."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, islice

import numpy as np
import pytest
import torch
from builders import KilledError, dies_after, lazy, make_split, make_teacher, tree
from torch.nn.functional import pad

from logitcache.cache_job import CacheJob, CacheOptions
from logitcache.caching import run_cache
from logitcache.data import NoiseOptions
from logitcache.errors import InputError, MismatchError
from logitcache.soft_targets import open_store
from logitcache.store import EncodingOptions, TeacherWriter, verify
from logitcache.teacher import InferenceOptions
from logitcache.teacher_run import TeacherRun
from logitcache.views import MixOptions, Renderer, ViewOptions
from logitcache.views.batched import crop_flip_elements

CPU = torch.device("cpu")
SPLITS = {"train": make_split(22), "test": make_split(9, seed=1, name="test")}
NOISE = NoiseOptions(rate=0.4)
NOISY = SPLITS["train"].with_noisy_labels((SPLITS["train"].labels + 1) % 3, NOISE)
VIEWS = ViewOptions(kind="crop_flip", count=2, padding=2, seed=1)
UNIFORM = EncodingOptions(kind="uniform")
OPTIONS = CacheOptions(encoding=UNIFORM, block=8, inference=InferenceOptions(batch=3), workers=0)
TEACHER = make_teacher(SPLITS["train"])


@pytest.fixture(autouse=True)
def _fast(unsynced):
    """Nothing here is about the disk."""


def job(path, *, splits=SPLITS, views=VIEWS, **options):
    return CacheJob(path, splits, views, OPTIONS.model_copy(update=options))


def cache(path, teacher=TEACHER, **changes):
    return run_cache(job(path, **changes), teacher, CPU)


def stored(path, view, split="train", teacher="big"):
    reader = open_store(path).logits(teacher, split)
    return np.concatenate([reader.read(view, block) for block in range(reader.blocks)])


def step(path, teacher="big"):
    return open_store(path).logits(teacher).encoding.step


def own_forward(view, split=SPLITS["train"], teacher=TEACHER):
    """The teacher's logits by a plain loop: one image, padded, cropped, flipped, normalised, forward."""
    logits = []
    for image, index in zip(split.images, split.index, strict=True):
        where = crop_flip_elements(index, torch.tensor(view), 2, 1)
        crop = pad(image, (2, 2, 2, 2))[:, where.top : where.top + 8, where.left : where.left + 8]
        crop = crop.flip(2) if where.flip else crop
        with torch.inference_mode():
            logits.append(teacher.network(((crop.float() / 255 - 0.3) / 0.7)[None]))
    return torch.cat(logits).numpy()


@pytest.mark.parametrize("view", [0, 1, 2])
def test_stored_logits_are_the_teachers_own_within_half_a_step(tmp_path, view):
    outcome = cache(tmp_path)
    assert (outcome.written, outcome.found, outcome.forward_passes) == (3 * 3 + 2, 0, 3 * 22 + 9)
    expected = own_forward(view)
    assert np.ptp(expected) > 20 * step(tmp_path)
    assert np.abs(stored(tmp_path, view) - expected).max() <= step(tmp_path) / 2 + 1e-4  # one image a batch
    assert verify(open_store(tmp_path), decode=True).findings == ()


def test_test_splits_have_the_clean_view_only(tmp_path):
    cache(tmp_path)
    store = open_store(tmp_path)
    assert [store.logits("big", split).views for split in ("train", "test")] == [3, 1]
    expected = own_forward(0, SPLITS["test"])
    assert np.abs(stored(tmp_path, 0, "test") - expected).max() <= step(tmp_path) / 2 + 1e-4
    assert (store.labels("test") == SPLITS["test"].labels.numpy()).all()


def test_clean_and_noisy_labels_are_both_stored_and_logits_do_not_see_them(tmp_path):
    cache(tmp_path / "noisy", splits={**SPLITS, "train": NOISY})
    cache(tmp_path / "clean")
    store = open_store(tmp_path / "noisy")
    assert (store.labels("train") == NOISY.labels.numpy()).all()
    assert (store.labels("train", "noisy") == NOISY.noisy_labels.numpy()).all()
    assert store.split("train").noise == NOISY.noise_record
    assert store.split("test").noise is None
    clean, noisy = tree(tmp_path / "clean"), tree(tmp_path / "noisy")
    assert {name for name in noisy if "/teachers/" in name and noisy[name] != clean[name]} == set()
    assert verify(store, decode=True).findings == ()


def test_a_second_run_finds_everything(tmp_path):
    cache(tmp_path)
    before = tree(tmp_path)
    commits = [name.removeprefix("train/teachers/big/logits/commits/") for name in before if "/commits/" in name]
    assert commits == ["test/teachers/big/logits/commits/0.json", "0.json", "1.json", "2.json"]  # folded
    outcome = cache(tmp_path)
    assert (outcome.written, outcome.found, outcome.forward_passes) == (0, 11, 0)
    assert tree(tmp_path) == before


def test_progress_counts_forward_passes(tmp_path):
    seen = []
    run_cache(job(tmp_path), TEACHER, CPU, seen.append)
    assert sum(seen) == 75
    assert max(seen) == 3


def test_a_run_that_dies_at_any_block_resumes_to_the_same_bytes(tmp_path, monkeypatch):
    cache(tmp_path / "whole")
    expected = tree(tmp_path / "whole")
    real = TeacherWriter.write
    for deadly in range(11):
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
        assert (outcome.found, outcome.written) == (deadly, 11 - deadly)
        assert tree(path) == expected


def test_views_of_many_blocks_have_several_groups_of_commits(tmp_path, monkeypatch):
    monkeypatch.setattr("logitcache.store.groups.GROUP_BLOCKS", 2)
    with dies_after(32), pytest.raises(KilledError):
        cache(tmp_path)
    outcome = cache(tmp_path)
    assert (outcome.written > 0, outcome.written + outcome.found) == (True, 11)
    assert [open_store(tmp_path).logits("big", split).record.commit_group for split in SPLITS] == [2, 0]
    commits = [name.rsplit("/", 1)[1] for name in tree(tmp_path) if "train/teachers/big/logits/commits/" in name]
    assert commits == [f"{view}.{group}.json" for view in range(3) for group in range(2)]
    assert verify(open_store(tmp_path), decode=True).findings == ()
    before = tree(tmp_path)
    assert cache(tmp_path).forward_passes == 0
    assert tree(tmp_path) == before


def test_blocks_are_taken_a_few_ahead_of_their_outputs():
    """However many are asked for: they do not have to fit in memory."""
    taken = []

    def blocks():
        for number in range(1000):
            taken.append(number)
            yield 1, number % 3

    run = TeacherRun(job("nowhere"), "train", TEACHER, CPU, lambda rows: None)
    outputs = list(islice(run.outputs(blocks()), 7))
    assert [(each.view, each.block, len(each.logits)) for each in outputs[:3]] == [(1, 0, 8), (1, 1, 8), (1, 2, 6)]
    assert torch.equal(outputs[0].logits, outputs[3].logits)
    assert len(taken) <= 9


@pytest.mark.parametrize("changes", [0, 5, 21, 22, 23, 24, 40, 47])
def test_a_run_whose_disk_dies_resumes_to_the_same_bytes(tmp_path, changes):
    cache(tmp_path / "whole", features=True)
    with dies_after(changes), pytest.raises(KilledError):
        cache(tmp_path / "store", features=True)
    cache(tmp_path / "store", features=True)
    assert tree(tmp_path / "store") == tree(tmp_path / "whole")


def test_batches_are_cut_from_each_blocks_start_whatever_was_done_before(tmp_path, monkeypatch):
    """A teacher whose logits depend on the batch gives the same ones after a resume."""

    def run(inputs):
        return TEACHER.network(inputs) + inputs.mean()

    teacher = replace(TEACHER, run=run)
    cache(tmp_path / "whole", teacher)
    with dies_after(32), pytest.raises(KilledError):
        cache(tmp_path / "store", teacher)
    cache(tmp_path / "store", teacher)
    assert tree(tmp_path / "store") == tree(tmp_path / "whole")


def test_logits_that_are_not_finite_are_refused_by_the_samples_index(tmp_path):
    rows = torch.tensor([2, 3, 5, 7, 11, 13, 17, 19])
    part = SPLITS["train"].take(rows)
    [bad] = Renderer(part, ViewOptions()).stream([(torch.tensor([4]), 0)], 1)

    def run(inputs):
        same = (inputs == bad.inputs).flatten(1).all(dim=1)
        return torch.where(same[:, None], torch.nan, TEACHER.network(inputs))

    teacher = replace(TEACHER, run=run)
    with pytest.raises(InputError, match="logits of sample 11 are not finite"):
        cache(tmp_path, teacher, splits={"train": part, "test": SPLITS["test"]})


def test_features_and_classifier_are_stored_and_give_the_logits(tmp_path):
    cache(tmp_path, features=True)
    store = open_store(tmp_path)
    classifier, reader = store.classifier("big"), store.logits("big")
    for block in range(reader.blocks):
        logits = reader.features(1, block) @ classifier["weight"].T + classifier["bias"]
        assert np.abs(logits - reader.read(1, block)).max() < 0.1  # float16 features
    assert np.abs(classifier["weight"] - TEACHER.head.weight.numpy()).max() == 0


def test_features_of_a_network_without_a_head_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(type(TEACHER.network), "head", property(lambda self: None))
    with pytest.raises(InputError, match=r"'big' \(cnn-4-8\) has no linear head; set cache.features = false"):
        cache(tmp_path / "store", features=True)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("teacher", "change", "said"),
    [
        (make_teacher(SPLITS["train"], seed=1), {}, "weight fingerprint"),
        (replace(TEACHER, model="cnn-8-8"), {}, "architecture"),
        (replace(TEACHER, precision="bf16"), {}, "precision"),
        (TEACHER, {"splits": {**SPLITS, "train": make_split(22, seed=5)}}, "data set's fingerprint"),
        (TEACHER, {"splits": {**SPLITS, "test": make_split(9, seed=5, name="test")}}, "data set's fingerprint"),
        (TEACHER, {"splits": {**SPLITS, "train": NOISY}}, "noise of the labels .*given was fingerprint .*kind="),
        (TEACHER, {"views": VIEWS.model_copy(update={"padding": 1})}, "padding=2.*padding=1"),
        (TEACHER, {"views": VIEWS.model_copy(update={"seed": 2})}, "seed=1.*seed=2"),
        (TEACHER, {"encoding": EncodingOptions(kind="uniform", step=0.5)}, "the encoding"),
        (TEACHER, {"encoding": EncodingOptions(kind="lossless")}, "the encoding"),
        (TEACHER, {"features": True}, "width of stored features"),
        (TEACHER, {"block": 4}, "block_rows|chunk"),
    ],
    ids=[
        "weights",
        "model",
        "precision",
        "train",
        "test",
        "noise",
        "padding",
        "seed",
        "step",
        "kind",
        "features",
        "block",
    ],
)
def test_what_is_not_the_same_is_refused_and_changes_nothing(tmp_path, teacher, change, said):
    with dies_after(30), pytest.raises(KilledError):
        cache(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(MismatchError, match=said):
        cache(tmp_path, teacher, **change)
    assert tree(tmp_path) == before


def test_a_subset_cached_alone_has_the_same_logits(tmp_path):
    rows = torch.tensor([1, 4, 6, 13, 20])
    cache(tmp_path / "whole")
    cache(tmp_path / "part", splits={**SPLITS, "train": SPLITS["train"].take(rows)})
    assert (open_store(tmp_path / "part").index("train") == rows.numpy()).all()
    for view in range(3):
        difference = stored(tmp_path / "part", view) - stored(tmp_path / "whole", view)[rows]
        assert np.abs(difference).max() <= step(tmp_path / "whole")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("mix", [None, MixOptions(kind="cutmix", alpha=1.0)], ids=["plain", "cutmix"])
def test_images_in_memory_and_opened_one_by_one_give_the_same_store(tmp_path, workers, mix):
    views = VIEWS.model_copy(update={"mix": mix})
    cache(tmp_path / "memory", views=views)
    one_by_one = {name: lazy(split) for name, split in SPLITS.items()}
    cache(tmp_path / "lazy", splits=one_by_one, views=views, workers=workers)
    assert tree(tmp_path / "lazy") == tree(tmp_path / "memory")


def test_a_second_teacher_joins_the_store(tmp_path):
    cache(tmp_path)
    before = tree(tmp_path)
    cache(tmp_path, make_teacher(SPLITS["train"], seed=1, name="other"))
    assert open_store(tmp_path).teachers("train") == ("big", "other")
    assert {name: digest for name, digest in tree(tmp_path).items() if name in before} == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_stores_logits_within_the_bound_of_the_cpus(tmp_path):
    teacher = make_teacher(SPLITS["train"])
    teacher.network.to("cuda")
    run_cache(job(tmp_path), teacher, torch.device("cuda"))
    for view in range(3):
        assert np.abs(stored(tmp_path, view) - own_forward(view)).max() <= step(tmp_path) / 2 + 0.05  # TF32
