"""The sections about students: accuracy, training curves, seconds an epoch, and students beside their teacher.

Each takes the story and gives HTML, '' where there is nothing to tell.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from logitcache.report.charts import Axis, Bar, Bars
from logitcache.report.curves import accuracy_dots, curve_span, learning_curves, sweep_heat
from logitcache.report.markup import details, fixed, grid, note, paragraph, section, short, table
from logitcache.report.sources import Cells, number
from logitcache.report.story import Story
from logitcache.report.tables import Row

__all__ = ["accuracy", "closeness", "curves", "seconds", "sweep"]


def accuracy(story: Story) -> str:
    """Accuracy of every row, a figure and a table a group."""
    if not story.groups:
        return ""
    panels = []
    for group, rows in story.groups.items():
        finished = [row for row in rows if row.n]
        drawn = [_accuracy_figure(story, group, finished)] if finished else []
        panels.append(grid([*drawn, _accuracy_table(story, group, rows)]))
    legend = (
        "Test accuracy after the last epoch. One dot a seed; the upright stroke is the mean, the pale bar its standard "
        "error. Hollow dots saw the clean view only, filled ones augmented views. The dashed line is the best row of "
        "hard labels. In the tables, the two rows that are compared are bold, the distilled one coloured."
    )
    return section("Accuracy of students by objective", note(legend), *panels)


def _accuracy_figure(story: Story, group: str, rows: list[Row]) -> str:
    """A dot a seed for the rows of one group."""
    comparison = story.comparisons.get(group)
    teacher = max(story.test_accuracy().values(), default=None)
    chart = accuracy_dots(rows, story.colours, comparison.baseline if comparison else None, teacher)
    spoken = "; ".join(f"{row.name} {row.mean:.2f}" for row in rows)
    return story.figure(chart, f"accuracy {group}", _title(group, rows), f"Test accuracy in percent: {spoken}.")


def _title(group: str, rows: Sequence[Row]) -> str:
    """A group with its number of samples, where all its rows have the same."""
    samples = {row.setting.samples for row in rows}
    return f"{group} ({int(float(samples.pop())):,} samples)" if len(samples) == 1 and "" not in samples else group


def _accuracy_table(story: Story, group: str, rows: list[Row]) -> str:
    """Mean, spread and standard error of the rows of one group."""
    comparison = story.comparisons.get(group)
    marks = {}
    if comparison:
        marks = {rows.index(comparison.distilled): "best", rows.index(comparison.baseline): "baseline"}
    head = ("row", "n", "mean", "std. dev.", "std. error", "best epoch")
    cells = [
        (_with_unfinished(row), str(row.n), fixed(row.mean), fixed(row.std), fixed(row.stderr), fixed(row.best_mean))
        for row in rows
    ]
    return table(head, cells, caption="Test accuracy, percent", marks=marks)


def _with_unfinished(row: Row) -> str:
    """A row's name, and what became of its runs that did not finish."""
    counts = [f"{row.unfinished.count(status)} {status}" for status in dict.fromkeys(row.unfinished)]
    return f"{row.name} ({', '.join(counts)})" if counts else row.name


def sweep(story: Story) -> str:
    """Mean accuracy by temperature and weight, a heat map a group that has two of each."""
    drawn = []
    for group, rows in story.groups.items():
        chart = sweep_heat(rows)
        if chart is not None:
            spoken = "Mean test accuracy in percent by temperature and weight."
            title = f"Test accuracy, {_title(group, rows)}, %"
            drawn.append(story.figure(chart, f"sweep {group}", title, spoken))
    legend = (
        "Mean over seeds of Kullback-Leibler objectives: temperatures across, the weight α of the teacher's part down; "
        "1 − α is that of hard labels. Where several rows share a cell, such as other views, it has the best of them."
    )
    return section("Temperature and weight", note(legend), grid(drawn)) if drawn else ""


