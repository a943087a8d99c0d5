"""Teachers that learn from the cached logits of teachers before them: the weights that students would have got."""

from __future__ import annotations

import re
import shutil

import pytest
import torch
from builders import tree
from tiny import DATA, Run, write_data, write_recipe

from logitcache.models.weights import read_checkpoint, read_checkpoint_metadata
from logitcache.pipeline.lessons import lessons_fingerprint
from logitcache.pipeline.schema import TeachOptions
from logitcache.soft_targets import open_store

HEAD = (
    DATA
    + """
[views]
kind = "crop_flip"
padding = 1
count = 1

[cache]
features = true
encoding = {{ kind = "uniform" }}
block = 60

[sweep]
stack = "never"

[[teachers]]
name = "large"
model = "cnn-4-8"
teach = {{ epochs = 1, batch = 20, learning_rate = 0.05 }}

[[teachers]]
name = "other"
model = "cnn-4-6"
teach = {{ epochs = 1, batch = 20, learning_rate = 0.05, seed = 1 }}
"""
)
TAUGHT = """
[[teachers]]
name = "{name}"
model = "cnn-4-4"

[teachers.teach]
epochs = 2
batch = 20
seed = 3
ema = 0.9
{how}
objective = {objective}
"""
STUDENT = """
[[students]]
name = "{name}"
model = "cnn-4-4"
seeds = [3]
training = {{{{ epochs = 2, batch = 20, ema = 0.9 }}}}
{how}
objectives = [{objective}]
"""
BOTH = 'teachers = ["large", "other"]'
# name: whom from, and what is minimised
LESSONS = {
    "medium": ('teachers = ["large"]', '{{ loss = "kl", tau = 3, alpha = 0.5 }}'),
    "mean": (
        BOTH + '\ncombine = {{ combine = "mean_probs", tau = 2, weights = [1, 3] }}',
        '{{ loss = "kl", tau = 2 }}',
    ),
    "features": ('teachers = ["other"]', '{{ loss = "kl", tau = 4, also = ["feature_mse"] }}'),
    "members": (BOTH, '"aekd"'),
}
GRANDCHILD = TAUGHT.format(name="small", how='teachers = ["medium"]', objective='{{ loss = "kl", tau = 3 }}')


def taught() -> str:
    return "".join(TAUGHT.format(name=name, how=how, objective=said) for name, (how, said) in LESSONS.items())


def students() -> str:
    return "".join(STUDENT.format(name=name, how=how, objective=said) for name, (how, said) in LESSONS.items())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Two teachers of labels, those who learn from them, one more generation, and students of the same lessons."""
    folder = tmp_path_factory.mktemp("taught")
    made = Run(write_recipe(write_data(folder, samples=60), HEAD + taught() + GRANDCHILD + students()), folder / "out")
    for name in ("cache", "distill"):
        answer = made(name)
        assert answer.code == 0, answer.err
    return made


def weights(run: Run, name: str) -> dict[str, torch.Tensor]:
    return read_checkpoint(run.out / f"teachers/{name}.safetensors")


@pytest.mark.parametrize("name", LESSONS)
def test_a_taught_teacher_is_the_student_of_the_same_lessons_bit_by_bit(run, name):
    [path] = run.out.glob(f"students/{name}-*/model.safetensors")
    mine, students = weights(run, name), read_checkpoint(path)
    assert mine.keys() == students.keys()
    assert all(torch.equal(mine[key], students[key]) for key in mine)


def test_it_is_cached_like_any_teacher_and_teaches_others(run):
    store = open_store(run.out / "store.zarr")
    names = {"large", "other", *LESSONS, "small"}
    assert set(store.teachers("train")) == set(store.teachers("test")) == names
    assert not any(list(store.logits(name, "train").commits.pending()) for name in names)
    assert "test_accuracy" in read_checkpoint_metadata(run.out / "teachers/small.safetensors")
    medium, small = weights(run, "medium"), weights(run, "small")
    assert not any(torch.equal(small[key], medium[key]) for key in medium if key.endswith("weight"))


def test_the_plan_says_whom_it_learns_from(run):
    plan = run("plan").out
    assert "cnn-4-4, 2 epochs, KL τ=3, α=0.5 from large" in plan
    assert re.search("cnn-4-4, 2 epochs, AE.*KD.* from large and other", plan)


def test_it_learns_from_the_store_alone(run, tmp_path):
    """A teacher whose weights are gone still teaches; what comes out is the same."""
    one = HEAD.partition('[[teachers]]\nname = "other"')[0]
    medium = TAUGHT.format(name="medium", how=LESSONS["medium"][0], objective=LESSONS["medium"][1])
    mine = Run(write_recipe(run.recipe.parent, one, "one.toml"), tmp_path / "out")
    assert mine("cache").code == 0
    shutil.rmtree(tmp_path / "out/teachers")
    write_recipe(run.recipe.parent, one + medium, "one.toml")
    answer = mine("cache")
    assert answer.code == 0, answer.err
    assert "teach medium (cnn-4-4, KL τ=3, α=0.5 from large) ..." in answer.out
    assert not (tmp_path / "out/teachers/large.safetensors").exists()
    again = read_checkpoint(tmp_path / "out/teachers/medium.safetensors")
    assert all(torch.equal(again[key], value) for key, value in weights(run, "medium").items())


@pytest.mark.parametrize(
    "override",
    [
        "teachers.2.teach.objective.tau=4",
        'teachers.2.teach.teachers=["other"]',
        'teachers.2.teach.teachers=["large", "other"]',
    ],
)
def test_other_lessons_are_refused_and_change_nothing(run, override):
    before = tree(run.out)
    answer = run("cache", override)
    assert answer.code == 2
    assert "medium.safetensors was trained by other settings (fingerprint" in answer.err
    assert tree(run.out) == before


def test_a_teacher_of_a_teacher_that_became_another_one_is_refused(run, tmp_path):
    mine = run.copy(tmp_path)
    shutil.rmtree(mine.out / "store.zarr")
    (mine.out / "teachers/large.safetensors").unlink()
    answer = mine("cache", "teachers.0.teach.seed=5")
    assert answer.code == 2
    assert "medium.safetensors was trained by other settings (fingerprint" in answer.err


def prints(run: Run, place: int, *overrides: str) -> str:
    context = run.context(*overrides)
    teacher = context.recipe.teachers[place]
    return lessons_fingerprint(context, teacher, teacher.teach)


def test_the_fingerprint_has_all_that_decides_the_weights_and_nothing_else(run):
    same = prints(run, 2)
    changes = ("teachers.2.teach.combine.weights=[2]", "teachers.2.teach.objective.alpha=0.25")
    assert len({same, *(prints(run, 2, change) for change in changes)}) == 3
    assert prints(run, 2, "teachers.2.teach.checkpoint_seconds=1") == same


def test_options_that_came_later_leave_interrupted_trainings_as_they_were():
    options = TeachOptions(epochs=1)
    assert not {"teachers", "objective", "combine"} & set(options.record())
    assert options.record() == TeachOptions(epochs=1, teachers=(), objective=None).record()
    changed = TeachOptions(epochs=1, teachers=("a",), objective="kl", combine={"weights": [1]}).record()
    assert {"teachers", "objective", "combine"} <= set(changed)
