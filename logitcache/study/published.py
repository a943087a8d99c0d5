"""Figures that Kim et al. 2021 published, for standing beside a run of the same setting, and of no other.

``published.csv`` has those figures alone that were read in the paper's sources; what is known of them at second hand
or from memory is not in it. Their setting: CIFAR-100, all 50 000 train samples for the teacher, and 200 epochs of SGD.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from logitcache.errors import InputError
from logitcache.student.objectives import ObjectiveOptions
from logitcache.study.columns import Cells, number

__all__ = ["published_sources", "published_tables", "published_value"]

_FILE = Path(__file__).with_name("published.csv")

_TRAIN_SAMPLES = 50_000
_TRAINING = {"epochs": 200.0, "batch": 128.0, "learning_rate": 0.1, "weight_decay": 5e-4}
"""The paper's training, by column of runs."""

_PLAIN = {
    "labels": ("", "clean"),
    "targets": ("", "views"),
    "combine": ("", "mean_logits"),
    "label_smoothing": ("", "0", "0.0"),
    "labelled": ("",),
    "variant": ("",),
}
"""Columns that say how a run differs from a plain one, and their values in a plain one."""


def published_tables() -> tuple[str, ...]:
    """Names of the tables there are."""
    return tuple(dict.fromkeys(line["table"] for line in _lines()))


def published_sources(table: str) -> tuple[str, ...]:
    """Where a table's figures stand, and what is known of how they were taken; errors as in :func:`published_value`."""
    return tuple(dict.fromkeys(line["source"] for line in _table(table)))


def published_value(table: str, facts: Mapping[str, str], run: Cells, measure: str) -> float | None:
    """The published value of a run's setting; None where none was published or the setting is another.

    Args:
        table: a name of :func:`published_tables`.
        facts: of the experiment, as :mod:`logitcache.study.facts` writes them: ``data``, ``train_samples``,
            ``profile`` and ``teachers`` are read.
        run: a line of a study's runs by column.
        measure: a column of results, for example ``test_accuracy``.

    Raises:
        InputError: there is no such table.
    """
    lines = [line for line in _table(table) if line["measure"] == measure]
    if not _paper_setting(facts, run):
        return None
    return next((float(line["value"]) for line in lines if _same_run(line, facts, run)), None)


@cache
def _lines() -> tuple[dict[str, str], ...]:
    """All published figures."""
    with _FILE.open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


def _table(name: str) -> tuple[dict[str, str], ...]:
    """The figures of a table."""
    if name not in published_tables():
        raise InputError(f"no published table {name!r}; there are {', '.join(published_tables())}")
    return tuple(line for line in _lines() if line["table"] == name)


def _paper_setting(facts: Mapping[str, str], run: Cells) -> bool:
    """Whether an experiment and a run of it are trained as the paper's were."""
    whole = not facts.get("profile") and _equal(facts.get("train_samples", ""), _TRAIN_SAMPLES)
    plain = all(run.get(column, "") in values for column, values in _PLAIN.items())
    return whole and plain and all(_equal(run.get(column, ""), value) for column, value in _TRAINING.items())


def _same_run(line: Cells, facts: Mapping[str, str], run: Cells) -> bool:
    """Whether a figure is of a run's data, student, teacher, objective and samples."""
    if facts.get("data") != line["data"] or any(run.get(column) != line[column] for column in ("student", "objective")):
        return False
    numbers = [column for column in ("tau", "alpha", "samples") if line[column]]
    if not all(_equal(run.get(column, ""), float(line[column])) for column in numbers):
        return False
    # further terms, factors and schedules of an objective stand in its label
    return run.get("label") == _label(line) and (line["objective"] == "ce" or _same_teacher(line, facts, run))


def _label(line: Cells) -> str:
    """The label of a figure's objective with nothing else in it."""
    table: dict[str, str | float] = {"loss": line["objective"]}
    table |= {name: float(line[name]) for name in ("tau", "alpha") if line[name] not in ("", "inf")}
    return ObjectiveOptions.model_validate(table).label


def _same_teacher(line: Cells, facts: Mapping[str, str], run: Cells) -> bool:
    """Whether a run's only teacher is of a figure's network and, where the figure names it, has its name."""
    name = run.get("teachers", "")
    models = dict(each.split(":")[:2] for each in facts.get("teachers", "").split(";") if ":" in each)
    return line["teacher_name"] in ("", name) and models.get(name) == line["teacher"]


def _equal(text: str, value: float) -> bool:
    """Whether a cell holds a number, infinity included."""
    found = number(text)
    return found is not None and math.isclose(found, value, rel_tol=1e-9)
