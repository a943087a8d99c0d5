"""Rows of a study: the runs that differ by seed only, with mean and spread of every measure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from logitcache.study.columns import SETTINGS, Cells, measured, value_text
from logitcache.study.options import StudyOptions
from logitcache.study.runs import write_table

__all__ = ["Row", "Spread", "make_rows", "mixed_columns", "write_rows"]


@dataclass(frozen=True)
class Spread:
    """Values of one measure over the runs of a row."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean; NaN of none."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def std(self) -> float:
        """Standard deviation with n - 1; NaN of fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan


@dataclass(frozen=True)
class Row:
    """One setting: the values of the study's row columns, its runs, and what they measured."""

    values: tuple[str, ...]
    runs: tuple[Cells, ...]
    measures: Mapping[str, Spread]

    @property
    def name(self) -> str:
        """The row's values on one line, without those that are empty."""
        return " · ".join(value_text(value) for value in self.values if value)

    @property
    def n(self) -> int:
        """Finished runs."""
        return sum(run.get("status") == "done" for run in self.runs)


def make_rows(options: StudyOptions, runs: Sequence[Cells]) -> tuple[Row, ...]:
    """Runs by the columns that make a row, in the order of the first run of each."""
    found: dict[tuple[str, ...], list[Cells]] = {}
    for run in runs:
        found.setdefault(tuple(run.get(column, "") for column in options.rows), []).append(run)
    return tuple(Row(values, tuple(members), _measures(options, members)) for values, members in found.items())


def _measures(options: StudyOptions, runs: Sequence[Cells]) -> dict[str, Spread]:
    """The measures of a row."""
    values = {measure: [measured(run, measure) for run in runs] for measure in options.measures}
    return {measure: Spread(tuple(v for v in found if v is not None)) for measure, found in values.items()}


def mixed_columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """Settings in which runs of one row differ, which only seeds should do."""
    return tuple(
        column for column in SETTINGS if any(len({run.get(column, "") for run in row.runs}) > 1 for row in rows)
    )


def write_rows(options: StudyOptions, rows: Sequence[Row], path: Path) -> Path:
    """One CSV line a row: its columns, n, unfinished, then mean, std and n of every measure."""
    lines = [_line(options, row) for row in rows]
    columns = [*options.rows, "n", "unfinished"]
    for measure in options.measures:
        columns += [f"{measure}_mean", f"{measure}_std", f"{measure}_n"]
    return write_table(path, lines, columns)


def _line(options: StudyOptions, row: Row) -> dict[str, str]:
    """One row's cells."""
    line = dict(zip(options.rows, row.values, strict=True))
    line |= {"n": str(row.n), "unfinished": str(len(row.runs) - row.n)}
    for measure, spread in row.measures.items():
        numbers = {"mean": spread.mean, "std": spread.std}
        line |= {f"{measure}_{name}": "" if math.isnan(x) else f"{x:.6g}" for name, x in numbers.items()}
        line[f"{measure}_n"] = str(len(spread.values))
    return line
