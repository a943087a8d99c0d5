"""Arrays open in three layouts, stay on disk, and are refused where they do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from logitcache.data import DataOptions, open_data
from logitcache.errors import InputError


def arrays(folder, images, labels, **more) -> DataOptions:
    """Options for arrays written into a folder."""
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    return DataOptions(name="arrays", images=folder / "images.npy", labels=folder / "labels.npy", **more)


@pytest.mark.parametrize(
    ("shape", "expected"), [((4, 6, 5), (1, 6, 5)), ((4, 6, 5, 3), (3, 6, 5)), ((4, 3, 6, 5), (3, 6, 5))]
)
def test_arrays_come_in_three_layouts(tmp_path, shape, expected):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    train = open_data(arrays(tmp_path, images, np.array([0, 2, 1, 2])))["train"]
    assert train.shape == expected
    assert train.classes == ("0", "1", "2")
    assert train.preprocess.mean == (0.5,) * expected[0]
    moved = np.moveaxis(images, -1, 1) if shape[-1] == 3 else images.reshape(4, *expected)
    assert np.array_equal(train.images.numpy(), moved)


def test_arrays_stay_on_disk_and_the_file_cannot_change(tmp_path):
    images = np.zeros((4, 6, 5), np.uint8)
    options = arrays(tmp_path, images, np.arange(4))
    before = options.images.read_bytes()
    train = open_data(options)["train"]
    train.images[0] = 9
    assert options.images.read_bytes() == before


def test_arrays_may_have_a_test_split_with_classes_in_common(tmp_path):
    (tmp_path / "test").mkdir()
    held_out = arrays(tmp_path / "test", np.zeros((2, 6, 5), np.uint8), np.array([0, 4]))
    options = arrays(
        tmp_path,
        np.zeros((4, 6, 5), np.uint8),
        np.arange(4),
        test_images=held_out.images,
        test_labels=held_out.labels,
        samples=2,
    )
    splits = open_data(options)
    assert [len(each) for each in splits.values()] == [2, 2]
    assert splits["train"].classes == splits["test"].classes == tuple("01234")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((4, 2, 2), np.float32), np.arange(4), "float32 of shape (4, 2, 2); images must be uint8"),
        (np.zeros((4, 2), np.uint8), np.arange(4), "uint8 of shape (4, 2); images must be uint8 of shape (N, H, W)"),
        (np.zeros((4, 2, 2, 2), np.uint8), np.arange(4), "the second or the last axis must be channels, 1 or 3"),
        (np.zeros((4, 2, 2), np.uint8), np.arange(3), "3 labels for 4 images"),
        (np.zeros((4, 2, 2), np.uint8), np.zeros(4), "float64 of shape (4,); labels must be integers"),
        (np.zeros((4, 2, 2), np.uint8), np.array([0, 1, -2, 0]), "sample 2 has label -2; labels count from 0"),
        (np.zeros((0, 2, 2), np.uint8), np.zeros(0, int), "labels must be integers of shape (N,)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, images, labels, message):
    with pytest.raises(InputError) as caught:
        open_data(arrays(tmp_path, images, labels))
    assert message in str(caught.value)


def test_arrays_of_two_image_sizes_are_refused(tmp_path):
    (tmp_path / "test").mkdir()
    held_out = arrays(tmp_path / "test", np.zeros((2, 7, 5), np.uint8), np.arange(2))
    options = arrays(
        tmp_path, np.zeros((2, 6, 5), np.uint8), np.arange(2), test_images=held_out.images, test_labels=held_out.labels
    )
    with pytest.raises(InputError, match=r"differ in shape \(C, H, W\): .*\(1, 6, 5\) and .*\(1, 7, 5\)"):
        open_data(options)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"", "is not a .npy array"), (b"no array", "is not a .npy array of numbers")],
)
def test_a_file_that_is_no_array_is_refused(tmp_path, content, message):
    options = arrays(tmp_path, np.zeros((2, 6, 5), np.uint8), np.arange(2))
    options.images.unlink()
    if content is not None:
        options.images.write_bytes(content)
    with pytest.raises(InputError) as caught:
        open_data(options)
    assert message in str(caught.value)


def test_pickled_arrays_and_archives_are_refused(tmp_path):
    np.save(tmp_path / "images.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "labels.npy", np.arange(2))
    options = DataOptions(name="arrays", images=tmp_path / "images.npy", labels=tmp_path / "labels.npy")
    with pytest.raises(InputError, match=r"is not a \.npy array of numbers"):
        open_data(options)
    np.savez(tmp_path / "both.npz", a=np.arange(2))
    (tmp_path / "both.npz").replace(tmp_path / "images.npy")
    with pytest.raises(InputError, match="is an archive of arrays"):
        open_data(options)
