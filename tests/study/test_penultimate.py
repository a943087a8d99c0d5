"""Penultimate features of a run: the same numbers as from its networks themselves, and what is refused."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tiny import RECIPE, Run, command, write_data, write_recipe
from torch import nn

import logitcache.study.features as features_module
import logitcache.study.penultimate as penultimate_module
from logitcache.data import open_data
from logitcache.errors import InputError, MismatchError
from logitcache.keyed import choose
from logitcache.models import build_model
from logitcache.models.network import ForeignNetwork
from logitcache.models.weights import load_checkpoint, read_checkpoint, read_checkpoint_metadata, save_checkpoint
from logitcache.statistics.templates import project, scatter
from logitcache.study.columns import PENULTIMATE
from logitcache.study.penultimate import (
    PenultimateOptions,
    PenultimateSources,
    choose_panels,
    measure_penultimate,
)

CLASSES = (3, 0, 2)
STEP = 1 / 32
TEXT = (
    RECIPE.split("[timing]", maxsplit=1)[0]
    .replace("block = 50", "block = 50\nfeatures = true")
    .replace("epochs = 2", "epochs = 1")
    .replace("seeds = [0, 1]", "seeds = [0]")
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Run:
    """A finished run with cached features of four classes."""
    folder = tmp_path_factory.mktemp("penultimate")
    run = Run(write_recipe(write_data(folder, classes=4, side=16), TEXT), folder / "out")
    for step in ("cache", "distill"):
        answer = command(step, run.recipe, "--out", run.out, "--device", "cpu")
        assert answer.code == 0, answer.err
    return run


@pytest.fixture(scope="module")
def splits(made):
    return open_data(made.context().recipe.data)


def sources(made, splits, split="train", **changes) -> PenultimateSources:
    folders = {path.parent.name: path.parent for path in sorted(made.out.glob("students/*/run.json"))}
    panels = dict(zip(folders, ("first", "second"), strict=False))
    given = PenultimateSources(made.out / "store.zarr", "big", splits[split], folders, panels)
    return replace(given, **changes)


def options(**changes) -> PenultimateOptions:
    return PenultimateOptions(**{"classes": CLASSES, "points": 5, **changes})


@pytest.fixture(scope="module")
def found(made, splits):
    return measure_penultimate(options(), sources(made, splits))


def truth(path, split):
    """Features and head of a checkpoint's network, the inputs normalised by hand."""
    model = read_checkpoint_metadata(path)["model"]
    network = build_model(model, 4, split.shape).eval()
    load_checkpoint(path, network, model)
    mean, std = (torch.tensor(value)[:, None, None] for value in (split.preprocess.mean, split.preprocess.std))
    with torch.no_grad():
        features = network.with_features((split.images / 255 - mean) / std)[1]
    return features.double().numpy(), network.head.weight.detach().double().numpy()


def numbers(features, labels):
    chosen = np.isin(labels, CLASSES)
    wanted = scatter(features[chosen], labels[chosen])
    return dict(zip(PENULTIMATE, (wanted.within, wanted.between, wanted.ratio, wanted.norm), strict=True))


def students(made):
    return [path.parent for path in sorted(made.out.glob("students/*/run.json"))]


@pytest.mark.parametrize("split", ["train", "test"])
def test_runs_measure_as_their_networks_do(made, splits, split):
    found = measure_penultimate(options(split=split), sources(made, splits, split))
    assert list(found.columns) == [folder.name for folder in students(made)]
    labels = splits[split].labels.numpy()
    for folder in students(made):
        wanted = numbers(truth(folder / "model.safetensors", splits[split])[0], labels)
        assert found.columns[folder.name] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_teacher_is_measured_from_the_store(made, splits, split):
    found = measure_penultimate(options(split=split), sources(made, splits, split, runs={}))
    [path] = made.out.glob("teachers/*.safetensors")
    features, _ = truth(path, splits[split])
    assert found.teacher == pytest.approx(numbers(features, splits[split].labels.numpy()), rel=2 * STEP)


def test_no_class_of_the_others_counts(made, splits, found):
    features, _ = truth(students(made)[0] / "model.safetensors", splits["train"])
    every = scatter(features, splits["train"].labels.numpy())
    assert found.columns[students(made)[0].name]["scatter_within"] != pytest.approx(every.within, rel=1e-3)


def test_points_are_the_projections_of_the_same_samples_for_every_network(made, splits, found):
    labels = splits["train"].labels.numpy()
    rows = [
        np.flatnonzero(labels == c)[choose(30, 5, penultimate_module._SEED, g).numpy()] for g, c in enumerate(CLASSES)
    ]
    networks = {"first": students(made)[0] / "model.safetensors", "second": students(made)[1] / "model.safetensors"}
    for panel, path in networks.items():
        features, weight = truth(path, splits["train"])
        wanted = project(features[np.concatenate(rows)], weight[list(CLASSES)])
        points = np.array([(point.x, point.y) for point in found.points if point.panel == panel])
        assert points == pytest.approx(wanted, rel=1e-3, abs=1e-4)


def test_panels_come_in_order_with_their_classes(splits, found):
    names = [splits["train"].classes[number] for number in CLASSES]
    expected = [(panel, name) for panel in ("teacher", "first", "second") for name in names for _ in range(5)]
    assert [(point.panel, point.class_name) for point in found.points] == expected


def test_classes_have_names_too_and_their_order_turns_the_figure_only(made, splits, found):
    names = tuple(splits["train"].classes[number] for number in CLASSES)
    assert measure_penultimate(options(classes=names), sources(made, splits)) == found
    turned = measure_penultimate(options(classes=(0, 2, 3)), sources(made, splits))
    first = students(made)[0].name
    assert turned.columns[first] == pytest.approx(found.columns[first])
    assert turned.points[0] != found.points[0]


