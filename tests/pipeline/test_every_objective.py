"""Every loss trains from a recipe: one epoch on tiny data, with cached features, two teachers where it weighs them."""

from __future__ import annotations

import csv
import json

import pytest
from tiny import DATA, Run, write_data, write_recipe

from logitcache.student.objectives import KINDS

RECIPE = (
    DATA
    + """
[views]
kind = "crop_flip"
padding = 1
count = 1

[[teachers]]
name = "big"
model = "cnn-4-8"
teach = {{ epochs = 1, batch = 20, learning_rate = 0.05 }}

[[teachers]]
name = "other"
model = "cnn-4-6"
teach = {{ epochs = 1, batch = 20, learning_rate = 0.05, seed = 1 }}

[cache]
features = true
encoding = {{ kind = "uniform" }}
block = 50
inference = {{ batch = 30 }}

[[students]]
name = "each"
model = "cnn-4-4"
samples = 60
objectives = "ce"
training = {{ epochs = 1, batch = 16 }}
"""
)
STANDARD = [name for name, kind in KINDS.items() if {"logits", "members"} & set(kind.needs)]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Two cached teachers with features."""
    folder = tmp_path_factory.mktemp("every")
    run = Run(write_recipe(write_data(folder, samples=120), RECIPE), folder / "out")
    answer = run("cache")
    assert answer.code == 0, answer.err
    return run


def trained(run, objective, *overrides) -> list[dict[str, str]]:
    """The rows of the students that an objective makes."""
    teachers = () if "aekd" in objective else ('students.teachers=["big"]',)
    answer = run("distill", f"students.objectives=[{objective}]", *teachers, *overrides)
    assert answer.code == 0, answer.err
    with (run.out / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def losses_of(run, row) -> list[float | None]:
    lines = (run.out / "students" / row["run_id"] / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.parametrize("loss", KINDS)
def test_every_loss_trains_by_its_bare_name(run, loss):
    [row] = trained(run, f'"{loss}"')
    assert (row["status"], row["objective"], row["epochs"]) == ("done", loss, "1")
    assert row["run_id"].startswith(f"each-cnn-4-4-{loss}-")
    assert losses_of(run, row) != [None]


def test_every_published_setting_trains(run):
    published = [kind.published.replace("warmup = 20", "warmup = 1") for name, kind in KINDS.items() if name != "aekd"]
    rows = trained(run, ", ".join(published))
    assert [row["status"] for row in rows] == ["done"] * len(published)
    assert "DKD τ=4, CE×1, warm-up 1" in [row["label"] for row in rows]


def test_losses_of_logits_train_standardised(run):
    tables = [f'{{ loss = "{name}", standardize = true }}' for name in STANDARD if name != "aekd"]
    rows = trained(run, ", ".join(tables))
    assert [row["status"] for row in rows] == ["done"] * len(tables)


def test_losses_are_combined_weighted_and_scheduled(run):
    also = '[{ loss = "rkd", weight = 0.1 }, "cosine"]'
    mixed = f'{{ loss = "kl", tau = [2, 4], alpha = 0.9, warmup = 1, until = 2, also = {also} }}'
    rows = trained(run, mixed, "students.training.epochs=3")
    assert [row["label"] for row in rows] == [
        f"KL τ={tau}, α=0.9, warm-up 1, until 2 + RKD, ×0.1 + cosine" for tau in (2, 4)
    ]
    assert [row["status"] for row in rows] == ["done"] * 2
    for row in rows:
        assert None not in losses_of(run, row)


def test_learned_parts_are_the_same_in_every_training(run, tmp_path):
    again = run.copy(tmp_path)
    [row] = trained(run, '"cosine"')
    (again.out / "students" / row["run_id"] / "run.json").unlink(missing_ok=True)
    [other] = trained(again, '"cosine"')
    assert losses_of(run, row) == losses_of(again, other)


def test_a_teacher_without_features_is_a_fault_before_anything_is_trained(run):
    answer = run("distill", 'students.objectives=["rkd"]', 'students.teachers=["big"]', "cache.features=false")
    assert answer.code == 2
    assert "cache.features = false: must be true: students.0.objectives.0 reads penultimate features" in answer.err
