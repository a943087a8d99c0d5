"""A recipe with noise: the teacher and the students learn what the recipe says, and the store has both labels."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
from builders import tree
from tiny import RECIPE, Run, command, write_data, write_recipe

from logitcache.data import NoiseOptions, noisy_labels
from logitcache.errors import RecipeError
from logitcache.models.weights import read_checkpoint_metadata
from logitcache.pipeline.recipe import read_recipe
from logitcache.soft_targets import open_store

STUDENTS = """
[[students]]
name = "{group}"
model = "cnn-4-4"
objectives = {objectives}
labels = "{labels}"
training = {{{{ epochs = 2, batch = 20 }}}}
"""
TABLE = """
[data.noise]
kind = "asymmetric"
rate = 0.45
seed = 3

"""
NOISE = NoiseOptions(kind="asymmetric", rate=0.45, seed=3)


def recipe(text: str = RECIPE) -> str:
    """The tiny recipe with noise, a teacher, and a group of students for each choice of labels."""
    head = text.partition("[[students]]")[0].replace("[views]", f"{TABLE}[views]")
    groups = [("given", '["ce"]', "noisy"), ("true", '["ce"]', "clean"), ("unsaid", '["ce"]', "auto")]
    groups += [("soft", '[{{ loss = "kl", tau = 4, alpha = 1 }}]', "auto")]
    return head + "".join(STUDENTS.format(group=g, objectives=o, labels=choice) for g, o, choice in groups)


@pytest.fixture(scope="module")
def run(tmp_path_factory, undrawn) -> Run:
    """The recipe's run, finished."""
    folder = tmp_path_factory.mktemp("noisy")
    made = Run(write_recipe(write_data(folder), recipe()), folder / "out")
    answer = made("run")
    assert answer.code == 0, answer.err
    return made


def weights(run: Run) -> str:
    return open_store(run.out / "store.zarr").logits("big").record.weights


def logits(run: Run, group: str) -> np.ndarray:
    [path] = run.out.glob(f"students/{group}-*/test_logits.npy")
    return np.load(path)


def test_the_store_has_clean_and_noisy_labels_and_says_what_noise(run):
    store, split = open_store(run.out / "store.zarr"), run.context().splits["train"]
    truth = np.load(run.recipe.parent / "train_labels.npy")
    assert (store.labels("train") == truth).all()
    expected = noisy_labels(split.labels, split.index, split.classes, NOISE)
    assert (store.labels("train", "noisy") == expected.numpy()).all()
    assert (store.labels("train", "noisy") != truth).sum() == round(0.45 * 120)
    assert store.split("test").noise is None


def test_students_on_noisy_labels_differ_from_those_on_clean_ones(run):
    given, true, unsaid = (logits(run, group) for group in ("given", "true", "unsaid"))
    assert np.abs(given - true).max() > 0.01
    assert (unsaid == given).all(), "auto is noisy where there is noise"
    with (run.out / "results.csv").open(encoding="utf-8", newline="") as file:
        labels = {row["group"]: row["labels"] for row in csv.DictReader(file)}
    assert labels == {"given": "noisy", "true": "clean", "unsaid": "noisy", "soft": "clean"}


def test_teacher_and_students_are_those_of_a_data_set_with_these_labels(run, tmp_path):
    """The noisy labels, put into the file of labels, and no noise: the same weights and logits come out."""
    data = write_data(tmp_path)
    np.save(data / "train_labels.npy", open_store(run.out / "store.zarr").labels("train", "noisy"))
    text = recipe().replace(TABLE, "").replace('labels = "noisy"', 'labels = "auto"')
    other = Run(write_recipe(data, text), tmp_path / "out")
    assert other("cache").code == other("distill").code == 0
    assert weights(other) == weights(run)
    for group in ("given", "soft"):
        assert (logits(other, group) == logits(run, group)).all()


def trained(run: Run) -> str:
    return read_checkpoint_metadata(run.out / "teachers/big.safetensors")["teach"]


