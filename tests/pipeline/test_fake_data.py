"""The study's recipes start on fake data of the right shape: both stages, a step or two of each.

What is replaced, for time: counts of images, views and epochs, and the networks by smaller ones of the same make.
"""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image
from tiny import Run

from logitcache.models import build_model
from logitcache.models.weights import save_checkpoint

SHORT = ("students.training.epochs=1", "students.training.batch=20", "students.seeds=[0]", "views.count=1")


def table(**entries) -> str:
    """A table as TOML writes it on one line."""
    return "{" + ", ".join(f'{key} = "{value}"' for key, value in entries.items()) + "}"


def finish(run: Run, *overrides: str) -> list[dict[str, str]]:
    """Run both stages; the rows of the results."""
    for name in ("cache", "distill"):
        answer = run(name, *overrides)
        assert (answer.code, answer.err) == (0, "")
    with (run.out / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def cifar100(tmp_path) -> str:
    """Noise of CIFAR-100's shape, as an override of ``data``: 60 train and 20 test images, labels up to 99."""
    random, files = np.random.default_rng(0), {}
    for split, key, count in (("train", "", 60), ("test", "test_", 20)):
        files |= {f"{key}images": tmp_path / f"{split}.npy", f"{key}labels": tmp_path / f"{split}_labels.npy"}
        np.save(files[f"{key}images"], random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
        np.save(files[f"{key}labels"], np.linspace(0, 99, count).astype(np.int64))
    return f"data={table(name='arrays', **files)}"


@pytest.fixture
def imagenet(tmp_path):
    """A folder of JPEG files of several sizes in ImageNet's layout: three classes, 24 train and 6 held-out images."""
    random, root = np.random.default_rng(0), tmp_path / "imagenet"
    for split, each in (("train", 8), ("val", 2)):
        for name in ("n01440764", "n01443537", "n01484850"):
            (root / split / name).mkdir(parents=True)
            for number in range(each):
                pixels = random.integers(0, 256, (40 + 4 * number, 60, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.JPEG")
    return root


def test_the_recipe_of_losses_starts_on_images_of_cifar_100s_shape(repository, tmp_path, cifar100):
    run = Run(repository / "pipelines/kim2021/losses.toml", tmp_path / "runs" / "out")
    smaller = (
        "teachers.0.model=wrn-10-1",
        "teachers.0.teach.epochs=1",
        "teachers.0.teach.views.count=1",
        "students.model=wrn-10-1",
    )
    rows = finish(run, cifar100, *smaller, *SHORT)
    assert {row["status"] for row in rows} == {"done"}
    assert {row["objective"] for row in rows} == {"ce", "kl", "kl_inf", "mse", "mse_half", "mse_centered"}
    assert {row["samples"] for row in rows} == {"60"}


def test_the_recipe_of_imagenet_starts_on_a_folder_of_jpeg_files(repository, tmp_path, imagenet):
    run = Run(repository / "pipelines/kim2021/imagenet.toml", tmp_path / "runs" / "out")
    model, side = "torchvision/mobilenet_v3_small", 64
    weights = tmp_path / "weights.safetensors"
    save_checkpoint(weights, build_model(model, 3, (3, side, side)), model, {})
    smaller = (
        f"data.root={imagenet}",
        f"data.size={side}",
        f'views.transforms=[{{name = "RandomResizedCrop", size = {side}}}, "RandomHorizontalFlip"]',
        f"teachers=[{table(name='teacher', model=model, checkpoint=weights)}]",
        f"students.model={model}",
        "cache.workers=0",
    )
    rows = finish(run, *smaller, *SHORT)
    assert [row["objective"] for row in rows] == ["ce", "kl", "mse"]
    assert {row["status"] for row in rows} == {"done"}
    store = run.context(*smaller, *SHORT).store()
    assert store.teachers("train") == store.teachers("test") == ("teacher",)
    assert store.logits("teacher", "train").record.precision == "bf16"
