"""Columns that a study may name, how their values are compared and ordered, and how they are written for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from logitcache.sweep import COLUMNS

__all__ = [
    "KNOWN",
    "MEASURES",
    "PENULTIMATE",
    "RUN_COLUMNS",
    "SETTINGS",
    "Cells",
    "axis_text",
    "is_points",
    "matches",
    "measured",
    "number",
    "ordered",
    "value_text",
    "where_text",
]

Cells = Mapping[str, str]
"""One run by column, as text."""

PENULTIMATE = ("scatter_within", "scatter_between", "scatter_ratio", "feature_norm")
"""Columns that a study with a table ``penultimate`` adds."""

RUN_COLUMNS = ("variant", *COLUMNS, *PENULTIMATE)
"""The columns of ``runs.csv`` in their order."""

MEASURES = (
    *("test_accuracy", "best_test_accuracy", "train_accuracy"),
    *("logit_mean", "teacher_logit_mean", "logit_distance", "mean_share"),
    *PENULTIMATE,
    *("seconds_per_epoch", "parameters", "epochs"),
)
"""Columns that come out of a run and can be compared; all of them are numbers."""

SETTINGS = (
    *("variant", "group", "student", "teachers", "combine", "targets", "objective", "tau", "alpha"),
    *("label_smoothing", "samples", "labelled", "views", "labels"),
    *("batch", "learning_rate", "weight_decay"),
)
"""Columns that are chosen before a run; ``label`` follows from some of them, and the seed is apart."""

KNOWN = (*SETTINGS, "label", "seed", "status", *MEASURES)
"""Every column that a study may name; what is collected of a run."""

_TEXTS = {
    "loss": "training loss",
    "test_accuracy": "test accuracy, %",
    "best_test_accuracy": "test accuracy of the best epoch, %",
    "train_accuracy": "train accuracy, %",
    "logit_mean": "mean of the student's logits",
    "teacher_logit_mean": "mean of the teacher's logits",
    "logit_distance": "mean distance of student's and teacher's logits",
    "mean_share": "share of the mean shift in the squared distance",
    "scatter_within": "scatter within classes",
    "scatter_between": "scatter between classes",
    "scatter_ratio": "scatter within / between classes",
    "feature_norm": "norm of penultimate features",
    "seconds_per_epoch": "seconds an epoch",
    "tau": "temperature τ",
    "alpha": "weight α of the soft targets",
    "samples": "train samples",
    "labelled": "labelled samples",
    "views": "augmented views",
}


def axis_text(column: str) -> str:
    """A column's name for people, with its unit."""
    return _TEXTS.get(column, column.replace("_", " "))


def is_points(measure: str) -> bool:
    """Whether differences of a measure are percentage points."""
    return measure.endswith("accuracy")


def number(text: str) -> float | None:
    """The number that a cell holds, infinity included; None where it holds none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value


def measured(run: Cells, measure: str) -> float | None:
    """A finished run's value of a measure; None where it did not finish or was not measured."""
    if run.get("status") != "done":
        return None
    value = number(run.get(measure, ""))
    return value if value is not None and math.isfinite(value) else None


def matches(run: Cells, where: Mapping[str, Sequence[str | float]]) -> bool:
    """Whether a run has one of the values asked for in every column; numbers are compared as numbers."""
    return all(any(_same(run.get(column, ""), value) for value in values) for column, values in where.items())


def _same(text: str, value: str | float) -> bool:
    """Whether a cell holds a value."""
    wanted, found = number(str(value)), number(text)
    return text == str(value) if wanted is None or found is None else math.isclose(wanted, found, rel_tol=1e-9)


def ordered(values: Iterable[str]) -> list[str]:
    """Different values: numbers by size where all but '' are numbers, others in the order of their first."""
    found = list(dict.fromkeys(values))
    sizes = {text: -math.inf if text == "" else number(text) for text in found}
    if any(size is None for size in sizes.values()):
        return found
    return sorted(found, key=lambda text: (text != "", sizes[text] or 0.0))


def value_text(text: str) -> str:
    """A cell for people: ``4`` for ``4.0``, ``∞`` for ``inf``, a dash for nothing."""
    value = number(text)
    if value is None:
        return text or "–"
    return ("∞" if value > 0 else "-∞") if math.isinf(value) else f"{value:.12g}"


def where_text(where: Mapping[str, Sequence[str | float]]) -> str:
    """A filter in words: ``alpha = 1, tau = 3 or 5``."""
    parts = (
        f"{column} = {' or '.join(value_text(str(value)) for value in values)}" for column, values in where.items()
    )
    return ", ".join(parts)
