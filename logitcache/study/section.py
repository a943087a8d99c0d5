"""One experiment as a section of text: what was asked and run, claims with verdicts, figures and a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from logitcache.study.claims import Verdict, judge_claims
from logitcache.study.columns import Cells, axis_text, is_points, value_text
from logitcache.study.curves import CurvePoint
from logitcache.study.facts import facts_text
from logitcache.study.figures import draw_curves, draw_figure, figure_title, save_figure
from logitcache.study.options import FigureOptions, StudyOptions
from logitcache.study.penultimate_figure import draw_penultimate
from logitcache.study.points import Point
from logitcache.study.published import published_sources, published_value
from logitcache.study.tables import Row, Spread, make_rows, mixed_columns

__all__ = ["MARKS", "Experiment", "Figure", "draw_figures", "section_text"]

MARKS = {"confirmed": "✓", "contradicted": "✗", "within noise": "≈", "undecided": "?"}
"""A sign for each verdict."""

_FOLDED = 24
"""Rows from which a table is folded away until asked for."""


@dataclass(frozen=True)
class Experiment:
    """A recipe's study with what its runs left."""

    options: StudyOptions
    runs: Sequence[Cells]
    facts: Cells
    points: Sequence[Point] = ()
    """Of the penultimate figure; empty without."""
    curves: Sequence[CurvePoint] = ()
    """Of the figures by epoch; empty without."""

    @property
    def name(self) -> str:
        """The run's name, ``recipe`` or ``recipe-profile``."""
        return self.facts["experiment"]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The rows of its table."""
        return make_rows(self.options, self.runs)

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What its runs say to its claims."""
        return judge_claims(self.options.claims, self.runs)


@dataclass(frozen=True)
class Figure:
    """A drawn figure: its file's name and what it shows."""

    file: str
    title: str


def draw_figures(
    experiment: Experiment, folder: Path, name: Callable[[str], str], kinds: Sequence[str] = ("svg", "png")
) -> list[Figure]:
    """Draw an experiment's figures into a folder; those that no finished run has values for are left out.

    Args:
        experiment: what is drawn.
        folder: where files go.
        name: from "1", "2", ... or "penultimate" to a file's name without its ending.
        kinds: endings; the first one is what the figure is known by.
    """
    found = []
    for number, options in enumerate(experiment.options.figures, 1):
        figure = _draw(experiment, number, options)
        if figure is not None:
            paths = save_figure(figure, folder, name(str(number)), kinds)
            found.append(Figure(paths[0].name, figure_title(options)))
    if experiment.points:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            draw_penultimate(experiment.points, folder / f"{name('penultimate')}.{kind}")
        title = "features before the last layer, on the plane through three classes' templates"
        found.append(Figure(f"{name('penultimate')}.{kinds[0]}", title))
    return found


def _draw(experiment: Experiment, number: int, options: FigureOptions) -> Drawing | None:
    """One of an experiment's figures by its number."""
    if options.kind == "epochs":
        return draw_curves(options, [point for point in experiment.curves if point.figure == number])
    return draw_figure(options, experiment.options.rows, experiment.runs)


def section_text(experiment: Experiment, figures: Sequence[Figure], folder: str = "") -> str:
    """The section's text in Markdown, without a heading; ends with a newline.

    Args:
        experiment: what it is about.
        figures: as :func:`draw_figures` drew them.
        folder: goes before the figures' file names, for example ``figures/``.
    """
    parts = [facts_text(experiment.facts), *_claims(experiment)]
    parts += [f"![{figure.title}]({folder}{figure.file})" for figure in figures]
    published = _published(experiment)
    parts += [*_table(experiment, published), *_remarks(experiment, published)]
    return "\n\n".join(parts) + "\n"


def _claims(experiment: Experiment) -> list[str]:
    """The verdicts as one list; those of a claim with a column `each` stand below it."""
    lines = []
    for claim in experiment.options.claims:
        verdicts = [verdict for verdict in experiment.verdicts if verdict.claim is claim]
        source = f" ({claim.source})" if claim.source else ""
        if claim.each is None:
            lines += [f"- {_word(verdict)}: {claim.says}{source}: {verdict.numbers}." for verdict in verdicts]
        else:
            lines.append(f"- {claim.says}{source}:")
            lines += [f"  - {_word(verdict)}, {value_text(verdict.of)}: {verdict.numbers}." for verdict in verdicts]
    return ["\n".join(lines)] if lines else []


def _word(verdict: Verdict) -> str:
    """A verdict's mark and word."""
    return f"{MARKS[verdict.word]} **{verdict.word.capitalize()}**"


def _table(experiment: Experiment, published: dict[str, list[float | None]]) -> list[str]:
    """The rows with mean ± standard deviation, folded where they are many."""
    options = experiment.options
    kept = [measure for measure in options.measures if any(row.measures[measure].values for row in experiment.rows)]
    if not experiment.rows:
        return ["There are no runs."]
    head = [*options.rows, "runs", *(axis_text(measure) for measure in kept)]
    head += [f"published {axis_text(measure)}" for measure in published]
    lines = [_line(head), _line(["---"] * len(options.rows) + ["---:"] * (len(head) - len(options.rows)))]
    for place, row in enumerate(experiment.rows):
        cells = [*map(value_text, row.values), f"{row.n}" if row.n == len(row.runs) else f"{row.n} of {len(row.runs)}"]
        cells += [_spread_text(measure, row.measures[measure]) for measure in kept]
        cells += [_fixed(measure, values[place]) for measure, values in published.items()]
        lines.append(_line(cells))
    table = "\n".join(lines)
    if len(experiment.rows) <= _FOLDED:
        return [table]
    return [f"<details><summary>{len(experiment.rows)} rows</summary>", table, "</details>"]


def _published(experiment: Experiment) -> dict[str, list[float | None]]:
    """Published values of each row by measure, of the measures that have any."""
    table = experiment.options.published
    if table is None:
        return {}
    found = {
        measure: [published_value(table, experiment.facts, row.runs[0], measure) for row in experiment.rows]
        for measure in experiment.options.measures
    }
    return {measure: values for measure, values in found.items() if any(value is not None for value in values)}


def _remarks(experiment: Experiment, published: dict[str, list[float | None]]) -> list[str]:
    """What the reader must know of the numbers."""
    numbers = "Numbers are means over the runs of a row ± their standard deviation."
    mixed = mixed_columns(experiment.rows)
    if mixed:
        numbers += f" Runs of one row differ in {', '.join(mixed)} too, not by their seed alone."
    table = experiment.options.published
    if published and table is not None:
        numbers += f" Published figures are of the same setting: {'; '.join(published_sources(table))}."
    else:
        numbers += " No published figure stands beside them: trends are compared, not values."
    found = [numbers]
    if experiment.facts.get("teacher_measures"):
        values = (entry.replace(":", " ") for entry in experiment.facts["teacher_measures"].split(";"))
        found.append(f"The teacher itself: {', '.join(values)}.")
    if experiment.options.limits:
        found.append(f"Limits: {experiment.options.limits}")
    return found


def _spread_text(measure: str, spread: Spread) -> str:
    """Mean ± standard deviation; a dash of no value."""
    if not spread.values:
        return "–"
    mean = _fixed(measure, spread.mean)
    return mean if math.isnan(spread.std) else f"{mean} ± {_fixed(measure, spread.std)}"


def _fixed(measure: str, value: float | None) -> str:
    """A value of a measure: points with two digits, others with three significant ones."""
    if value is None:
        return "–"
    return f"{value:.2f}" if is_points(measure) else f"{value:.3g}"


def _line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
