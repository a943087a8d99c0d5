"""Facts of an experiment: what ran, on what data, on what machine. One line of ``facts.csv``."""

from __future__ import annotations

from collections.abc import Sequence

from logitcache.study.columns import Cells, number, ordered, value_text

__all__ = ["FACTS", "facts_text", "runs_facts", "teacher_entry"]

FACTS = (
    *("experiment", "recipe", "profile"),
    *("data", "train_samples", "test_samples", "classes", "shape"),
    *("teachers", "teacher_measures", "students", "seeds", "epochs", "runs", "finished"),
    *("device", "hardware", "torch", "logitcache", "date"),
)
"""Columns of ``facts.csv``.

``teachers`` has entries ``name:model:test accuracy``, ``name@variant:...`` where the recipe has variants, joined by
``;`` as lists in other columns are. ``teacher_measures`` says what a study with a table ``penultimate`` measured of
the teacher, as ``column:value``. ``shape`` is channels x height x width.
"""


def runs_facts(runs: Sequence[Cells]) -> dict[str, str]:
    """The facts that follow from the runs."""
    done = [run for run in runs if run.get("status") == "done"]
    return {
        "students": _join(runs, "student"),
        "seeds": _join(runs, "seed"),
        "epochs": _join(done, "epochs"),
        "runs": str(len(runs)),
        "finished": str(len(done)),
    }


def teacher_entry(name: str, variant: str, model: str, accuracy: float | None) -> str:
    """A teacher as facts write it; its test accuracy in percent where it is known."""
    place = f"{name}@{variant}" if variant else name
    return f"{place}:{model}:{'' if accuracy is None else f'{accuracy:.2f}'}"


def facts_text(facts: Cells) -> str:
    """On what data, with which networks and on what machine an experiment ran, in sentences."""
    data = (
        f"Data: {facts.get('data')}, {_count(facts, 'train_samples')} train and {_count(facts, 'test_samples')} test "
        f"samples of {facts.get('shape')} in {facts.get('classes')} classes."
    )
    teachers = [_teacher_text(entry) for entry in facts.get("teachers", "").split(";") if entry]
    names = f"Teachers: {', '.join(teachers)}." if len(teachers) > 1 else f"Teacher: {''.join(teachers) or 'none'}."
    students = (
        f"Students: {_list(facts, 'students')}; seeds {_list(facts, 'seeds')}; {_list(facts, 'epochs')} epochs; "
        f"{_count(facts, 'finished')} of {_count(facts, 'runs')} runs finished."
    )
    machine = (
        f"Machine: {facts.get('hardware') or facts.get('device')} ({facts.get('device')}), torch {facts.get('torch')}, "
        f"logitcache {facts.get('logitcache')}, {facts.get('date')}."
    )
    return f"{data} {names} {students} {machine}"


def _join(runs: Sequence[Cells], column: str) -> str:
    """The different values of a column."""
    return ";".join(ordered(run.get(column, "") for run in runs))


def _list(facts: Cells, column: str) -> str:
    """A list as text."""
    return ", ".join(value_text(value) for value in facts.get(column, "").split(";"))


def _count(facts: Cells, column: str) -> str:
    """A count with its thousands apart."""
    value = number(facts.get(column, ""))
    return "?" if value is None else f"{value:,.0f}".replace(",", " ")


def _teacher_text(entry: str) -> str:
    """``big (wrn-28-4, 75.30 %)`` of an entry."""
    name, _, rest = entry.partition(":")
    model, _, accuracy = rest.rpartition(":")  # a model's name may be module:factory
    return f"{name} ({model}, {accuracy} %)" if accuracy else f"{name} ({model})"
