"""Rows, the computed sentence and the summary, from runs whose answer is known."""

from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from logitcache.errors import InputError
from logitcache.report import tables
from logitcache.report.sources import Run, read_runs


def run(objective: str, accuracy: float | None, seed: int = 0, **other: Any) -> Run:
    base = {
        "run_id": f"{objective}-{seed}-{other}",
        "status": "done" if accuracy is not None else "diverged",
        "group": "g",
        "student": "tiny",
        "teachers": "" if objective == "ce" else "big",
        "objective": objective,
        "label": objective.upper(),
        "samples": "100",
        "views": "0",
        "epochs": "5",
        "batch": "64",
        "learning_rate": "0.05",
        "seed": str(seed),
        "test_accuracy": accuracy,
        "best_test_accuracy": accuracy,
    }
    return Run(**{**base, **other})


def comparison(hard: list[float | None], distilled: list[float | None]) -> tables.Comparison:
    runs = [run("ce", accuracy, seed) for seed, accuracy in enumerate(hard)]
    runs += [run("kl", accuracy, seed) for seed, accuracy in enumerate(distilled)]
    (only,) = tables.compare(tables.make_rows(runs))
    return only


def test_runs_that_differ_in_the_seed_alone_are_one_row() -> None:
    accuracies = [80.0, 81.0, 83.0]
    runs = [run("ce", accuracy, seed) for seed, accuracy in enumerate(accuracies)]
    (row,) = tables.make_rows([*runs, run("ce", None, 3)])
    assert (row.n, row.unfinished) == (3, ("diverged",))
    assert row.mean == pytest.approx(statistics.fmean(accuracies))
    assert row.std == pytest.approx(statistics.stdev(accuracies))
    assert row.stderr == pytest.approx(statistics.stdev(accuracies) / math.sqrt(3))


def test_other_targets_and_labels_are_other_rows_with_names_that_say_so() -> None:
    runs = [run("kl", 80.0, targets=each) for each in ("views", "clean", "online")]
    runs += [run("kl", 80.0, targets="views", labelled="10"), run("ce", 70.0, targets="views", labelled="10")]
    assert [row.brief for row in tables.make_rows(runs)] == [
        "KL · targets views",
        "KL · targets clean",
        "KL · targets online",
        "KL · targets views · 10 labelled",
        "CE · 10 labelled",
    ]


@pytest.mark.parametrize("first", [True, False])
def test_runs_that_did_not_finish_count_in_the_row_that_they_are_like(first) -> None:
    lost = [run("ce", None, 1, epochs="2"), run("ce", None, 2, epochs="", status="failed")]
    runs = [*lost, run("ce", 80.0)] if first else [run("ce", 80.0), *lost]
    (row,) = tables.make_rows([*runs])
    assert (row.n, row.unfinished, row.setting.epochs) == (1, ("diverged", "failed"), "5")
    alone, *_ = tables.make_rows(lost)
    assert alone.n == 0


@pytest.mark.parametrize(
    ("key", "values", "names"),
    [
        ("weight_decay", ("0.0", "0.001"), ["wd 0.0", "wd 0.001"]),
        ("labels", ("clean", "noisy"), ["clean labels", "noisy labels"]),
    ],
)
def test_rows_of_other_decay_or_labels_are_kept_apart(key, values, names) -> None:
    rows = tables.make_rows([run("ce", 80.0, **{key: value}) for value in values])
    assert [row.name for row in rows] == [f"CE · clean · {name}" for name in names]


def test_a_name_says_what_differs_within_the_group_and_no_more() -> None:
    runs = [run("ce", 80.0), run("kl", 81.0, views="8"), run("kl", 82.0, epochs="9", views="1")]
    assert [row.name for row in tables.make_rows(runs[:2])] == ["CE · clean", "KL · 8 views"]
    assert [row.name for row in tables.make_rows(runs)][2] == "KL · 1 view · 9 epochs"


def test_groups_keep_their_order_and_sort_rows_by_mean() -> None:
    runs = [
        run("ce", 80.0, group="z"),
        run("kl", 90.0, group="z"),
        run("mse", None, group="z"),
        run("ce", 1.0, group="a"),
    ]
    found = tables.groups(tables.make_rows(runs))
    assert list(found) == ["z", "a"]
    assert [row.brief for row in found["z"]] == ["KL", "CE", "MSE"]


