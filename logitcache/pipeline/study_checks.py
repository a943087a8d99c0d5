"""Faults of a recipe's table [study]: columns that no run has, tables of published figures that there are not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from logitcache.errors import Fault
from logitcache.factories import nearest
from logitcache.pipeline.faults import show
from logitcache.study.columns import KNOWN, MEASURES
from logitcache.study.curves import BY_EPOCH
from logitcache.study.options import ClaimOptions, FigureOptions, StudyOptions
from logitcache.study.published import published_tables

__all__ = ["study_faults"]


def study_faults(study: StudyOptions | None, teachers: Sequence[str]) -> list[Fault]:
    """What a study names and runs do not have.

    Args:
        study: the table, None where there is none or it is wrong by itself.
        teachers: names of the recipe's teachers.
    """
    if study is None:
        return []
    faults = [
        *_unknown("study.rows", study.rows, KNOWN, "columns of a study"),
        *_unknown("study.measures", study.measures, MEASURES, "measures of a run"),
    ]
    for place, figure in enumerate(study.figures):
        faults += _figure_faults(f"study.figures.{place}", figure)
    for place, claim in enumerate(study.claims):
        faults += _claim_faults(f"study.claims.{place}", claim)
    if study.published is not None:
        faults += _unknown("study.published", [study.published], published_tables(), "tables of published figures")
    named = None if study.penultimate is None else study.penultimate.teacher
    if named is not None:
        faults += _unknown("study.penultimate.teacher", [named], teachers, "the recipe's teachers")
    elif study.penultimate is not None and not teachers:
        faults.append(Fault("study.penultimate", "(a table)", "needs a teacher; the recipe has none"))
    return faults


def _figure_faults(key: str, figure: FigureOptions) -> Iterator[Fault]:
    """Columns that a figure names."""
    for name in ("x", "y", "lines"):
        column = getattr(figure, name)
        if column is not None:
            yield from _unknown(f"{key}.{name}", [column], KNOWN, "columns of a study")
    known, what = (BY_EPOCH, "measures by epoch") if figure.kind == "epochs" else (MEASURES, "measures of a run")
    yield from _unknown(f"{key}.measure", [figure.measure], known, what)
    yield from _unknown(f"{key}.where", figure.where, KNOWN, "columns of a study")


def _claim_faults(key: str, claim: ClaimOptions) -> Iterator[Fault]:
    """Columns that a claim names."""
    for name in ("more", "less", "where"):
        yield from _unknown(f"{key}.{name}", getattr(claim, name) or {}, KNOWN, "columns of a study")
    for name in ("each", "trend"):
        column = getattr(claim, name)
        if column is not None:
            yield from _unknown(f"{key}.{name}", [column], KNOWN, "columns of a study")
    yield from _unknown(f"{key}.pair", claim.pair, KNOWN, "columns of a study")
    yield from _unknown(f"{key}.measure", [claim.measure], MEASURES, "measures of a run")


def _unknown(key: str, given: Iterable[str], known: Sequence[str], what: str) -> Iterator[Fault]:
    """A fault for each name that is not known."""
    for name in given:
        if name not in known:
            yield Fault(key, show(name), f"must be among the {what}: {', '.join(known)}{nearest(name, known)}")
