"""What sweeps measure on train samples, computed again from what the runs left: weights, data and store."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from builders import tree
from sweeps import curve, sweep, table

from logitcache.data import open_data
from logitcache.models import build_model
from logitcache.models.weights import load_checkpoint
from logitcache.soft_targets import CombineOptions, SoftTargets, open_store
from logitcache.student.records import TRAIN_MEASURES
from logitcache.sweep.workshop import Workshop

MEASURE = "students.training.measure_train=true"
WITHOUT_TEACHER = TRAIN_MEASURES[:2]


def measures(row) -> dict[str, float | None]:
    """A row's numbers on train samples; None where the cell is empty."""
    return {name: float(row[name]) if row[name] not in ("", None) else None for name in TRAIN_MEASURES}


def expected(run, spec) -> dict[str, float]:
    """From the weights that a run left, in float64."""
    split = open_data(run.context().recipe.data)["train"]
    network = build_model(spec.model, len(split.classes), split.shape)
    load_checkpoint(run.out / "students" / spec.run_id / "model.safetensors", network, spec.model)
    rows = Workshop(run.context().sweep()).rows(spec)
    pixels = split.images[rows].double() / 255
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (split.preprocess.mean, split.preprocess.std))
    with torch.no_grad():
        ours = network.eval()(((pixels - mean) / std).float()).double().numpy()
    found = {"train_accuracy": 100 * (ours.argmax(1) == split.labels[rows].numpy()).mean(), "logit_mean": ours.mean()}
    if spec.teachers:
        reader = open_store(run.out / "store.zarr").logits("big", "train")
        clean = np.concatenate([reader.read(0, block) for block in range(reader.blocks)])
        theirs = clean[rows.numpy()].astype(np.float64)
        apart = ours - theirs
        found["teacher_logit_mean"] = theirs.mean()
        found["logit_distance"] = np.linalg.norm(apart, axis=1).mean()
        found["mean_share"] = (apart.shape[1] * apart.mean(1) ** 2).sum() / (apart**2).sum()
    return found


@pytest.fixture(scope="module")
def measured(finished_run, tmp_path_factory):
    """The run's students trained anew, and measured on their train samples."""
    run = finished_run.copy(tmp_path_factory.mktemp("measured"))
    for record in run.out.glob("students/*/run.json"):
        record.unlink()
    assert sweep(run, MEASURE) == 4
    return run


def test_results_have_the_last_epochs_measures(measured):
    rows, runs = table(measured.out), measured.context().runs()
    assert [row["run_id"] for row in rows] == [run.run_id for run in runs], "what is looked at changes no id"
    for row, run in zip(rows, runs, strict=True):
        found = {name: value for name, value in measures(row).items() if value is not None}
        assert found == pytest.approx(expected(measured, run), rel=1e-4)
        assert 0 < found["train_accuracy"] <= 100
        assert found.keys() == set(TRAIN_MEASURES if run.teachers else WITHOUT_TEACHER)
        curves = curve(measured.out / "students" / run.run_id)
        assert [record["train_accuracy"] is not None for record in curves] == [True, True]
        assert measures(row) == {name: curves[-1][name] for name in TRAIN_MEASURES}


def test_the_columns_stand_at_the_end(measured):
    with (measured.out / "results.csv").open(encoding="utf-8", newline="") as file:
        assert tuple(next(csv.reader(file))[-5:]) == TRAIN_MEASURES


def test_measuring_changes_no_weights(measured, finished_run):
    ours, theirs = tree(measured.out / "students"), tree(finished_run.out / "students")
    assert ours.keys() == theirs.keys()
    same = {name for name in ours if name.endswith((".safetensors", ".npy"))}
    assert len(same) == 8
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}


def test_without_it_nothing_is_measured(finished_run):
    assert all(measures(row) == dict.fromkeys(TRAIN_MEASURES) for row in table(finished_run.out))


