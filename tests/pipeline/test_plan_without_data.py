"""A recipe can be planned before its data are here, where their size is known; nothing else can be done with it."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from builders import tree
from PIL import Image
from tiny import Run, command

from logitcache.errors import InputError
from logitcache.pipeline.plan import make_plan

RECIPE = """
data = {{ name = "{name}", root = "{root}" }}
views = {{ kind = "crop_flip", count = 2 }}
cache = {{ features = true, inference = {{ batch = 4 }} }}
teachers = [{{ name = "big", model = "cnn-4-8", teach = {{ epochs = 2 }} }}]
students = [{{ name = "few", model = "cnn-4-4", objectives = ["ce", "mse"], training = {{ epochs = 3 }} }}]
"""


@pytest.fixture
def absent(tmp_path) -> Run:
    """A recipe on CIFAR-100, which is not in its folder."""
    (tmp_path / "data").mkdir()
    recipe = tmp_path / "absent.toml"
    recipe.write_text(RECIPE.format(name="cifar100", root=tmp_path / "data"))
    return Run(recipe, tmp_path / "runs" / "out")


def planned(repository, name, tmp_path) -> str:
    """What ``plan`` says of a recipe that comes with logitcache, its data and results in an empty folder."""
    recipe = repository / "pipelines" / "kim2021" / name
    root = f"data.root={tmp_path / 'data'}"
    answer = command("plan", recipe, "--out", tmp_path / "runs" / "out", "--device", "cpu", "--set", root)
    assert (answer.code, answer.err) == (0, "")
    assert tree(tmp_path) == {}, "nothing is written"
    return answer.out


@pytest.mark.parametrize(
    ("name", "note", "passes"),
    [
        (
            "losses.toml",
            "50,000 train and 10,000 test samples of 3x32x32 in 100 classes",
            {"teacher": 50_000 * 163 + 10_000},
        ),
        (
            "imagenet.toml",
            "1,281,167 train and 50,000 test samples of 3x224x224 in 1000 classes",
            {"resnet-152": 1_281_167 * 9 + 50_000},
        ),
    ],
)
def test_the_papers_recipes_are_planned_without_their_data(repository, tmp_path, name, note, passes):
    lines = planned(repository, name, tmp_path).splitlines()
    assert f"data: not here yet; planned from the known size: {note}" in lines
    for teacher, count in passes.items():
        [step] = [line for line in lines if re.match(rf"cache {teacher} ", line)]
        assert f"{count:,} forward passes, about " in step
        for split in ("train", "test"):
            [array] = [line for line in lines if line.startswith(f"store: {split}/{teacher}/logits: ")]
            assert re.search(r" rows, [0-9.]+ [kMG]B \(estimated\)$", array)


def test_a_plan_has_all_steps_and_their_costs(absent):
    plan = make_plan(absent.context())
    assert [step.name for step in plan.steps][:2] == ["teach big", "cache big"]
    assert not any(step.done for step in plan.steps)
    assert plan.steps[1].forward_passes == 160_000
    assert plan.steps[1].seconds > 0
    assert [(array.name, array.rows) for array in plan.arrays] == [
        ("train/big/logits", 150_000),
        ("train/big/features", 150_000),
        ("test/big/logits", 10_000),
        ("test/big/features", 10_000),
    ]
    assert plan.break_even == pytest.approx(160_000 / (50_000 * 3))


def test_a_plan_fetches_nothing(absent):
    before = tree(absent.out.parents[1])
    assert absent("plan", "data.download=true").code == 0
    assert tree(absent.out.parents[1]) == before


def test_only_plans_do_without_data(absent):
    for name in ("run", "cache", "distill"):
        answer = absent(name)
        assert answer.code == 2
        assert "data set 'cifar100' is not in" in answer.err
    assert not absent.out.exists()
    assert "not here yet" in command("run", absent.recipe, "--out", absent.out, "--dry-run").out


def test_what_is_stored_is_not_planned_without_the_data_it_is_of(absent, finished_run):
    shutil.copytree(finished_run.out / "store.zarr", absent.out / "store.zarr")
    with pytest.raises(InputError, match="data set 'cifar100' is not in"):
        make_plan(absent.context())


def test_a_data_set_of_unknown_size_is_not_planned(absent):
    with pytest.raises(InputError, match=r"set data\.root to the folder that holds train/CLASS"):
        make_plan(absent.context("data.name=image_folder"))


def test_more_samples_than_there_will_be_are_refused(absent):
    with pytest.raises(InputError, match="the split has 50000 samples"):
        make_plan(absent.context("data.samples=50001"))


def test_other_counts_than_expected_are_noted_and_no_more(absent):
    root = absent.out.parents[1] / "data"
    for place in ("train/a", "train/b", "val/a"):
        (root / place).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / place / "0.png")
    folder = ("data.name=image_folder", "data.size=8", "views.padding=1")

    def notes(train, test, classes, *more):
        expect = f"data.expect={{train = {train}, test = {test}, classes = {classes}}}"
        return make_plan(absent.context(*folder, expect, *more)).notes

    assert notes(2, 1, 2) == ()
    assert notes(1_281_167, 1, 1000) == (
        "data: train is 2, and data.expect says 1,281,167",
        "data: classes is 2, and data.expect says 1,000",
    )
    assert notes(1_281_167, 1, 2, "data.samples=1") == (), "a part is asked for"
