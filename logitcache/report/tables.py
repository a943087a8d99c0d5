"""From runs to rows, and from rows to the sentence that says whether distillation helped.

A **row** is a setting with all its seeds: mean, spread and standard error of the test accuracy after the last epoch.
A **comparison** sets, in one group, the distilled row with the highest mean beside the hard-label (CE) row with the
highest mean, seed by seed, by a paired t-test (scipy.stats.ttest_rel, two-sided). Everything is in percent points.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from logitcache.report.sources import Run

__all__ = ["Comparison", "Row", "compare", "groups", "make_rows", "write_summary"]

SETTING = (
    "group",
    "student",
    "teachers",
    "objective",
    "label",
    "samples",
    "views",
    "epochs",
    "batch",
    "learning_rate",
    "weight_decay",
    "labels",
    "targets",
    "labelled",
)
"""What tells one row from another; the seed does not."""

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Row:
    """One setting and the accuracies of its finished runs by seed."""

    setting: Run
    """The first of its runs, read for what all of them share."""
    name: str
    """Objective, views, and whatever else differs within the group."""
    brief: str
    """The same without the views."""
    accuracies: Mapping[str, float]
    """Test accuracy after the last epoch by seed, percent."""
    bests: tuple[float, ...]
    """Test accuracy of each run's best epoch, percent."""
    unfinished: tuple[str, ...]
    """Status of each run that gave no accuracy, such as "diverged"."""
    run_ids: tuple[str, ...]
    """Of the finished runs."""

    @property
    def n(self) -> int:
        """Finished runs."""
        return len(self.accuracies)

    @property
    def mean(self) -> float:
        """Mean accuracy; NaN of no run."""
        return statistics.fmean(self.accuracies.values()) if self.n else math.nan

    @property
    def std(self) -> float:
        """Standard deviation over seeds, with n - 1; NaN of fewer than two runs."""
        return statistics.stdev(self.accuracies.values()) if self.n > 1 else math.nan

    @property
    def stderr(self) -> float:
        """Standard error of the mean; NaN of fewer than two runs."""
        return self.std / math.sqrt(self.n) if self.n > 1 else math.nan

    @property
    def best_mean(self) -> float:
        """Mean over runs of the best epoch's accuracy; NaN where it was not recorded."""
        return statistics.fmean(self.bests) if self.bests else math.nan

    @property
    def hard(self) -> bool:
        """Whether it learned from hard labels alone."""
        return self.setting.objective == "ce"


def groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by group, in the order of the first run of each; within a group the highest mean first."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.setting.group, []).append(row)
    return {name: sorted(members, key=_rank) for name, members in found.items()}


def _rank(row: Row) -> tuple[bool, float]:
    """Sorts by falling mean, rows without any finished run last."""
    return row.n == 0, -row.mean if row.n else 0.0


def make_rows(runs: Sequence[Run]) -> tuple[Row, ...]:
    """Runs that differ in nothing but the seed become one row; rows keep the order of their first run.

    A run that did not finish has fewer epochs, and belongs to the first row that it is like otherwise.
    """
    whole = {_setting(run, but="epochs"): run.epochs for run in reversed(runs) if run.status == "done"}
    found: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        epochs = run.epochs if run.status == "done" else whole.get(_setting(run, but="epochs"), run.epochs)
        found.setdefault((*_setting(run, but="epochs"), epochs), []).append(run)
    rows = [sorted(members, key=lambda run: run.status != "done") for members in found.values()]
    settings = [members[0] for members in rows]
    return tuple(_row(members, settings) for members in rows)


def _setting(run: Run, but: str) -> tuple[str, ...]:
    """What tells a run's row from others, less one of it."""
    return tuple(getattr(run, key) for key in SETTING if key != but)


def _row(runs: list[Run], settings: list[Run]) -> Row:
    """The row of runs that share a setting; ``settings`` are those of all rows."""
    done = [run for run in runs if run.status == "done" and run.test_accuracy is not None]
    label, views, *differing = _names(runs[0], [one for one in settings if one.group == runs[0].group])
    return Row(
        setting=runs[0],
        name=" · ".join([label, views, *differing]),
        brief=" · ".join([label, *differing]),
        accuracies={run.seed: run.test_accuracy for run in done if run.test_accuracy is not None},
        bests=tuple(run.best_test_accuracy for run in done if run.best_test_accuracy is not None),
        unfinished=tuple(run.status for run in runs if run not in done),
        run_ids=tuple(run.run_id for run in done),
    )


def _names(setting: Run, group: list[Run]) -> list[str]:
    """Objective and views, and of the rest only what is not the same in all rows of the group."""
    views = "clean" if setting.views in {"0", ""} else f"{setting.views} view" + "s" * (setting.views != "1")
    texts = {
        "student": setting.student,
        "teachers": f"from {setting.teachers}",
        "samples": f"{setting.samples} samples",
        "epochs": f"{setting.epochs} epochs",
        "batch": f"batch {setting.batch}",
        "learning_rate": f"lr {setting.learning_rate}",
        "weight_decay": f"wd {setting.weight_decay}",
        "labels": f"{setting.labels} labels",
        "targets": f"targets {setting.targets}" * bool(setting.teachers),
        "labelled": f"{setting.labelled} labelled",
    }
    differing = [text for key, text in texts.items() if text and getattr(setting, key) and _differs(key, group)]
    return [setting.label or setting.objective, views, *differing]