def test_inputs_that_are_not_kept_give_the_same(made, splits, found, monkeypatch):
    monkeypatch.setattr("logitcache.student.evaluation._KEEP_BYTES", 0)
    assert measure_penultimate(options(), sources(made, splits)) == found


def test_few_samples_are_all_drawn(made, splits):
    found = measure_penultimate(options(points=1000), sources(made, splits, runs={}))
    assert len(found.points) == 90


def test_measuring_draws_no_random_numbers(made, splits):
    state = torch.get_rng_state()
    measure_penultimate(options(), sources(made, splits))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("part", ["", "classifier"])
def test_a_network_that_left_the_finite_numbers_has_no_values(made, splits, tmp_path, part):
    folder = shutil.copytree(students(made)[0], tmp_path / "diverged")
    path = folder / "model.safetensors"
    network = build_model("cnn-4-4", 4, splits["train"].shape)
    spoiled = {key: value * (math.nan if key.startswith(part) else 1) for key, value in read_checkpoint(path).items()}
    network.core.load_state_dict(spoiled)
    save_checkpoint(path, network, "cnn-4-4", {})
    found = measure_penultimate(options(), sources(made, splits, runs={"x": folder}, panels={"x": "x"}))
    assert found.columns == {"x": {}}
    assert {point.panel for point in found.points} == {"teacher"}


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ((0, 1, 4), "no class 4 in .*; allowed is 0..3"),
        ((-1, 0, 1), "no class -1"),
        ((0, 1, "nothing"), "no class 'nothing'"),
        ((0, "0", 1), "names '0' twice"),
    ],
)
def test_classes_that_there_are_not_are_refused(made, splits, classes, said):
    with pytest.raises(InputError, match=said):
        measure_penultimate(options(classes=classes), sources(made, splits))


def test_samples_are_chosen_by_their_clean_labels(splits):
    noisy = splits["train"].with_noisy_labels(splits["train"].labels.flip(0))
    chosen = features_module.choose_samples(CLASSES, noisy)
    assert noisy.labels[chosen.rows].tolist() == [CLASSES[group] for group in chosen.groups]
    assert len(chosen.rows) == 90


def test_a_class_without_samples_is_refused(made, splits):
    some = splits["train"].take(torch.nonzero(splits["train"].labels != 2).flatten())
    with pytest.raises(InputError, match="class '2' has no samples in split 'train'"):
        measure_penultimate(options(), replace(sources(made, splits), split=some))


def test_other_samples_than_the_stores_are_refused(made, splits):
    some = splits["train"].take(torch.arange(100))
    with pytest.raises(MismatchError, match="fingerprint"):
        measure_penultimate(options(), replace(sources(made, splits), split=some))
    noisy = splits["train"].with_noisy_labels(splits["train"].labels.flip(0))
    with pytest.raises(MismatchError, match="noise"):
        measure_penultimate(options(), replace(sources(made, splits), split=noisy))


def test_a_split_that_the_options_do_not_name_is_refused(made, splits):
    with pytest.raises(InputError, match=r"split 'test' was given, study\.penultimate\.split is 'train'"):
        measure_penultimate(options(), sources(made, splits, "test"))


def test_a_teacher_without_features_is_refused(finished_run):
    splits = open_data(finished_run.context().recipe.data)
    with pytest.raises(InputError, match=r"cached without features; study\.penultimate needs cache\.features = true"):
        measure_penultimate(PenultimateOptions(classes=(0, 1, 2)), sources(finished_run, splits))
    with pytest.raises(InputError, match="no teacher 'other'"):
        measure_penultimate(PenultimateOptions(classes=(0, 1, 2)), sources(finished_run, splits, teacher="other"))


def test_a_run_without_weights_is_named(made, splits, tmp_path):
    with pytest.raises(InputError, match=r"model.safetensors is not there; delete .* and train the run again"):
        measure_penultimate(options(), sources(made, splits, runs={"gone": tmp_path / "gone"}))


def test_a_network_without_a_linear_head_is_named(made, splits, tmp_path, monkeypatch):
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    headless = ForeignNetwork("mine", body, splits["train"].shape, 4)
    monkeypatch.setattr(features_module, "build_model", lambda *_: headless)
    save_checkpoint(tmp_path / "model.safetensors", headless, "mine", {})
    with pytest.raises(InputError, match="has no linear head; leave out study"):
        measure_penultimate(options(), sources(made, splits, runs={"mine": tmp_path}))


def test_equal_classes_are_no_options():
    with pytest.raises(ValidationError, match="must differ"):
        PenultimateOptions(classes=(1, 2, 1))


def row(run_id, seed, label="CE", student="cnn-4", status="done"):
    return {"run_id": run_id, "seed": str(seed), "label": label, "student": student, "status": status}


def test_a_panel_shows_the_lowest_seed_of_a_row():
    runs = [row("a", 10), row("b", 9), row("c", 1, status="diverged"), row("d", 3, "MSE"), row("e", 2, "KL", "wide")]
    assert choose_panels(options(), ("student", "label"), runs) == {
        "b": "cnn-4 · CE",
        "d": "cnn-4 · MSE",
        "e": "wide · KL",
    }
    assert choose_panels(options(), ("student", "label"), runs[:4]) == {"b": "CE", "d": "MSE"}
    assert choose_panels(options(), ("student", "label"), runs[:1]) == {"a": "cnn-4 · CE"}
    assert choose_panels(options(labels=("KL", "MSE")), ("student", "label"), runs) == {
        "d": "cnn-4 · MSE",
        "e": "wide · KL",
    }
    assert choose_panels(options(), ("student", "label"), []) == {}