def test_the_comparison_is_the_paired_t_test_over_shared_seeds() -> None:
    only = comparison([80.0, 80.4, 80.1, 79.0], [82.0, 82.3, 82.4])
    differences = [2.0, 1.9, 2.3]
    assert only.n == 3
    assert only.difference == pytest.approx(statistics.fmean(differences))
    assert only.stderr == pytest.approx(statistics.stdev(differences) / math.sqrt(3))
    assert only.p == pytest.approx(stats.ttest_rel([82.0, 82.3, 82.4], [80.0, 80.4, 80.1]).pvalue)
    assert only.verdict == "confirmed"
    assert "2.07 ± 0.12 points above" in only.sentence
    assert f"n = 3 shared seeds, p = {only.p:.2g}" in only.sentence


@pytest.mark.parametrize(
    ("hard", "distilled", "verdict", "said"),
    [
        ([80.0, 80.1, 80.2], [82.0, 82.2, 82.1], "confirmed", "points above"),
        ([82.0, 82.2, 82.1], [80.0, 80.1, 80.2], "contradicted", "points below"),
        ([80.0, 81.0, 82.0], [81.0, 80.0, 82.1], "within noise", "The difference is within noise"),
        ([80.0], [82.0], "undecided", "2.00 points above the best hard-label row"),
        ([80.0], [82.0], "undecided", "one run each cannot tell"),
        ([80.0, None], [82.0, 83.0], "undecided", "one run each cannot tell"),
        ([80.0, 81.0], [82.0, 83.0], "undecided", "no spread to judge by"),
        ([80.0, 81.0], [80.0, 81.0], "undecided", "no spread to judge by"),
    ],
)
def test_the_verdict_follows_from_the_numbers(
    hard: list[float | None], distilled: list[float | None], verdict: str, said: str
) -> None:
    only = comparison(hard, distilled)
    assert only.verdict == verdict
    assert said in only.sentence


def test_three_standard_errors_are_those_of_both_rows() -> None:
    close, far = comparison([80.0, 81.0], [80.9, 82.2]), comparison([80.0, 80.1], [83.0, 83.2])
    assert close.margin == pytest.approx(3 * (0.5 + 0.65))
    assert "does not exceed three times" in close.sentence
    assert far.margin == pytest.approx(3 * (0.05 + 0.1))
    assert "exceeds three times the sum of the two rows' standard errors (0.45 points)" in far.sentence


def test_the_best_rows_meet_and_bonferroni_counts_the_distilled_ones() -> None:
    runs = [run("ce", 80.0 + seed / 10, seed) for seed in range(3)]
    runs += [run("ce", 82.0 + seed / 10, seed, label="CE, smoothing 0.1", views="8") for seed in range(3)]
    runs += [run("kl", 84.0 + seed / 8, seed) for seed in range(3)]
    runs += [run("mse", 85.0 + seed / 9, seed) for seed in range(3)]
    (only,) = tables.compare(tables.make_rows(runs))
    assert (only.distilled.name, only.baseline.name, only.rivals) == ("MSE · clean", "CE, smoothing 0.1 · 8 views", 2)
    assert f"{min(1, 2 * only.p):.2g} after Bonferroni for 2 distilled rows" in only.sentence


def test_a_group_without_both_kinds_has_no_sentence() -> None:
    runs = [
        run("ce", 80.0, group="hard"),
        run("kl", 80.0, group="soft"),
        run("ce", 1.0, group="x"),
        run("kl", None, group="x"),
    ]
    assert tables.compare(tables.make_rows(runs)) == ()


def test_the_summary_has_one_line_a_row_with_the_numbers_of_the_row(tmp_path: Path) -> None:
    rows = tables.make_rows([run("ce", 80.0, 0), run("ce", 81.0, 1), run("kl", 90.0, 0), run("mse", None, 0)])
    with tables.write_summary(rows, tmp_path / "summary.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["objective"] for line in lines] == ["kl", "ce", "mse"]
    assert [line["n"] for line in lines] == ["1", "2", "0"]
    assert (float(lines[1]["mean"]), float(lines[1]["stderr"]), float(lines[1]["best_mean"])) == (80.5, 0.5, 80.5)
    assert (lines[0]["std"], lines[2]["mean"], lines[2]["unfinished"]) == ("", "", "1")


def test_a_file_that_is_no_results_csv_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("run_id,status\nx,done\n")
    with pytest.raises(InputError, match="has no column group, student"):
        read_runs(path)


def test_an_accuracy_that_is_no_number_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    cells = dict.fromkeys(Run.__dataclass_fields__, "1") | {"test_accuracy": "much"}
    path.write_text(",".join(cells) + "\n" + ",".join(cells.values()) + "\n")
    with pytest.raises(InputError, match="test_accuracy has 'much'"):
        read_runs(path)
