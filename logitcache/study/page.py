"""The page of all experiments: an overview of claims and verdicts, then a section for each experiment and profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from logitcache.files import write_text
from logitcache.study.section import MARKS, Experiment, draw_figures, section_text

__all__ = ["write_page"]

ORDER = (
    *("grid", "losses", "ensemble", "sequential", "noisy_teacher", "noisy_labels"),
    *("penultimate", "views", "data_fraction", "fidelity", "born_again"),
)
"""Experiments in the order of the paper; others come after them."""

_OPENING = """\
# The study

What Kim et al. 2021, "Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in Knowledge Distillation",
claim, and what runs of the recipes in `pipelines/` say to it. This page is made by `logitcache study page` from the
tables in `docs/results` alone; `logitcache study collect` puts a run's tables there.

Runs are paired by student and seed unless a claim says otherwise, at equal values of every other setting that both
sides have in common. A verdict rests on a two-sided t-test of the pairs' differences: ✓ confirmed and ✗ contradicted
(p < 0.05), ≈ within noise, ? undecided (no test can be made, or an interval is too wide to call two sides alike).
Where the side that a claim calls the weaker has several settings left to choose from, the strongest stands for it. A
trend is the slope over the steps of a column's values, averaged over all else. p values are of single tests and not
corrected for the number of claims: of twenty claims without any effect, one is expected to come out as ✓ or ✗.
"""


def write_page(experiments: Sequence[Experiment], path: Path) -> Path:
    """Write the page, and its figures into the folder ``figures`` beside it; the same input gives the same bytes."""
    groups: dict[str, list[Experiment]] = {}
    for experiment in sorted(experiments, key=_place):
        groups.setdefault(experiment.facts["recipe"], []).append(experiment)
    parts = [_OPENING, _overview(groups)]
    for recipe, members in groups.items():
        asks = next((f"\n{member.options.asks}\n" for member in members if member.options.asks), "")
        parts.append(f'## <a id="{recipe}"></a>{members[0].options.title}\n{asks}')
        parts += [_part(experiment, path.parent / "figures") for experiment in members]
    write_text(path, "\n".join(parts))
    return path


def _place(experiment: Experiment) -> tuple[int, str, str]:
    """Sorts experiments as the paper has them, profiles by name, the whole recipe first."""
    recipe = experiment.facts["recipe"]
    short = recipe.removeprefix("kim2021-").replace("-", "_")
    return (ORDER.index(short) if short in ORDER else len(ORDER)), recipe, experiment.facts.get("profile", "")


def _part(experiment: Experiment, folder: Path) -> str:
    """One profile's section; its figures are drawn."""
    profile = experiment.facts.get("profile")
    heading = f"### Profile {profile}" if profile else "### The whole recipe"
    figures = draw_figures(experiment, folder, lambda part: f"{experiment.name}-{part}", ("svg",))
    return f"{heading}\n\n{section_text(experiment, figures, 'figures/')}"


def _overview(groups: Mapping[str, Sequence[Experiment]]) -> str:
    """A line a claim, a column a profile, and the verdicts' marks, one for each value of the claim's column `each`."""
    profiles = sorted({experiment.facts.get("profile", "") for members in groups.values() for experiment in members})
    if not profiles:
        return "There are no results yet.\n"
    head = ["Experiment", "Claim", *(profile or "whole" for profile in profiles)]
    lines = ["| " + " | ".join(head) + " |", "| --- | --- |" + " :---: |" * len(profiles)]
    for recipe, members in groups.items():
        by_profile = {experiment.facts.get("profile", ""): experiment for experiment in members}
        says = dict.fromkeys(verdict.claim.says for experiment in members for verdict in experiment.verdicts)
        for claim in says:
            marks = [_marks(by_profile.get(profile), claim) for profile in profiles]
            name = f"[{members[0].options.title}](#{recipe})"
            lines.append("| " + " | ".join((name, claim.replace("|", "\\|"), *marks)) + " |")
    return "\n".join(lines) + "\n"


def _marks(experiment: Experiment | None, says: str) -> str:
    """The marks of a claim's verdicts in an experiment; a dash where it was not run."""
    if experiment is None:
        return "–"
    found = [MARKS[verdict.word] for verdict in experiment.verdicts if verdict.claim.says == says]
    return " ".join(found) or "–"
