"""A view policy says what it does not know, and its record holds what decides how a view looks and no more."""

from __future__ import annotations

import pytest
import torchvision
from builders import make_split
from pydantic import ValidationError

from logitcache.views import MixOptions, ViewOptions, view_policy

SPLIT = make_split(4)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "cropflip"}, "must be one of none, crop_flip, .*did you mean 'crop_flip'"),
        ({"kind": "a:b:c"}, "must be one of none"),
        ({"kind": "transforms", "transforms": ["RandomErase"]}, "no transform 'RandomErase'; did you mean"),
        ({"kind": "transforms", "transforms": [{"p": 0.5}]}, "no transform None"),
        ({"kind": "transforms", "transforms": ["functional"]}, "no transform 'functional'"),
        ({"kind": "transforms", "transforms": ["RandomCrop"]}, "RandomCrop: .*size"),
        ({"kind": "transforms", "transforms": [{"name": "RandomCrop", "size": 4, "pad": 1}]}, "RandomCrop: .*'pad'"),
        ({"kind": "transforms"}, "go together"),
        ({"kind": "crop_flip", "transforms": ["Identity"]}, "go together"),
        ({"kind": "none", "count": 1}, "clean view only; set count to 0"),
        ({"kind": "crop_flip", "count": -1}, "greater than or equal to 0"),
        ({"kind": "crop_flip", "padding": 65}, "less than or equal to 64"),
        ({"mix": {"kind": "mixup", "alpha": 0}}, "greater than 0"),
        ({"mix": {"kind": "mix"}}, "'mixup' or 'cutmix'"),
        ({"mix": {"kind": "mixup", "probability": 1.5}}, "less than or equal to 1"),
    ],
)
def test_what_is_unknown_or_contradicts_is_said(fields, said):
    with pytest.raises(ValidationError, match=said):
        ViewOptions(**fields)


def test_a_cycle_is_as_long_as_its_distinct_views():
    assert ViewOptions().distinct == 1
    assert ViewOptions(kind="crop_flip").distinct == 162
    assert ViewOptions(kind="crop_flip", padding=2, count=7).distinct == 50
    assert ViewOptions(kind="crop_flip", mix=MixOptions(kind="mixup")).distinct is None
    assert ViewOptions(kind="transforms", transforms=("RandomHorizontalFlip",)).distinct is None


def policy(**fields):
    return view_policy(SPLIT, ViewOptions(**fields))


def test_the_count_of_views_is_no_part_of_the_policy():
    assert policy(kind="crop_flip", count=1) == policy(kind="crop_flip", count=8)


def test_what_a_kind_does_not_use_is_no_part_of_its_policy():
    assert policy(seed=1, padding=2) == policy()
    assert policy(kind="module:own", padding=1) == policy(kind="module:own", padding=2)


@pytest.mark.parametrize(
    "change",
    [{"kind": "none"}, {"seed": 1}, {"padding": 3}, {"mix": MixOptions(kind="mixup")}],
    ids=["kind", "seed", "padding", "mix"],
)
def test_what_changes_a_view_changes_the_policy(change):
    assert policy(**{"kind": "crop_flip", **change}) != policy(kind="crop_flip")


def test_preprocessing_is_part_of_the_policy():
    assert policy()["preprocess"] == {
        "mean": [0.3],
        "std": [0.7],
        "resize": None,
        "size": None,
        "interpolation": "bilinear",
    }


def test_policies_that_use_torchvision_name_its_version():
    transforms = policy(kind="transforms", transforms=("RandomHorizontalFlip", {"name": "RandomCrop", "size": 4}))
    assert transforms["transforms"] == ["RandomHorizontalFlip", {"name": "RandomCrop", "size": 4}]
    assert torchvision.__version__.startswith(transforms["torchvision"])
    assert "torchvision" not in policy(kind="crop_flip")
