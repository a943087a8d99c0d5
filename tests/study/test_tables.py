"""Rows are runs that differ by seed, with mean and spread of each measure."""

from __future__ import annotations

import csv
import math

import pytest
from studies import run, seeds

from logitcache.study.options import StudyOptions
from logitcache.study.tables import make_rows, mixed_columns, write_rows

OPTIONS = StudyOptions(title="t", rows=("student", "label"), measures=("test_accuracy", "train_accuracy"))
RUNS = [
    *seeds([80, 82], train_accuracy=99),
    run("", seed=2, status="diverged"),
    *seeds([70], student="b"),
]


def test_rows_have_mean_and_spread_over_finished_runs():
    first, second = make_rows(OPTIONS, RUNS)
    assert first.values == ("cnn-4", "KL")
    assert first.name == "cnn-4 · KL"
    assert (first.n, len(first.runs)) == (2, 3)
    assert first.measures["test_accuracy"].mean == 81
    assert first.measures["test_accuracy"].std == pytest.approx(math.sqrt(2))
    assert second.measures["test_accuracy"].mean == 70
    assert math.isnan(second.measures["test_accuracy"].std)
    assert math.isnan(second.measures["train_accuracy"].mean)


def test_the_table_leaves_what_was_not_measured_empty(tmp_path):
    path = write_rows(OPTIONS, make_rows(OPTIONS, RUNS), tmp_path / "table.csv")
    with path.open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["n"], first["unfinished"]) == ("2", "1")
    assert first["test_accuracy_mean"] == "81"
    assert float(first["test_accuracy_std"]) == pytest.approx(math.sqrt(2), rel=1e-5)
    assert (second["test_accuracy_std"], second["train_accuracy_mean"], second["train_accuracy_n"]) == ("", "", "0")


def test_rows_that_mix_settings_are_told():
    assert mixed_columns(make_rows(OPTIONS, RUNS)) == ()
    assert mixed_columns(make_rows(OPTIONS, [*RUNS, run(views=8), run(samples=7, student="b")])) == ("samples", "views")