def _differs(key: str, group: list[Run]) -> bool:
    """Whether rows of a group differ in a key; hard labels have no teacher, which is no difference worth a name."""
    return len({getattr(one, key) for one in group} - ({""} if key == "teachers" else set())) > 1


@dataclass(frozen=True)
class Comparison:
    """The best distilled row of a group beside the better of its hard-label rows; numbers in percent points."""

    group: str
    distilled: Row
    baseline: Row
    rivals: int
    """Distilled rows that the best one was chosen from."""
    pairs: tuple[tuple[float, float], ...]
    """Accuracy of the distilled row and of the baseline, for each shared seed."""

    @property
    def n(self) -> int:
        """Shared seeds."""
        return len(self.pairs)

    @property
    def differences(self) -> tuple[float, ...]:
        """Distilled minus baseline, for each shared seed."""
        return tuple(distilled - baseline for distilled, baseline in self.pairs)

    @property
    def difference(self) -> float:
        """Mean over shared seeds; without any, the difference of the rows' means."""
        return statistics.fmean(self.differences) if self.n else self.distilled.mean - self.baseline.mean

    @property
    def stderr(self) -> float:
        """Standard error of the mean difference; NaN with fewer than two shared seeds."""
        return statistics.stdev(self.differences) / math.sqrt(self.n) if self.n > 1 else math.nan

    @property
    def p(self) -> float:
        """Two-sided p of the paired t-test; NaN where the differences have no spread to judge by."""
        if self.n < 2 or np.ptp(self.differences) < 1e-9:
            return math.nan
        return float(stats.ttest_rel(*zip(*self.pairs, strict=True)).pvalue)

    @property
    def verdict(self) -> str:
        """One of "confirmed", "contradicted", "within noise", and "undecided" where no test can be made."""
        if math.isnan(self.p):
            return "undecided"
        if self.p >= SIGNIFICANT:
            return "within noise"
        return "confirmed" if self.difference > 0 else "contradicted"

    @property
    def margin(self) -> float:
        """Three times the sum of the two rows' standard errors; NaN where one has fewer than two runs."""
        return 3 * (self.distilled.stderr + self.baseline.stderr)

    @property
    def sentence(self) -> str:
        """What the numbers say, in plain text."""
        return " ".join(part for part in (self._finding(), self._test(), self._margin()) if part)

    def _finding(self) -> str:
        """The difference and its two rows."""
        way = "above" if self.difference >= 0 else "below"
        error = "" if math.isnan(self.stderr) else f" ± {self.stderr:.2f}"
        return (
            f"The best distilled row, {self.distilled.name} ({self.distilled.mean:.2f} %), is "
            f"{abs(self.difference):.2f}{error} points {way} the best hard-label row, "
            f"{self.baseline.name} ({self.baseline.mean:.2f} %)."
        )

    def _test(self) -> str:
        """The verdict with the numbers it rests on."""
        if self.n < 2:
            return "With fewer than two seeds shared by both rows, one run each cannot tell whether this is noise."
        if math.isnan(self.p):
            return f"All {self.n} shared seeds differ by the same, so a paired test has no spread to judge by."
        corrected = f"{min(1.0, self.p * self.rivals):.2g} after Bonferroni for {self.rivals} distilled rows"
        chosen = f" ({corrected})" if self.rivals > 1 else ""
        what = "The difference is" if self.verdict == "within noise" else "A gain by distillation is"
        return f"{what} {self.verdict}: paired t-test over n = {self.n} shared seeds, p = {self.p:.2g}{chosen}."

    def _margin(self) -> str:
        """The difference beside three times the sum of the standard errors."""
        if math.isnan(self.margin):
            return ""
        verb = "exceeds" if self.difference > self.margin else "does not exceed"
        return f"The difference {verb} three times the sum of the two rows' standard errors ({self.margin:.2f} points)."


def compare(rows: Sequence[Row]) -> tuple[Comparison, ...]:
    """One comparison for each group that has finished hard-label rows and finished distilled ones."""
    found = []
    for group, members in groups(rows).items():
        finished = [row for row in members if row.n]
        hard = [row for row in finished if row.hard]
        distilled = [row for row in finished if not row.hard and row.setting.teachers]
        if hard and distilled:
            best, baseline = distilled[0], hard[0]
            shared = [seed for seed in best.accuracies if seed in baseline.accuracies]
            pairs = tuple((best.accuracies[seed], baseline.accuracies[seed]) for seed in shared)
            found.append(Comparison(group, best, baseline, len(distilled), pairs))
    return tuple(found)


def write_summary(rows: Sequence[Row], path: Path) -> Path:
    """One CSV line a row, groups in order, the highest mean first; empty cells where there is no number."""
    columns = (*SETTING, "n", "unfinished", "mean", "std", "stderr", "best_mean")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for members in groups(rows).values():
            writer.writerows(_summary(row) for row in members)
    return path


def _summary(row: Row) -> tuple[object, ...]:
    """One row's cells."""
    setting = (getattr(row.setting, key) for key in SETTING)
    numbers = (row.mean, row.std, row.stderr, row.best_mean)
    cells = ("" if math.isnan(value) else round(value, 6) for value in numbers)
    return (*setting, row.n, len(row.unfinished), *cells)
