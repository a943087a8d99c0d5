"""What a sweep leaves, without what tells time: for tests that compare one sweep with another."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiny import Run

from logitcache.sweep import RunSpec, SweepOptions, run_sweep

TIMES = {"train_seconds", "seconds_per_epoch"}


def table(out: Path) -> list[dict[str, str]]:
    """``results.csv`` without the columns that tell time."""
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def curve(folder: Path) -> list[dict[str, Any]]:
    """The records of a run's epochs, without seconds."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def left(out: Path) -> dict[str, object]:
    """Weights and test logits as bytes, and the curve, of every run, by name."""
    found: dict[str, object] = {}
    for folder in sorted(path.parent for path in out.glob("students/*/run.json")):
        for name in ("model.safetensors", "test_logits.npy"):
            found[f"{folder.name}/{name}"] = (folder / name).read_bytes()
        found[f"{folder.name}/metrics"] = curve(folder)
    return found


def of_run(found: dict[str, object], run_id: str) -> dict[str, object]:
    """The part of :func:`left` that is one run's."""
    return {name: value for name, value in found.items() if name.startswith(f"{run_id}/")}


def files(out: Path) -> set[str]:
    """The names of all files of students and groups."""
    return {str(path.relative_to(out)) for name in ("students", "groups") for path in (out / name).rglob("*.*")}


def untrained(run: Run) -> Run:
    """The run without its students."""
    shutil.rmtree(run.out / "students")
    (run.out / "results.csv").unlink()
    return run


def sweep(run: Run, *overrides: str, specs: Sequence[RunSpec] | None = None, progress=None, **options: Any) -> int:
    """Train a run's students in this process, unless options say otherwise."""
    context = run.context(*overrides)
    chosen = SweepOptions(**{"processes": 1, "retries": 0, **options})
    return run_sweep(context.sweep(), context.runs() if specs is None else specs, chosen, progress=progress)
