"""What is cached is known from the store alone, and what is not the recipe's is refused before a teacher is loaded."""

from __future__ import annotations

import pytest
import torch
from builders import KilledError, dies_after, make_split, make_teacher, tree

from logitcache.cache_job import CacheJob, CacheOptions, block_count, cached_blocks, split_views
from logitcache.caching import run_cache
from logitcache.errors import InputError, MismatchError
from logitcache.store import EncodingOptions
from logitcache.teacher_options import InferenceOptions, TeacherOptions
from logitcache.views import ViewOptions

SPLITS = {"train": make_split(22), "test": make_split(9, seed=1, name="test")}
VIEWS = ViewOptions(kind="crop_flip", count=2, padding=2, seed=1)
UNIFORM = EncodingOptions(kind="uniform")
OPTIONS = CacheOptions(encoding=UNIFORM, block=8, workers=0)
TEACHER = make_teacher(SPLITS["train"])


def job(path, *, splits=SPLITS, views=VIEWS, **options):
    return CacheJob(path, splits, views, OPTIONS.model_copy(update=options))


def cache(path):
    return run_cache(job(path), TEACHER, torch.device("cpu"))


def test_only_train_has_augmented_views():
    assert [split_views(split, VIEWS) for split in ("train", "test")] == [3, 1]


def asked(**changes):
    return TeacherOptions(**{"name": "big", "model": "cnn-4-8", **changes})


def test_what_is_cached_is_known_without_the_teacher(tmp_path, unsynced):
    path = tmp_path / "store"
    assert cached_blocks(job(path), asked()) == (0, 11)
    assert not path.exists()
    with dies_after(32), pytest.raises(KilledError):
        cache(path)
    committed, total = cached_blocks(job(path), asked())
    assert total == 11 == block_count(job(path), "train") + block_count(job(path), "test")
    assert 0 < committed < 11
    assert cached_blocks(job(path), asked(name="other")) == (0, 11)
    cache(path)
    assert cached_blocks(job(path), asked()) == (11, 11)


@pytest.mark.parametrize(
    ("model", "change", "said"),
    [
        ("cnn-8-8", {}, "model of teacher 'big' differs: the store has cnn-4-8, given was cnn-8-8"),
        ("cnn-4-8", {"encoding": EncodingOptions(kind="uniform", step=0.5)}, "step of teacher 'big'"),
        ("cnn-4-8", {"features": True}, "features of teacher 'big' differs: the store has False, given was True"),
        ("cnn-4-8", {"inference": InferenceOptions(precision="bf16")}, "precision of teacher 'big'"),
        ("cnn-4-8", {"block": 4}, "rows of a block of teacher 'big' differs: the store has 8, given was 4"),
        ("cnn-4-8", {"views": VIEWS.model_copy(update={"count": 3})}, "views of teacher 'big' differs: .* 3, .* 4"),
        ("cnn-4-8", {"views": VIEWS.model_copy(update={"padding": 1})}, "the view policy"),
        ("cnn-4-8", {"splits": {**SPLITS, "train": make_split(22, seed=5)}}, "data set's fingerprint"),
    ],
)
def test_a_store_that_is_not_the_recipes_is_refused_without_the_teacher(tmp_path, unsynced, model, change, said):
    cache(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(MismatchError, match=said):
        cached_blocks(job(tmp_path, **change), asked(model=model))
    assert tree(tmp_path) == before


def test_splits_that_the_data_set_lacks_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cache\.splits names test; the data set has train"):
        cached_blocks(job(tmp_path / "store", splits={"train": SPLITS["train"]}), asked())
