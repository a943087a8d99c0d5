"""Fashion-MNIST opens from the repository; absent or damaged data say what to do."""

from __future__ import annotations

import gzip
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from logitcache.data import DataOptions, open_data
from logitcache.data.torchvision_sets import unpack_fashion_mnist
from logitcache.errors import InputError


@pytest.fixture(scope="module")
def fashion(data_root, tmp_path_factory):
    root = tmp_path_factory.mktemp("fashion")
    shutil.copytree(data_root / "fashion_mnist", root / "fashion_mnist")
    return open_data(DataOptions(root=root)), root


def test_fashion_mnist_opens_from_the_repository_without_a_network(fashion):
    splits, _ = fashion
    assert list(splits) == ["train", "test"]
    assert [len(each) for each in splits.values()] == [60_000, 10_000]
    train = splits["train"]
    assert train.images.shape == (60_000, 1, 28, 28)
    assert train.shape == (1, 28, 28)
    assert train.classes[9] == "Ankle boot"
    assert torch.bincount(train.labels).tolist() == [6000] * 10
    assert abs(float(train.images.float().mean() / 255) - train.preprocess.mean[0]) < 1e-3
    assert abs(float(train.images.float().std() / 255) - train.preprocess.std[0]) < 1e-3


def test_fashion_mnists_fingerprints_are_pinned(fashion):
    # stores keep them: another value here means that every store in the world meets a "different" data set
    splits, _ = fashion
    assert {name: each.fingerprint for name, each in splits.items()} == {
        "train": "f2bd0f06dabbc939",
        "test": "6e888274f0a91a8a",
    }


def test_unpacking_leaves_only_whole_files_and_is_done_once(fashion):
    _, root = fashion
    raw = root / "FashionMNIST" / "raw"
    before = {path.name: path.stat().st_mtime_ns for path in raw.iterdir()}
    assert len(before) == 4
    assert all(name.endswith("-ubyte") for name in before)
    unpack_fashion_mnist(root)
    assert {path.name: path.stat().st_mtime_ns for path in raw.iterdir()} == before


def test_several_may_unpack_at_once(tmp_path):
    (tmp_path / "fashion_mnist").mkdir()
    content = bytes(range(256)) * 4000
    for number in range(4):
        (tmp_path / "fashion_mnist" / f"file{number}.gz").write_bytes(gzip.compress(content))
    start = threading.Barrier(4)

    def unpack(_):
        start.wait(timeout=30)
        unpack_fashion_mnist(tmp_path)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(unpack, range(4)))
    files = sorted((tmp_path / "FashionMNIST" / "raw").iterdir())
    assert [path.name for path in files] == [f"file{number}" for number in range(4)]
    assert all(path.read_bytes() == content for path in files)


def test_a_truncated_archive_is_named_and_leaves_nothing(tmp_path):
    (tmp_path / "fashion_mnist").mkdir()
    whole = gzip.compress(bytes(10_000))
    (tmp_path / "fashion_mnist" / "train-images-idx3-ubyte.gz").write_bytes(whole[:-12])
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz is damaged .* download=true"):
        open_data(DataOptions(root=tmp_path))
    assert list((tmp_path / "FashionMNIST" / "raw").iterdir()) == []


@pytest.mark.parametrize("name", ["fashion_mnist", "mnist", "cifar10", "cifar100"])
def test_absent_data_say_what_to_pass(tmp_path, name):
    with pytest.raises(InputError) as caught:
        open_data(DataOptions(name=name, root=tmp_path))
    assert f"data set {name!r} is not in {tmp_path}/" in str(caught.value)
    assert "set data.root to the folder that holds it, or data.download = true to fetch it" in str(caught.value)
