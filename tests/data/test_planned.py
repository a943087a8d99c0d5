"""Data that are not here yet have splits to plan with: of the size and shape that the real ones have."""

from __future__ import annotations

import pickle

import pytest
import torch
from PIL import Image
from torchvision import datasets

from logitcache.data import DataOptions, open_data, planned_data
from logitcache.errors import InputError

EXPECT = {"train": 12, "test": 4, "classes": 3}


def form(splits) -> dict[str, tuple[object, ...]]:
    """What a plan depends on, by split."""
    return {name: (len(s), s.shape, len(s.classes), s.preprocess, s.name, s.dataset) for name, s in splits.items()}


@pytest.mark.parametrize(
    ("name", "train", "shape", "classes"),
    [
        ("fashion_mnist", 60_000, (1, 28, 28), 10),
        ("mnist", 60_000, (1, 28, 28), 10),
        ("cifar10", 50_000, (3, 32, 32), 10),
        ("cifar100", 50_000, (3, 32, 32), 100),
    ],
)
def test_torchvisions_data_sets_have_a_known_size(tmp_path, name, train, shape, classes):
    splits = planned_data(DataOptions(name=name, root=tmp_path, download=True))
    assert {key: (len(s), s.shape, len(s.classes)) for key, s in splits.items()} == {
        "train": (train, shape, classes),
        "test": (10_000, shape, classes),
    }
    assert torch.bincount(splits["train"].labels).tolist() == [train // classes] * classes
    assert list(tmp_path.iterdir()) == [], "nothing is fetched"


def test_the_known_size_is_that_of_the_data(tmp_path, data_root):
    planned = planned_data(DataOptions(root=tmp_path))
    assert form(planned) == form(open_data(DataOptions(root=data_root)))


def test_what_is_here_is_opened_and_not_planned(data_root, tmp_path):
    assert planned_data(DataOptions(root=data_root)) is None
    (tmp_path / "fashion_mnist").mkdir()
    assert planned_data(DataOptions(root=tmp_path)) is None, "archives are to be unpacked"


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("cifar10", datasets.CIFAR10.base_folder),
        ("cifar100", datasets.CIFAR100.base_folder),
        ("mnist", "MNIST"),
        ("fashion_mnist", "FashionMNIST"),
    ],
)
def test_damaged_data_are_not_absent_data(tmp_path, name, folder):
    (tmp_path / folder).mkdir()
    options = DataOptions(name=name, root=tmp_path)
    assert planned_data(options) is None
    with pytest.raises(InputError, match="is not in"):
        open_data(options)


def test_an_image_folder_has_the_size_that_the_recipe_expects(tmp_path):
    asked = {"name": "image_folder", "expect": EXPECT, "size": 32, "interpolation": "bicubic"}
    planned = planned_data(DataOptions(root=tmp_path / "absent", **asked))
    for split, each in (("train", 4), ("val", 1)):
        for name in "abc":
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(each):
                Image.new("RGB", (40, 40)).save(tmp_path / split / name / f"{number}.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "val/a/more.png")
    options = DataOptions(root=tmp_path, **asked)
    assert form(planned) == form(open_data(options))
    assert planned_data(options) is None


def test_an_image_folder_of_a_size_that_nobody_says_cannot_be_planned(tmp_path):
    assert planned_data(DataOptions(name="image_folder", root=tmp_path)) is None


def test_without_held_out_images_there_is_one_split(tmp_path):
    options = DataOptions(name="image_folder", root=tmp_path, expect={"train": 12, "classes": 3})
    assert list(planned_data(options)) == ["train"]


def test_files_and_factories_tell_their_size_themselves():
    assert planned_data(DataOptions(name="arrays", images="a.npy", labels="b.npy")) is None
    assert planned_data(DataOptions(name="own_data:factory")) is None


def test_samples_and_noise_are_those_asked_for(tmp_path):
    noise = {"kind": "asymmetric", "rate": 0.2, "pairs": {"truck": "automobile"}}
    splits = planned_data(DataOptions(name="cifar10", root=tmp_path, samples=0.02, noise=noise))
    assert [len(split) for split in splits.values()] == [1000, 10_000]
    assert splits["train"].label_kind("auto") == "noisy"
    assert splits["train"].noise_record["rate"] == 0.2
    with pytest.raises(InputError, match=r"samples = 50001: the split has 50000 samples"):
        planned_data(DataOptions(name="cifar10", root=tmp_path, samples=50_001))


def test_a_mean_of_other_channels_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"data\.mean has 1 channels, images of 'cifar10' have 3"):
        planned_data(DataOptions(name="cifar10", root=tmp_path, mean=(0.5,), std=(0.5,)))


def test_images_of_absent_data_cannot_be_opened(tmp_path):
    train = planned_data(DataOptions(name="cifar10", root=tmp_path))["train"]
    travelled = pickle.loads(pickle.dumps(train.open))  # noqa: S301  # what DataLoader does
    with pytest.raises(InputError, match="image 3 is of data that is not here yet"):
        travelled(3)


@pytest.mark.parametrize("samples", [None, 0.5, 10**12])
def test_splits_of_any_size_take_no_memory(tmp_path, samples):
    expect = {"train": 10**13, "test": 10**12, "classes": 1000}
    options = DataOptions(name="image_folder", root=tmp_path, expect=expect, samples=samples)
    splits = planned_data(options)
    assert len(splits["train"]) == {None: 10**13, 0.5: 5 * 10**12}.get(samples, samples)
    assert len(splits["test"]) == 10**12
    with pytest.raises(InputError, match="the split has 10000000000000 samples"):
        planned_data(options.model_copy(update={"samples": 10**13 + 1}))
