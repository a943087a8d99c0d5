"""A run directory as a finished recipe leaves it, with made-up but plausible numbers."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
ROWS = (
    # objective, label, tau, label smoothing, views, mean accuracy
    ("ce", "CE", 1, 0.0, 0, 79.6),
    ("ce", "CE", 1, 0.0, 8, 82.1),
    ("ce", "CE, smoothing 0.1", 1, 0.1, 0, 80.2),
    ("ce", "CE, smoothing 0.1", 1, 0.1, 8, 82.3),
    ("kl", "KL τ=1", 1, 0.0, 0, 83.3),
    ("kl", "KL τ=1", 1, 0.0, 8, 83.9),
    ("kl", "KL τ=4", 4, 0.0, 0, 85.3),
    ("kl", "KL τ=4", 4, 0.0, 8, 85.25),
    ("kl", "KL τ=20", 20, 0.0, 0, 85.1),
    ("kl", "KL τ=20", 20, 0.0, 8, 84.9),
    ("mse", "MSE", 1, 0.0, 0, 85.5),
    ("mse", "MSE", 1, 0.0, 8, 84.7),
)
TAUS = (0.5, 1.0, 2.0, 4.0, 20.0)


def make_run(  # noqa: PLR0917 - a table of arguments reads best in order
    row: tuple[Any, ...], group: str, samples: int, seed: int, epochs: int, status: str
) -> dict[str, Any]:
    objective, label, tau, smoothing, views, mean = row
    random = np.random.default_rng([seed, views, int(mean * 100), samples])
    accuracy = round(mean + random.normal(0, 0.25), 2)
    return {
        "run_id": f"{group}-{objective}-{tau}-{smoothing}-{views}-{seed}",
        "status": status,
        "group": group,
        "student": "cnn-16-32-32",
        "teachers": "" if objective == "ce" else "teacher",
        "objective": objective,
        "label": label,
        "tau": tau,
        "alpha": 1.0,
        "label_smoothing": smoothing,
        "samples": samples,
        "views": views,
        "seed": seed,
        "epochs": epochs,
        "batch": 64,
        "learning_rate": 0.05,
        "test_accuracy": accuracy if status == "done" else "",
        "best_test_accuracy": round(accuracy + abs(random.normal(0, 0.1)), 2) if status == "done" else "",
        "train_seconds": 10.1,
        "seconds_per_epoch": 0.126,
        "parameters": 14122,
    }


def all_runs() -> list[dict[str, Any]]:
    few = [make_run(row, "3 % of the samples", 1800, seed, 80, "done") for row in ROWS for seed in range(3)]
    every = [
        make_run((*ROWS[row][:5], mean), "all samples", 60000, 0, 4, "done") for row, mean in ((0, 89.65), (6, 89.31))
    ]
    diverged = make_run(("mse", "MSE", 1, 0.0, 0, 0.0), "all samples", 60000, 0, 4, "diverged")
    return [*few, *every, diverged]


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_student(folder: Path, run: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(run["seed"])
    lines = []
    for epoch in range(run["epochs"]):
        share = (epoch + 1) / run["epochs"]
        noise = random.normal(0, 1.2 * (1 - share))
        accuracy = run["test_accuracy"] - 35 * math.exp(-9 * share) + noise if run["test_accuracy"] else None
        lines.append({"epoch": epoch + 1, "loss": 2 * math.exp(-3 * share), "test_accuracy": accuracy})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def make_info() -> dict[str, Any]:
    step, tau_min = 0.0447, 0.5
    bound = [(step / tau) ** 2 / 8 for tau in TAUS]
    fidelity = {
        "largest_error": step / 2,
        "rmse": step / math.sqrt(12),
        "step": step,
        "taus": TAUS,
        "kl_bound": bound,
        "kl_largest": [0.41 * value for value in bound],
        "kl_mean": [0.08 * value for value in bound],
    }
    cached = {
        "teacher": "teacher",
        "model": "cnn-32-48-96",
        "weights": "3f9c2a71b04de855",
        "precision": "bf16",
        "encoding": {"kind": "uniform", "step": step, "max_kl": 1e-3, "tau_min": tau_min},
        "blocks": 8,
        "committed": 8,
        "arrays": [{"name": "logits", "bytes": 6_912_000, "bytes_per_row": 12.8}],
        "float16_bytes_per_row": 20.0,
        "fidelity": fidelity,
    }
    return {
        "path": "store.zarr",
        "format_version": 1,
        "dataset": {"name": "fashion_mnist"},
        "classes": 10,
        "views": {"kind": "crop_flip", "count": 8, "padding": 2},
        "splits": [
            {"split": "train", "samples": 60000, "teachers": [{**cached, "views": 9, "rows": 540_000}]},
            {
                "split": "test",
                "samples": 10000,
                "teachers": [
                    {
                        **cached,
                        "views": 1,
                        "rows": 10_000,
                        "blocks": 2,
                        "committed": 2,
                        "arrays": [{"name": "logits", "bytes": 131_000, "bytes_per_row": 13.1}],
                    }
                ],
            },
        ],
    }


def write_statistics(folder: Path, runs: list[dict[str, Any]]) -> None:
    numbers = {"mean_entropy": 0.21, "logit_mean": 0.013, "logit_variance": 18.42}
    write_csv(
        folder / "teachers.csv",
        [
            {"teacher": "teacher", "split": "train", "samples": 60000, "accuracy": 96.81, **numbers},
            {"teacher": "teacher", "split": "test", "samples": 10000, "accuracy": 92.73, **numbers},
        ],
    )
    classes = [
        {
            "teacher": "teacher",
            "split": "test",
            "class": name,
            "samples": 1000,
            "accuracy": 99.1 - 3 * (k % 7),
            **numbers,
        }
        | {"own_logit_mean": 11.2 - k / 5}
        for k, name in enumerate(CLASSES)
    ]
    write_csv(folder / "classes.csv", classes)
    means = {name: {f"logit_{other}": -2.0 for other in CLASSES} | {f"logit_{name}": 9.0} for name in CLASSES}
    means["Shirt"]["logit_Coat"] = 6.0
    start = {"teacher": "teacher", "split": "test", "samples": 1000}
    write_csv(folder / "class_means.csv", [{**start, "class": name, **cells} for name, cells in means.items()])
    keys = ("run_id", "group", "student", "teachers", "label", "samples", "views", "seed")
    students = []
    for count, run in enumerate(runs):
        kl = 0.9 - 0.02 * count
        done = run["status"] == "done"
        measured = {
            "test_samples": 10000,
            "accuracy": run["test_accuracy"],
            "agreement": run["test_accuracy"] + 1.5 if done else "",
        }
        measured |= {"kl_tau_1": kl, "kl_tau_4": kl / 6, "kl_tau_20": kl / 140}
        state = {"teacher": "teacher", "status": "measured", "reason": ""}
        if not done:
            state |= {"status": "skipped", "reason": "status is diverged"}
            measured = dict.fromkeys(measured, "")
        students.append({key: run[key] for key in keys} | state | measured)
    write_csv(folder / "students.csv", students)


def fill(directory: Path) -> Path:
    runs = all_runs()
    write_csv(directory / "results.csv", runs)
    for run in runs:
        write_student(directory / "students" / run["run_id"], run)
    write_statistics(directory / "statistics", runs)
    timing = {
        "student": "cnn-16-32-32",
        "teacher": "teacher",
        "samples": 60000,
        "batch": 64,
        "threads": 2,
        "device": "cpu",
        "seconds_per_epoch": {"hard labels": 2.81, "cached soft targets": 2.89, "online teacher": 8.12},
    }
    (directory / "timing.json").write_text(json.dumps(timing))
    return directory


@pytest.fixture
def info() -> dict[str, Any]:
    """What the store of the made-up run says about itself."""
    return make_info()


@pytest.fixture
def make_directory(tmp_path: Path) -> Callable[[], Path]:
    """Makes the run directory, without a store."""

    def make() -> Path:
        (tmp_path / "run").mkdir()
        return fill(tmp_path / "run")

    return make


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares a test the drawing of figures; ``story.charts`` has what they would show."""
    monkeypatch.setattr("logitcache.report.story.draw", lambda chart: None)
    monkeypatch.setattr("logitcache.report.story.placed", lambda model, name, spoken: "")
    monkeypatch.setattr("logitcache.report.page.scripts", lambda **options: "")