def test_the_teacher_learns_noisy_labels_unless_the_recipe_says_clean(run, finished_run, tmp_path):
    """And a teacher of clean labels is the one of a recipe without noise, under the same fingerprint."""
    clean = Run(run.recipe, tmp_path / "clean")
    assert clean("cache", "teachers.teach.labels=clean").code == 0
    assert weights(clean) == weights(finished_run) != weights(run)
    assert trained(clean) == trained(finished_run) != trained(run)


def test_without_noise_the_fingerprint_of_a_teachers_training_is_what_it_was(finished_run):
    """As version 0.1 computed it, which knew no noise: runs of then are gone on with."""
    assert trained(finished_run) == "858fa904adbb1478"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.noise.rate=0.2", ["rate = 0.45, seed = 3", "rate = 0.2, seed = 3"]),
        ("data.noise.seed=4", ["rate = 0.45, seed = 3", "rate = 0.45, seed = 4"]),
        ("data.noise.kind=symmetric", ["kind = asymmetric", "kind = symmetric"]),
    ],
)
@pytest.mark.parametrize("step", ["cache", "distill", "run"])
def test_other_noise_is_refused_with_both_sides_and_changes_nothing(run, tmp_path, step, override, said):
    mine = run.copy(tmp_path)
    before = tree(mine.out)
    answer = mine(step, override)
    assert answer.code == 2
    assert all(part in answer.err for part in ["the noise of the labels (data.noise) in split 'train'", *said])
    assert tree(mine.out) == before


def test_a_recipe_without_noise_does_not_meet_the_store(run, tmp_path):
    mine = run.copy(tmp_path)
    without = recipe().replace(TABLE, "")
    without = without.replace('labels = "noisy"', 'labels = "auto"')
    other = Run(write_recipe(run.recipe.parent, without, "without.toml"), mine.out)
    answer = other("distill")
    assert answer.code == 2
    assert "given was none" in answer.err


def test_a_teacher_taught_on_other_labels_is_refused(run, tmp_path):
    mine = run.copy(tmp_path)
    shutil.rmtree(mine.out / "store.zarr")
    answer = mine("cache", "teachers.teach.labels=clean")
    assert answer.code == 2
    assert "big.safetensors was trained by other settings (fingerprint" in answer.err


def test_a_second_run_does_nothing(run, tmp_path):
    mine = run.copy(tmp_path)
    before = tree(mine.out)
    assert mine("run").code == 0
    assert tree(mine.out) == before


def test_info_tells_the_noise_on_a_line(run):
    answer = command("info", run.out / "store.zarr")
    assert "noisy labels: kind = asymmetric, rate = 0.45, seed = 3; 54 of them wrong" in answer.out
    assert answer.out.count("noisy labels") == 1, "of the train split"


def test_data_that_may_have_noisy_labels_are_no_fault(tmp_path):
    """A data set of the user's own may bring them; of a table that is wrong itself nothing is known."""
    text = recipe().replace(TABLE, "")
    own = '[data]\nname = "my_data:make"\n[views]' + text.partition("[views]")[2]
    assert read_recipe(write_recipe(tmp_path, own), []).students[0].labels == "noisy"
    with pytest.raises(RecipeError) as error:
        read_recipe(write_recipe(tmp_path, text), ["data.rot=1"])
    assert [fault.key for fault in error.value.faults] == ["data.rot"]


def test_noisy_labels_nobody_makes_are_faults_with_the_rest(tmp_path):
    text = recipe().replace(TABLE, "")
    text = text.replace("learning_rate = 0.05 }}", 'learning_rate = 0.05, labels = "noisy" }}')
    with pytest.raises(RecipeError) as error:
        read_recipe(write_recipe(tmp_path, text), [])
    assert [(fault.key, fault.value) for fault in error.value.faults] == [
        ("teachers.0.teach.labels", '"noisy"'),
        ("students.0.labels", '"noisy"'),
    ]
    assert "data.noise makes none; give it a table data.noise" in error.value.faults[0].allowed
