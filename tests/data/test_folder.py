"""Image folders open lazily, and travel to worker processes."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from logitcache.data import DataOptions, Preprocess, open_data
from logitcache.errors import InputError


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes, five train and two held-out images; one is grey, one lies deeper."""
    for name, mode in [
        ("train/cat/b.png", "RGB"),
        ("train/cat/a.PNG", "L"),
        ("train/cat/deep/c.png", "RGBA"),
        ("train/dog/a.png", "RGB"),
        ("train/dog/z.png", "RGB"),
        ("val/cat/v.png", "RGB"),
        ("val/dog/v.png", "RGB"),
        ("test/unlabelled/t.png", "RGB"),
    ]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (20, 10), color=hash_of(name)).save(path)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    return tmp_path


def hash_of(name) -> int:
    """A colour by name."""
    return sum(name.encode()) % 256


def test_an_image_folder_opens_lazily_in_rgb_and_prefers_val(folder):
    splits = open_data(DataOptions(name="image_folder", root=folder))
    train, held_out = splits["train"], splits["test"]
    assert train.classes == ("cat", "dog")
    assert train.labels.tolist() == [0, 0, 0, 1, 1]
    assert held_out.labels.tolist() == [0, 1]
    assert train.images is None
    assert train.shape == (3, 224, 224)
    assert (train.preprocess.resize, train.preprocess.size) == (256, 224)
    assert train.preprocess.mean == (0.485, 0.456, 0.406)
    image = train.open(0)
    assert (image.mode, image.size) == ("RGB", (20, 10))
    assert image.getpixel((0, 0)) == (hash_of("train/cat/a.PNG"),) * 3


def test_size_and_resize_are_the_users(folder):
    options = DataOptions(name="image_folder", root=folder, size=32, interpolation="bicubic")
    train = open_data(options)["train"]
    assert train.preprocess == Preprocess(train.preprocess.mean, train.preprocess.std, 37, 32, "bicubic")
    assert train.shape == (3, 32, 32)


def test_an_image_folder_and_its_subsets_travel_to_workers(folder):
    train = open_data(DataOptions(name="image_folder", root=folder))["train"].take(torch.tensor([3, 1]))
    travelled = pickle.loads(pickle.dumps(train.open))  # noqa: S301  # what DataLoader does
    assert travelled(1).tobytes() == train.open(1).tobytes()
    assert train.open(0).getpixel((0, 0)) == Image.open(folder / "train/dog/a.png").getpixel((0, 0))


def test_an_image_folders_fingerprint_notices_bytes_and_names(folder):
    def fingerprint():
        return open_data(DataOptions(name="image_folder", root=folder))["train"].fingerprint

    prints = [fingerprint()]
    (folder / "train/dog/z.png").rename(folder / "train/dog/y.png")
    prints.append(fingerprint())
    Image.new("RGB", (20, 10)).save(folder / "train/dog/y.png")
    prints.append(fingerprint())
    assert len(set(prints)) == 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: shutil.rmtree(root / "train"), "train is not a folder; set data.root"),
        (lambda root: (root / "val" / "cow").mkdir(), "val has class 'cow', which train does not have"),
        (lambda root: (root / "train" / "cow").mkdir(), "cow has no images"),
        (lambda root: [shutil.rmtree(root / "train" / each) for each in ("cat", "dog")], "has no class folders"),
    ],
)
def test_a_folder_of_another_layout_is_refused(folder, spoil, message):
    spoil(folder)
    with pytest.raises(InputError) as caught:
        open_data(DataOptions(name="image_folder", root=folder))
    assert message in str(caught.value)


def test_a_broken_image_is_named_when_it_is_opened(folder):
    (folder / "train/dog/z.png").write_bytes(b"no image at all")
    train = open_data(DataOptions(name="image_folder", root=folder))["train"]
    with pytest.raises(InputError, match=r"z\.png cannot be read"):
        train.open(4)
