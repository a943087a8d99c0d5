"""What a run leaves behind: ``run.json`` in its folder, and a row of ``results.csv``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from logitcache.files import write_text
from logitcache.student.training import Outcome
from logitcache.sweep.grid import RunSpec

__all__ = ["COLUMNS", "finished_runs", "run_folder", "run_record", "write_record", "write_results"]

COLUMNS = (
    "run_id",
    "status",
    "group",
    "student",
    "teachers",
    "objective",
    "label",
    "tau",
    "alpha",
    "label_smoothing",
    "samples",
    "views",
    "seed",
    "epochs",
    "batch",
    "learning_rate",
    "test_accuracy",
    "best_test_accuracy",
    "train_seconds",
    "seconds_per_epoch",
    "parameters",
)
"""Columns of ``results.csv``: accuracies in percent, ``views`` 0 for the clean view only."""


def run_folder(out: Path, spec: RunSpec) -> Path:
    """The folder of a run."""
    return out / "students" / spec.run_id


def run_record(spec: RunSpec, outcome: Outcome, parameters: int) -> dict[str, Any]:
    """The row of a run."""
    return {
        "run_id": spec.run_id,
        "status": outcome.status,
        "group": spec.group,
        "student": spec.model,
        "teachers": list(spec.teachers),
        "objective": spec.objective.loss,
        "label": spec.objective.label,
        "tau": spec.objective.tau,
        "alpha": spec.objective.alpha,
        "label_smoothing": spec.objective.label_smoothing,
        "samples": spec.samples,
        "views": spec.views,
        "seed": spec.seed,
        "epochs": outcome.epochs,
        "batch": spec.training.batch,
        "learning_rate": spec.training.learning_rate,
        "test_accuracy": outcome.test_accuracy,
        "best_test_accuracy": outcome.best_test_accuracy,
        "train_seconds": outcome.train_seconds,
        "seconds_per_epoch": outcome.train_seconds / max(outcome.epochs, 1),
        "parameters": parameters,
    }


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write ``run.json``; its presence says that the run is finished."""
    write_text(folder / "run.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def finished_runs(out: Path, specs: Sequence[RunSpec]) -> dict[str, dict[str, Any]]:
    """The records of the runs that are finished, by run id, in the order of ``specs``."""
    records = {}
    for spec in specs:
        path = run_folder(out, spec) / "run.json"
        if path.exists():
            records[spec.run_id] = json.loads(path.read_text(encoding="utf-8"))
    return records


def write_results(out: Path, specs: Sequence[RunSpec]) -> Path:
    """Write ``results.csv`` from the finished runs; numbers in full, teachers joined by ``+``."""
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for record in finished_runs(out, specs).values():
        writer.writerow({**record, "teachers": "+".join(record["teachers"])})
    path = out / "results.csv"
    write_text(path, table.getvalue())
    return path
