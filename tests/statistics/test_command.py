"""The command ``logitcache stats``: what it writes, what its help teaches, and its bar."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from builders import Plan
from click.testing import CliRunner
from rich.console import Console
from tiny import command

from logitcache import statistics
from logitcache.cli.entry import cli
from logitcache.cli.measures import MEASURES
from logitcache.errors import InputError
from logitcache.statistics.catalogue import make_measures

NOISE = {"kind": "symmetric", "rate": 0.3, "seed": 0, "labels": "1" * 16}
WORDS = {
    "labels": "labels",
    "given": "labels",
    "features": "features",
    "head": "last layer",
    "other": "--against",
    "other_features": "features of both",
    "views": "views",
}
"""What the help calls the needs of measures."""


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(*words) -> list[str]:
    done = CliRunner().invoke(cli, ["stats", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output.splitlines()


@pytest.fixture
def store(tmp_path):
    Plan(features=5, samples=30, noise=NOISE).write(tmp_path / "store.zarr")
    return tmp_path / "store.zarr"


def test_it_measures_a_store(store):
    lines = run(store)
    names = {Path(line).name for line in lines}
    assert {"teachers.csv", "statistics.zarr", "tau_by_tau.csv", "penultimate.csv", "labels.csv"} <= names
    assert all(Path(line).exists() for line in lines), "nothing but what was written, where nobody sees a bar"


def test_it_compares_with_another_store(store, tmp_path):
    other = tmp_path / "other.zarr"
    Plan(samples=30, seed=3, teacher="small").write(other)
    words = ["--measure", "pair", "--measure", "views", "--tau", 1, "--tau", 3]
    run(store, "--out", tmp_path / "out", *words, "--against", f"{other}:small", "--scheduler", "sync")
    rows = read(tmp_path / "out" / "pair_by_tau.csv")
    assert [row["tau"] for row in rows] == ["1.0", "3.0"]
    assert not (tmp_path / "out" / "teachers.csv").exists()
    tree = xr.open_datatree(tmp_path / "out" / "statistics.zarr", engine="zarr", consolidated=False)
    assert list(tree.attrs["against"]) == [f"{other}:small"]


def test_labels_can_be_named_or_given(store, tmp_path):
    np.save(tmp_path / "own.npy", np.arange(30) % 4)
    found = {}
    for which in ("clean", "noisy", f"train={tmp_path / 'own.npy'}"):
        run(store, "--out", tmp_path / "out", "--labels", which, "--measure", "agreement", "--measure", "labels")
        [right], [told] = read(tmp_path / "out" / "agreement.csv"), read(tmp_path / "out" / "labels.csv")
        found[which] = float(right["accuracy"])
        assert float(told["label_contradicted"]) == pytest.approx(100 - found[which])
        assert told["label_wrong"] == ""
    clean, noisy, own = found.values()
    assert clean == own != noisy
    run(store, "--out", tmp_path / "out", "--measure", "labels")
    [told] = read(tmp_path / "out" / "labels.csv")
    assert float(told["label_contradicted"]) == pytest.approx(100 - noisy)
    assert float(told["label_wrong"]) == pytest.approx(100 / 3)


def test_labels_that_are_named_count_in_the_tables_of_a_run_too(store, tmp_path):
    run(store, "--out", tmp_path / "noisy", "--labels", "noisy", "--tau", 1)
    run(store, "--out", tmp_path / "clean", "--measure", "agreement")
    accuracies = [
        float(read(tmp_path / name)[0]["accuracy"])
        for name in ("noisy/teachers.csv", "noisy/agreement.csv", "clean/agreement.csv")
    ]
    assert accuracies[0] == accuracies[1] != accuracies[2]


@pytest.mark.parametrize("measures", [("moments",), ("plane",)])
def test_classes_of_the_plane_are_named_and_it_is_made_then(store, tmp_path, measures, monkeypatch):
    head = {"weight": np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)}
    monkeypatch.setattr("logitcache.store.read.Store.classifier", lambda *_: head)
    asked = [word for name in measures for word in ("--measure", name)]
    run(store, "--out", tmp_path / "out", *asked, "--plane", "d", "0", "b")
    rows = read(tmp_path / "out" / "plane_by_sample.csv")
    assert {row["plane_class"] for row in rows} == {"3", "0", "1"}
    assert rows[0]["plane_class"] == "3", "in the order in which they are named"


def test_a_class_that_is_not_there_is_one_line_that_names_those_that_are(store):
    answer = command("stats", store, "--plane", "d", "e", "b")
    assert answer.code == 2
    assert answer.err == "error: measure plane: there is no class 'e'; there are a, b, c, d; or give numbers, 0..3\n"
    answer = command("stats", store, "--plane", "d", "e")
    assert "requires 3 arguments" in answer.err


def test_a_plane_that_was_asked_for_must_be_possible(tmp_path):
    Plan().write(tmp_path / "plain.zarr")
    with pytest.raises(InputError, match=r"'plane' cannot be made of .*without features"):
        statistics.run(tmp_path / "plain.zarr", tmp_path / "out", plane=("a", "b", "c"))
    assert not (tmp_path / "out").exists()


# help


def test_the_measures_are_listed_without_a_store():
    done = CliRunner().invoke(cli, ["stats", "--list"])
    assert done.exit_code == 0
    assert [line.split()[0].rstrip("*") for line in done.output.splitlines()[1:]] == list(statistics.CATALOGUE)


def test_the_help_says_what_each_measure_needs():
    made = {each.name: each for each in make_measures(list(statistics.CATALOGUE), (1.0,))}
    assert list(MEASURES) == list(made)
    for name, about in MEASURES.items():
        needs = set(made[name].needs)
        words = {WORDS[need] for need in needs - ({"features"} if "other_features" in needs else set())}
        assert set(about.needs) == words, name
        assert about.named != statistics.CATALOGUE[name].default, name
        assert about.text


def test_help_has_one_line_a_measure_that_fits_a_terminal():
    listed = CliRunner().invoke(cli, ["stats", "--list"]).output.splitlines()
    shown = CliRunner().invoke(cli, ["stats", "--help"], terminal_width=80).output.splitlines()
    assert max(map(len, shown)) <= 80
    assert [line.strip() for line in listed] == [line.strip() for line in shown[-len(listed) :]]


# the bar


def test_a_terminal_sees_a_bar_and_a_file_does_not(store, monkeypatch):
    for terminal in (True, False):
        shown = io.StringIO()
        console = Console(file=shown, force_terminal=terminal, width=100)
        monkeypatch.setattr("logitcache.pipeline.progress.Console", lambda console=console, **_: console)
        run(store, "--measure", "moments")
        assert ("measures" in shown.getvalue()) == terminal