def curves(story: Story) -> str:
    """Accuracy by epoch: a panel for each group and number of views, on one axis within a group."""
    drawn = []
    for group, rows in story.groups.items():
        known = [row for row in rows if row.n and all(story.evidence.curves.get(run) for run in row.run_ids)]
        if not known:
            continue
        span = curve_span(known, story.evidence.curves)
        for views in sorted({row.setting.views for row in known}):
            seen = "clean view" if views in {"0", ""} else f"{views} views"
            members = [row for row in known if row.setting.views == views]
            chart = learning_curves(members, story.evidence.curves, story.colours, span)
            title, names = f"{group}, {seen}", ", ".join(row.name for row in members)
            drawn.append(story.figure(chart, f"curves {title}", title, f"Test accuracy by epoch of {names}."))
    legend = (
        "Mean over seeds, with the lowest and the highest seed as a band. The climb of the first epochs is cut off; "
        "panels of one group share their axis. A click on a name below a figure mutes its line."
    )
    return section("Training curves", note(legend), grid(drawn)) if drawn else ""


def seconds(story: Story) -> str:
    """Seconds of a student's epoch by where its targets come from."""
    timing = story.evidence.timing
    if not timing or not timing.get("seconds_per_epoch"):
        return ""
    found = {name: float(value) for name, value in timing["seconds_per_epoch"].items()}
    base_name = next(iter(found))
    base = found[base_name]
    items = [
        Bar(
            name, value, f"{value:.3g} s" + (f"  (× {value / base:.2f})" if name != base_name else ""), "cached" in name
        )
        for name, value in found.items()
    ]
    spoken = ", ".join(f"{name} {value:.3g} s" for name, value in found.items())
    chart = Bars(Axis("seconds per epoch"), "targets", tuple(items))
    drawn = story.figure(chart, "seconds", "One epoch of a student", spoken)
    head = ("targets", "seconds per epoch", f"ratio to {base_name}")
    cells = [(name, short(value), fixed(value / base)) for name, value in found.items()]
    setting = ", ".join(
        f"{name} {timing[name]}"
        for name in ("student", "teacher", "samples", "batch", "threads", "device")
        if name in timing
    )
    return section("Seconds per epoch", grid([drawn, table(head, cells)]), note(f"Measured with {setting}."))


def closeness(story: Story) -> str:
    """KL and top-1 agreement of every row beside every teacher, means over seeds."""
    students = story.evidence.students
    measured = [cells for cells in students if cells.get("status") == "measured"]
    skipped = [cells for cells in students if cells.get("status") == "skipped"]
    if not students:
        return ""
    taus = [name for name in students[0] if name.startswith("kl_tau_")]
    tables = [
        table(
            ("row", "seeds", "agreement, %", *(f"KL, τ={tau.removeprefix('kl_tau_')}" for tau in taus)),
            _closeness_rows([cells for cells in measured if cells["teacher"] == teacher], rows, taus),
            caption=f"{group}, beside {teacher}",
        )
        for teacher in dict.fromkeys(cells["teacher"] for cells in measured)
        for group, rows in story.groups.items()
    ]
    text = (
        "How close students come to the teacher on the test split: how often both name the same class, and "
        "KL(teacher || student) in nats, without the factor τ². A student may be close and wrong, or right and far."
    )
    return section("Students beside the teacher", paragraph(text), *tables, _skipped(skipped))


def _closeness_rows(measured: list[Cells], rows: list[Row], taus: Sequence[str]) -> list[tuple[str, ...]]:
    """One line a row that has a measured run."""
    lines = []
    for row in rows:
        own = [cells for cells in measured if cells["run_id"] in row.run_ids]
        if own:
            kl = (short(_mean(own, tau)) for tau in taus)
            lines.append((row.name, str(len(own)), fixed(_mean(own, "agreement")), *kl))
    return lines


def _mean(lines: list[Cells], column: str) -> float | None:
    """Mean of a column's numbers."""
    values = [value for value in (number(cells, column) for cells in lines) if value is not None]
    return statistics.fmean(values) if values else None


def _skipped(skipped: list[Cells]) -> str:
    """Students that could not be measured, with the reason."""
    if not skipped:
        return ""
    reasons = dict.fromkeys((cells["run_id"], cells["label"], cells["reason"]) for cells in skipped)
    return details(f"{len(reasons)} not measured", table(("run", "objective", "reason"), list(reasons), texts=3))
