"""What a run leaves behind: ``run.json`` in its folder, and a row of ``results.csv``.

A run is **done**, **diverged** (its loss left the finite numbers; training it again would end the same) or
**failed** (an error or a dead process stopped it; the next sweep tries again).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from logitcache.errors import InputError
from logitcache.files import write_text
from logitcache.student.records import TRAIN_MEASURES
from logitcache.student.training import Outcome
from logitcache.sweep.grid import RunSpec

__all__ = [
    "COLUMNS",
    "FAILED",
    "failed_record",
    "finished_runs",
    "run_folder",
    "run_record",
    "stack_size",
    "write_record",
    "write_results",
]

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
    "weight_decay",
    "labels",
    "order_seed",
    "mode",
    "error",
    "combine",
    "targets",
    "labelled",
    *TRAIN_MEASURES,
)
"""Columns of ``results.csv``.

Accuracies are in percent, ``views`` 0 for the clean view only, ``labels`` clean or noisy, ``order_seed`` empty where
the order is the seed's. ``mode`` says how the run was trained: "alone", "stacked N" or "parallel N", with "local
batch norm" where statistics were those of a process's own part of each batch; seconds of stacked runs are those of the
whole stack. ``error`` is why a run failed, on one line. ``combine`` is how several teachers became one, empty without
a teacher; ``targets`` which soft targets were given (views, clean, online); ``labelled`` how many samples had labels
for the cross-entropy, empty where all had.

From ``train_accuracy`` on they are of the last epoch, on the clean view of the train samples that the run saw, and
empty without ``training.measure_train`` (:class:`~logitcache.student.records.TrainMeasures`).
"""

FAILED = "failed"


def run_folder(out: Path, spec: RunSpec) -> Path:
    """The folder of a run."""
    return out / "students" / spec.run_id


def run_record(spec: RunSpec, outcome: Outcome, parameters: int, mode: str) -> dict[str, Any]:
    """The row of a run that ended."""
    found = {
        "status": outcome.status,
        "epochs": outcome.epochs,
        "test_accuracy": outcome.test_accuracy,
        "best_test_accuracy": outcome.best_test_accuracy,
        "train_seconds": outcome.train_seconds,
        "seconds_per_epoch": outcome.train_seconds / max(outcome.epochs, 1),
        "parameters": parameters,
        "mode": mode,
        **asdict(outcome.train),
    }
    return _row({**_facts(spec), **found})


def failed_record(spec: RunSpec, error: str) -> dict[str, Any]:
    """The row of a run that failed."""
    return _row({**_facts(spec), "status": FAILED, "error": error})


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write ``run.json``."""
    write_text(folder / "run.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def finished_runs(out: Path, specs: Sequence[RunSpec]) -> dict[str, dict[str, Any]]:
    """The records of the runs that are done or diverged, by run id, in the order of ``specs``."""
    return {run_id: record for run_id, record in _records(out, specs).items() if record["status"] != FAILED}


def stack_size(record: dict[str, Any]) -> int:
    """How many runs were trained together with one, itself included."""
    kind, _, count = str(record.get("mode") or "").partition(" ")
    return int(count) if kind == "stacked" else 1


def write_results(out: Path, specs: Sequence[RunSpec]) -> Path:
    """Write ``results.csv`` from the records there are; numbers in full, teachers joined by ``+``."""
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for record in _records(out, specs).values():
        writer.writerow({**record, "teachers": "+".join(record["teachers"])})
    path = out / "results.csv"
    write_text(path, table.getvalue())
    return path


def _facts(spec: RunSpec) -> dict[str, Any]:
    """What is known of a run beforehand."""
    return {
        "run_id": spec.run_id,
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
        "batch": spec.training.batch,
        "learning_rate": spec.training.learning_rate,
        "weight_decay": spec.training.weight_decay,
        "labels": spec.labels,
        "order_seed": spec.order_seed,
        "combine": spec.combine.combine if spec.teachers else "",
        "targets": spec.targets,
        "labelled": spec.labelled,
    }


def _row(values: dict[str, Any]) -> dict[str, Any]:
    """Values in the order of the columns, None where there is none."""
    return {column: values.get(column) for column in COLUMNS}


def _records(out: Path, specs: Sequence[RunSpec]) -> dict[str, dict[str, Any]]:
    """The records of all runs that have one; facts that older records lack are filled in.

    Raises:
        InputError: a record is damaged.
    """
    records = {}
    for spec in specs:
        path = run_folder(out, spec) / "run.json"
        if path.exists():
            try:
                records[spec.run_id] = {**_facts(spec), **json.loads(path.read_text(encoding="utf-8"))}
            except (ValueError, TypeError) as error:
                raise InputError(f"{path} is damaged ({error}); delete {path.parent} to train the run again") from error
    return records
