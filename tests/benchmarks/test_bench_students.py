"""The benchmark of many students runs in its small mode, and compares what it says."""

from __future__ import annotations

import json

import bench_students
import pytest
import students_usual
import torch


@pytest.fixture(scope="module")
def ratios(finished_run, tmp_path_factory):
    """What a small bench writes about a tiny run, by what is compared."""
    result = tmp_path_factory.mktemp("bench") / "bench_students.json"
    words = ["--recipe", finished_run.recipe, "--run", finished_run.out, "--result", result, "--small"]
    bench_students.main([str(word) for word in words])
    return {(r["what"], r["kind"], r["against"]): r for r in json.loads(result.read_text())["ratios"]}


def test_every_promised_ratio_is_there(ratios):
    assert all(r["ratio"] > 0 and r["seconds"] > 0 for r in ratios.values())
    targets = {key: r["target"] for key, r in ratios.items()}
    assert targets["student epoch", "cached soft targets", "hard labels"] == "<= 1.03"
    assert targets["student epoch", "cached soft targets", "online teacher"] == ""
    assert targets["epoch of 120 images", "usual loop", "this loop"] == ">= 3"
    assert targets["epoch of 100 image files", "cached soft targets", "hard labels"] == "<= 1.03"
    assert targets["2 students", "one after another", "as the program chooses"] == ">= 1.2"
    assert targets["2 students", "one after another", "stacked"] == ""
    assert targets["2 students", "one after another", "one after another, all threads"] == ""


def test_the_usual_loop_trains_on_crops_and_flips_of_the_same_images(finished_run):
    context = finished_run.context()
    split = context.splits["train"]
    images = students_usual.UsualImages(split, padding=0)
    shown, label = images[5]
    assert split.images is not None
    scale = torch.tensor(split.preprocess.std)[:, None, None], torch.tensor(split.preprocess.mean)[:, None, None]
    pixels = ((shown * scale[0] + scale[1]) * 255).round().to(torch.uint8)
    assert label == int(split.labels[5])
    assert torch.equal(pixels, split.images[5]) or torch.equal(pixels.flip(2), split.images[5])
