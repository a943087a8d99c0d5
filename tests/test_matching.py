"""A store meets only the samples and views it was made from; all else is refused with both sides named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import lazy, make_split

from logitcache.data import Preprocess, Split
from logitcache.errors import InputError, MismatchError
from logitcache.matching import check_split
from logitcache.store import SplitContent, SplitRecord, Store, StoreRecord, create_store, open_store
from logitcache.views import Renderer, ViewOptions, view_policy

TRAIN, TEST = make_split(20), make_split(12, seed=1, name="test")
VIEWS = ViewOptions(kind="crop_flip", count=3, padding=2, seed=1)


def content(split: Split, views: ViewOptions) -> SplitContent:
    record = SplitRecord(split.name, len(split), split.fingerprint, Renderer(split, views).probe())
    return SplitContent(record, split.labels.numpy(), split.index.numpy())


@pytest.fixture
def store(tmp_path, unsynced) -> Store:
    record = StoreRecord("noise", TRAIN.classes, view_policy(TRAIN, VIEWS))
    create_store(tmp_path, record, [content(TRAIN, VIEWS), content(TEST, ViewOptions())], [])
    return open_store(tmp_path)


def test_its_own_samples_and_views_are_met(store):
    check_split(store, TRAIN, VIEWS)
    check_split(store, TEST, VIEWS)
    check_split(store, lazy(TRAIN), VIEWS)
    assert np.array_equal(store.labels("test"), TEST.labels.numpy())


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_the_number_of_views_in_use_does_not_matter(store, count):
    check_split(store, TRAIN, VIEWS.model_copy(update={"count": count}))


def relabelled(split):
    labels = (split.labels + 1) % 3
    other = make_split(20)
    return replace(other, labels=labels, fingerprint="0" * 16)


@pytest.mark.parametrize(
    "other",
    [make_split(20, seed=9), make_split(21), TRAIN.take(torch.arange(19)), relabelled(TRAIN)],
    ids=["images", "more", "subset", "labels"],
)
def test_other_samples_are_refused_with_both_fingerprints(store, other):
    with pytest.raises(MismatchError) as error:
        check_split(store, other, VIEWS)
    for part in ("data set's fingerprint in split 'train'", TRAIN.fingerprint, other.fingerprint, "20 samples"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"padding": 1}, "padding = 2 .*padding = 1 "),
        ({"seed": 4}, "seed = 1 .*seed = 4 "),
        ({"kind": "none", "count": 0}, "kind = crop_flip, .*kind = none, "),
    ],
)
def test_another_view_policy_is_refused_with_what_differs_and_both_fingerprints(store, change, said):
    with pytest.raises(MismatchError, match=said) as error:
        check_split(store, TRAIN, VIEWS.model_copy(update=change))
    assert str(error.value).count("(fingerprint ") == 2


def test_test_splits_have_the_clean_view_only_whatever_the_policy(store):
    check_split(store, TEST, VIEWS.model_copy(update={"seed": 4, "padding": 1}))


def test_a_renderer_that_changed_is_refused(store, monkeypatch):
    monkeypatch.setattr("logitcache.views.renderer.crop_flip", lambda images, where, padding: images.flip(2))
    with pytest.raises(MismatchError, match="torchvision or Pillow renders these views otherwise"):
        check_split(store, TRAIN, VIEWS)
    check_split(store, TEST, VIEWS)


def test_other_preprocessing_is_refused(store):
    other = replace(TRAIN, preprocess=Preprocess((0.4,), (0.7,)))
    with pytest.raises(MismatchError, match="preprocess"):
        check_split(store, other, VIEWS)


def test_a_split_that_the_store_lacks_is_wrong_usage(store):
    with pytest.raises(InputError, match="has no split 'extra'; it has test, train"):
        check_split(store, replace(TRAIN, name="extra"), VIEWS)
