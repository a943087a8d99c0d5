"""Reading the result files of a run directory into one record, ``Evidence``; nothing is computed here.

What is read, all of it optional but for one of the first two::

    DIR/results.csv                  one line a run                     -> runs
    DIR/store.zarr                   what the store says about itself   -> info
    DIR/students/<run_id>/metrics.jsonl   one line an epoch             -> curves
    DIR/timing.json                  seconds an epoch                   -> timing
    DIR/statistics/*.csv             what statistics measured           -> teachers, classes, students
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logitcache.errors import InputError

__all__ = ["Cells", "Curve", "Evidence", "Run", "number", "read_evidence", "read_runs"]

Cells = Mapping[str, str]
"""One line of a CSV file by column."""

_LATER = ("weight_decay", "labels", "targets", "labelled", "tau", "alpha")
"""Columns that a results.csv of an earlier version lacks."""

Curve = tuple[tuple[int, float], ...]
"""(epoch, test accuracy in percent) of every epoch that was evaluated."""


@dataclass(frozen=True)
class Run:
    """One student trained once: a line of ``results.csv``; accuracies in percent, None where there is none."""

    run_id: str
    status: str
    group: str
    student: str
    teachers: str
    """Names of the teachers joined by '+', '' for hard labels."""
    objective: str
    label: str
    """The objective as text for tables."""
    samples: str
    views: str
    """Augmented views; '0' is the clean view only."""
    epochs: str
    batch: str
    learning_rate: str
    seed: str
    test_accuracy: float | None
    """After the last epoch."""
    best_test_accuracy: float | None
    """Of the best epoch, chosen on the test split itself."""
    weight_decay: str = ""
    """This and what follows: '' in a results.csv of the first version."""
    labels: str = ""
    targets: str = ""
    """views, clean or online."""
    labelled: str = ""
    """Samples with labels for the cross-entropy; '' where all had."""
    tau: str = ""
    alpha: str = ""
    """Weight of the teacher's part, 1 - alpha that of hard labels."""


@dataclass(frozen=True)
class Evidence:
    """All that a report is made from."""

    directory: Path
    info: Mapping[str, Any] | None
    runs: tuple[Run, ...]
    curves: Mapping[str, Curve]
    """By run_id, of the runs that are done."""
    timing: Mapping[str, Any] | None
    teachers: tuple[Cells, ...]
    classes: tuple[Cells, ...]
    students: tuple[Cells, ...]
    class_means: tuple[Cells, ...] = ()


def read_evidence(directory: Path, info: Mapping[str, Any] | None) -> Evidence:
    """Everything in a run directory; ``info`` is what its store says about itself.

    Raises:
        InputError: there is neither a store nor ``results.csv``, or a file is not what it should be.
    """
    results = directory / "results.csv"
    if info is None and not results.is_file():
        raise InputError(
            f"{directory} has neither results.csv nor store.zarr; run a recipe with --out {directory} first"
        )
    runs = read_runs(results) if results.is_file() else ()
    done = (run.run_id for run in runs if run.status == "done")
    return Evidence(
        directory=directory,
        info=info,
        runs=runs,
        curves={run_id: _read_curve(directory / "students" / run_id / "metrics.jsonl") for run_id in done},
        timing=_read_timing(directory / "timing.json"),
        teachers=_read_table(directory / "statistics" / "teachers.csv"),
        classes=_read_table(directory / "statistics" / "classes.csv"),
        students=_read_table(directory / "statistics" / "students.csv"),
        class_means=_read_table(directory / "statistics" / "class_means.csv"),
    )


def read_runs(path: Path) -> tuple[Run, ...]:
    """The lines of a ``results.csv``.

    Raises:
        InputError: a column that every run has is missing, or an accuracy is not a number.
    """
    return tuple(_run(cells, path) for cells in _read_table(path))


def _run(cells: Cells, path: Path) -> Run:
    """One line of ``results.csv``."""
    text = [name for name in Run.__dataclass_fields__ if not name.endswith("accuracy")]
    missing = [name for name in text if name not in cells and name not in _LATER]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}; it is not a results.csv of this version")
    values: dict[str, Any] = {name: cells.get(name) or "" for name in text}
    values |= {name: number(cells, name) for name in ("test_accuracy", "best_test_accuracy")}
    return Run(**values)


def number(cells: Cells, column: str) -> float | None:
    """The finite number in a cell; None where it is empty, absent or not finite."""
    text = cells.get(column) or ""
    try:
        value = float(text or "nan")
    except ValueError as error:
        raise InputError(f"column {column} has {text!r}, which is not a number; write the file again") from error
    return value if math.isfinite(value) else None


def _read_table(path: Path) -> tuple[Cells, ...]:
    """The lines of a CSV file; none where it is absent."""
    if not path.is_file():
        return ()
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file, restval=""))


def _read_curve(path: Path) -> Curve:
    """Test accuracy by epoch; empty where the file is absent."""
    if not path.is_file():
        return ()
    lines = path.read_text(encoding="utf-8").splitlines()
    records = [_parse(line, f"{path}, line {count}") for count, line in enumerate(lines, 1)]
    return tuple(
        (int(record["epoch"]), float(record["test_accuracy"]))
        for record in records
        if record.get("test_accuracy") is not None
    )


def _read_timing(path: Path) -> Mapping[str, Any] | None:
    """Seconds an epoch and how they were measured; None where nobody measured."""
    return _parse(path.read_text(encoding="utf-8"), str(path)) if path.is_file() else None


def _parse(text: str, where: str) -> Mapping[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where} is not valid JSON ({error}); delete it and run that step again") from error
    if not isinstance(value, dict):
        raise InputError(f"{where} holds a {type(value).__name__}, not an object; run that step again")
    return value
