"""A study's small result files, kept beside the page that is made from them.

::

    RESULTS/facts.csv              one line an experiment; replaced when it is collected again
    RESULTS/EXPERIMENT.csv         its runs: columns that a study may name and that hold anything
    RESULTS/EXPERIMENT-points.csv  points of its penultimate figure, where it has one
    RESULTS/EXPERIMENT-curves.csv  curves of its figures by epoch, where it has any
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from logitcache.errors import InputError
from logitcache.files import write_text
from logitcache.study.columns import KNOWN, MEASURES, Cells, number
from logitcache.study.curves import CURVES_FILE, read_curves
from logitcache.study.facts import FACTS
from logitcache.study.options import StudyOptions
from logitcache.study.points import POINTS_FILE, read_points
from logitcache.study.runs import read_table, write_table
from logitcache.study.section import Experiment

__all__ = ["FACTS_FILE", "RUNS_FILE", "collect", "read_collected"]

RUNS_FILE, FACTS_FILE = "runs.csv", "facts.csv"
"""What the study step leaves in a run's folder ``study``, beside the points of a penultimate figure."""

_DIGITS = {"seconds_per_epoch": 3}


def collect(study: Path, results: Path) -> list[Path]:
    """Copy what a page needs from a run's folder ``study``; returns the files that were written.

    Raises:
        InputError: the folder holds no study.
    """
    runs = read_table(study / RUNS_FILE, needed=("status", "seed"))
    facts = read_table(study / FACTS_FILE, needed=("experiment", "recipe"))
    if len(facts) != 1:
        raise InputError(f"{study / FACTS_FILE} has {len(facts)} lines, a study has 1; make the study again")
    name = facts[0]["experiment"]
    lines = [_short(run) for run in runs]
    columns = [column for column in KNOWN if any(line.get(column) for line in lines)]
    written = [write_table(results / f"{name}.csv", lines, columns)]
    for file, kind in ((POINTS_FILE, "points"), (CURVES_FILE, "curves")):
        kept = results / f"{name}-{kind}.csv"
        if (study / file).is_file():
            write_text(kept, (study / file).read_text(encoding="utf-8"))
            written.append(kept)
        else:
            kept.unlink(missing_ok=True)  # of a study that had some; the page would draw them
    known = read_table(results / FACTS_FILE) if (results / FACTS_FILE).is_file() else ()
    others = [line for line in known if line.get("experiment") != name]
    together = sorted([*others, facts[0]], key=lambda line: line["experiment"])
    return [*written, write_table(results / FACTS_FILE, together, FACTS)]


def read_collected(results: Path, study_of: Callable[[str, str], StudyOptions | None]) -> list[Experiment]:
    """The experiments in a folder of collected results.

    Args:
        results: the folder.
        study_of: from a recipe's name and profile to its study; None where there is no such recipe or study.

    Raises:
        InputError: there are no results, a file is missing, or an experiment's recipe has no study.
    """
    found = []
    for facts in read_table(results / FACTS_FILE, needed=FACTS):
        options = study_of(facts["recipe"], facts["profile"])
        if options is None:
            raise InputError(
                f"{results / FACTS_FILE} has an experiment of recipe {facts['recipe']!r}, profile "
                f"{facts['profile'] or '(none)'}, and no recipe that comes with logitcache is called so and has a "
                "table [study]; remove the line or bring the recipe back"
            )
        runs = read_table(results / f"{facts['experiment']}.csv", needed=("status", "seed"))
        points, curves = (results / f"{facts['experiment']}-{kind}.csv" for kind in ("points", "curves"))
        more = read_points(points) if points.is_file() else (), read_curves(curves) if curves.is_file() else ()
        found.append(Experiment(options, runs, facts, *more))
    return found


def _short(run: Cells) -> dict[str, str]:
    """A run's cells with measures rounded to six significant digits, seconds to three."""
    return {column: _rounded(column, text) if column in MEASURES else text for column, text in run.items()}


def _rounded(column: str, text: str) -> str:
    """A number's text with fewer digits."""
    value = number(text)
    return text if value is None else f"{value:.{_DIGITS.get(column, 6)}g}"
