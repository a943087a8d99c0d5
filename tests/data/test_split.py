"""Splits know their samples, and have fingerprints that notice every change."""

from __future__ import annotations

import pytest
import torch

from logitcache.data import Preprocess, lazy_split, memory_split, split
from logitcache.errors import InputError

HALF = Preprocess((0.5,), (0.5,))


def tiny(images=None, labels=None, preprocess=HALF, classes=("a", "b")):
    """Six grey images of 2x2 in two classes."""
    images = torch.arange(24, dtype=torch.uint8).reshape(6, 1, 2, 2) if images is None else images
    labels = torch.tensor([0, 1, 0, 1, 0, 1]) if labels is None else labels
    return memory_split(
        dataset="tiny", name="train", images=images, labels=labels, classes=classes, preprocess=preprocess
    )


def test_a_fingerprint_notices_pixels_labels_classes_and_preprocessing():
    images = torch.arange(24, dtype=torch.uint8).reshape(6, 1, 2, 2)
    other = images.clone()
    other[5, 0, 1, 1] += 1
    variants = [
        tiny(),
        tiny(images=other),
        tiny(images=images.reshape(6, 1, 1, 4)),
        tiny(labels=torch.tensor([0, 1, 0, 1, 1, 0])),
        tiny(classes=("a", "c")),
        tiny(preprocess=Preprocess((0.4,), (0.5,))),
    ]
    assert len({each.fingerprint for each in variants}) == len(variants)


def test_a_fingerprint_knows_no_memory_layout_and_no_label_type():
    images = torch.randint(256, (6, 3, 4, 5), dtype=torch.uint8)
    grey = Preprocess((0.5,) * 3, (0.5,) * 3)
    strided = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    labels = torch.tensor([0, 1, 0, 1, 0, 1], dtype=torch.uint8)
    assert tiny(images, preprocess=grey).fingerprint == tiny(strided, labels, preprocess=grey).fingerprint


def test_large_data_are_hashed_at_keyed_samples(monkeypatch):
    monkeypatch.setattr(split, "_HASH_ALL_BYTES", 1000)
    monkeypatch.setattr(split, "_HASH_SAMPLES", 250)
    images = torch.zeros(500, 1, 2, 2, dtype=torch.uint8)
    labels = torch.zeros(500, dtype=torch.int64)
    plain = tiny(images, labels).fingerprint
    noticed = 0
    for row in range(0, 500, 10):
        changed = images.clone()
        changed[row] = 1
        noticed += tiny(changed, labels).fingerprint != plain
    assert 15 <= noticed <= 35


def test_take_keeps_identity_through_subsets_of_subsets():
    whole = tiny()
    part = whole.take(torch.tensor([5, 3, 2])).take(torch.tensor([2, 0]))
    assert part.index.tolist() == [2, 5]
    assert part.labels.tolist() == [0, 1]
    assert torch.equal(part.images, whole.images[[2, 5]])
    assert len(part) == 2


def test_subsets_have_fingerprints_of_their_own_and_the_whole_has_the_wholes():
    whole = tiny()
    takes = [whole.take(torch.tensor(rows)) for rows in ([0, 1], [1, 0], [0, 2])]
    assert len({each.fingerprint for each in [whole, *takes]}) == 4
    assert whole.take(torch.arange(6)).fingerprint == whole.fingerprint


@pytest.mark.parametrize("rows", [[], [6], [-1]])
def test_take_refuses_rows_that_are_not_there(rows):
    with pytest.raises(InputError, match=r"one or more of 0\.\.5"):
        tiny().take(torch.tensor(rows, dtype=torch.int64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(6, 1, 2, 2)}, "torch.float32 of shape (6, 1, 2, 2); they must be uint8"),
        ({"images": torch.zeros(6, 2, 2, dtype=torch.uint8)}, "shape (N, C, H, W)"),
        ({"labels": torch.zeros(5, dtype=torch.int64)}, "5 labels for 6 images"),
        ({"labels": torch.zeros(6)}, "torch.float32 of shape (6,); they must be integers"),
        ({"labels": torch.tensor([0, 1, 0, 1, 2, 1])}, "sample 4 has label 2; allowed are 0..1"),
        ({"preprocess": Preprocess((0.5,) * 3, (0.5,) * 3)}, "data.mean has 3 channels, images of 'tiny' have 1"),
    ],
)
def test_a_split_that_does_not_fit_together_is_refused(change, message):
    with pytest.raises(InputError) as caught:
        tiny(**change)
    assert message in str(caught.value)


def test_lazy_splits_need_a_size():
    with pytest.raises(InputError, match="needs size"):
        lazy_split(
            dataset="own",
            name="train",
            open_row=str,
            read_bytes=lambda row: b"",
            labels=torch.zeros(2, dtype=torch.int64),
            classes=("a",),
            preprocess=HALF,
        )
