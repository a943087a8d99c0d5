"""Mosaics become the arrays that recipes read: every image in its place, with the label of its class."""

from __future__ import annotations

import numpy as np
import pytest
import unpack_tiny_imagenet as unpacking
from PIL import Image

from logitcache.data import DataOptions, open_data

CLASSES = "n01443537 goldfish, Carassius auratus\nn01629819 European fire salamander\n"


def colours(label) -> np.ndarray:
    """(550, 3): each image's colour, far enough from its neighbours' for a lossy file."""
    place = np.arange(550)
    return np.stack([40 + place % 25 * 8, 20 + place // 25 * 10, np.full(550, 60 + 120 * label)], axis=1)


@pytest.fixture
def mosaics(tmp_path):
    """A folder of two classes in the layout: 22 rows of 25 images of one colour each."""
    folder = tmp_path / "mosaics"
    folder.mkdir()
    (folder / "classes.txt").write_text(CLASSES)
    for label, line in enumerate(CLASSES.splitlines()):
        grid = colours(label).reshape(22, 25, 3).astype(np.uint8)
        image = Image.fromarray(grid.repeat(32, axis=0).repeat(32, axis=1))
        image.save(folder / f"{line.split()[0]}.jpg", quality=95, subsampling=0)
    return folder


def test_every_image_is_in_its_place_and_has_its_label(mosaics, tmp_path):
    out = tmp_path / "deep" / "out"
    unpacking.main([str(mosaics), str(out)])
    splits = open_data(
        DataOptions(
            name="arrays",
            images=out / "train_images.npy",
            labels=out / "train_labels.npy",
            test_images=out / "test_images.npy",
            test_labels=out / "test_labels.npy",
        )
    )
    for name, part in (("train", slice(0, 500)), ("test", slice(500, 550))):
        split = splits[name]
        count = len(range(*part.indices(550)))
        assert split.labels.tolist() == [0] * count + [1] * count
        assert split.shape == (3, 32, 32)
        expected = np.concatenate([colours(label)[part] for label in (0, 1)])
        found = split.images.numpy().astype(int)
        assert np.abs(found - expected[:, :, None, None]).max() <= 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "classes.txt").unlink(), "classes.txt"),
        (lambda folder: (folder / "classes.txt").write_text("\n"), "names no class"),
        (lambda folder: (folder / "n01629819.jpg").unlink(), "n01629819.jpg"),
        (lambda folder: (folder / "n01629819.jpg").write_bytes(b"text"), "n01629819.jpg is no image"),
        (
            lambda folder: Image.new("RGB", (704, 800)).save(folder / "n01629819.jpg"),
            "704 x 800 pixels; 800 x 704 are needed",
        ),
    ],
)
def test_another_layout_is_refused_before_anything_is_written(mosaics, tmp_path, spoil, message):
    spoil(mosaics)
    with pytest.raises(SystemExit) as ended:
        unpacking.main([str(mosaics), str(tmp_path / "out")])
    assert message in str(ended.value.code)
    assert not (tmp_path / "out").exists()
