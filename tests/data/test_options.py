"""Options that cannot be meant are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from logitcache.data import DataOptions


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "fashion-mnist"}, "did you mean 'fashion_mnist'"),
        ({"samples": 0}, "must be a count from 1, a fraction in"),
        ({"samples": 1.5}, "must be a count from 1"),
        ({"samples": True}, "must be a count from 1"),
        ({"samples": "rows.csv"}, r"a \.npy or \.txt file"),
        ({"mean": (0.5,)}, "give both or neither"),
        ({"mean": (0.5,), "std": (0.5, 0.5)}, "1 channels and std 2"),
        ({"std": (0.0,), "mean": (0.5,)}, "greater than 0"),
        ({"name": "arrays"}, "needs images and labels"),
        ({"name": "arrays", "images": "a.npy", "labels": "b.npy", "test_images": "c.npy"}, "test_labels go together"),
        ({"name": "mnist", "images": "a.npy"}, "only for name = 'arrays', not for 'mnist'"),
        ({"noise": {"rate": 1}}, "less than 1"),
        ({"noise": {"rate": 0.1, "share": 1}}, "share"),
        ({"name": "mnist", "size": 32}, "images of 'mnist' keep their size"),
        ({"name": "image_folder", "size": 64, "resize": 32}, "resize = 32 is smaller than size = 64"),
        ({"name": "mnist", "expect": {"train": 1, "classes": 1}}, "expect is for image_folder; of 'mnist' the size"),
        ({"name": "image_folder", "expect": {"train": 0, "classes": 1}}, "greater than or equal to 1"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        DataOptions(**given)