def test_students_that_train_in_one_stack_are_each_measured_on_their_own(cached, measured):
    sweep(cached, MEASURE, stack="always", way="stacked")
    for ours, theirs in zip(table(cached.out), table(measured.out), strict=True):
        assert ours["mode"] == "stacked 4"
        values, others = (np.array(list(measures(row).values()), float) for row in (ours, theirs))
        np.testing.assert_allclose(values, others, rtol=1e-3, err_msg=ours["run_id"])
    distances = {row["logit_distance"] for row in table(cached.out)}
    assert len(distances) == 3, "none without a teacher, and one for each seed"


# what a run's numbers are compared with


@pytest.fixture
def workshop(finished_run):
    """The finished run's workshop; nothing is written."""
    return Workshop(finished_run.context().sweep())


def looked_at(workshop, spec, **training) -> dict[str, float | None]:
    """The measures of a run's network as it begins."""
    training = {"measure_train": True, **training}
    spec = replace(spec, training=spec.training.model_copy(update=training))
    return asdict(workshop.evaluation(spec)(workshop.student(spec)[0]).train)


@pytest.fixture
def kl(finished_run):
    """A run with a teacher."""
    return finished_run.context().runs()[2]


def test_only_the_rows_that_a_run_sees_count(workshop, kl):
    few, all_rows = looked_at(workshop, kl), looked_at(workshop, replace(kl, samples=120))
    assert few["teacher_logit_mean"] != all_rows["teacher_logit_mean"]
    soft = workshop.soft_targets(("big",), CombineOptions())
    assert all_rows["teacher_logit_mean"] == pytest.approx(soft.gather(torch.arange(120)).double().mean().item())
    assert few["teacher_logit_mean"] == pytest.approx(soft.gather(workshop.rows(kl)).double().mean().item())


@pytest.mark.parametrize("change", [{"combine": CombineOptions(combine="mean_probs", tau=4.0)}, {"targets": "online"}])
def test_teachers_without_logits_of_their_own_in_the_cache_are_not_compared_with(workshop, kl, change):
    found, compared = looked_at(workshop, replace(kl, **change)), looked_at(workshop, kl)
    assert {name: found[name] for name in WITHOUT_TEACHER} == {name: compared[name] for name in WITHOUT_TEACHER}
    assert [found[name] for name in TRAIN_MEASURES[2:]] == [None, None, None]
    assert None not in compared.values()


def test_cached_logits_with_holes_are_not_compared_with(workshop, kl, monkeypatch):
    monkeypatch.setattr(SoftTargets, "whole", False)
    assert [looked_at(workshop, kl)[name] for name in TRAIN_MEASURES[2:]] == [None, None, None]


def test_train_accuracy_is_against_the_labels_that_the_run_trains_on(finished_run, kl):
    noise = {"kind": "symmetric", "rate": 0.9, "seed": 1}
    context = finished_run.context().sweep()
    noisy = open_data(context.data.model_validate({**context.data.model_dump(), "noise": noise}))["train"]
    workshop = Workshop(context)
    workshop.splits = {"train": noisy}
    spec = replace(kl, samples=120, teachers=())
    network, _ = workshop.student(spec)
    answers = workshop.evaluator("float32").logits(network).argmax(1)
    for labels in ("clean", "noisy"):
        right = (answers == noisy.labels_for(labels)).double().mean().item()
        assert looked_at(workshop, replace(spec, labels=labels))["train_accuracy"] == pytest.approx(100 * right)
    assert not torch.equal(noisy.labels_for("clean"), noisy.labels_for("noisy"))


def test_precision_is_that_of_the_training(workshop, kl):
    assert looked_at(workshop, kl, precision="bf16")["logit_mean"] != looked_at(workshop, kl)["logit_mean"]


def test_a_run_record_has_numbers_that_json_knows(measured):
    for path in measured.out.glob("students/*/run.json"):
        record = json.loads(path.read_text(), parse_constant=pytest.fail)
        assert {type(record[name]) for name in WITHOUT_TEACHER} == {float}
