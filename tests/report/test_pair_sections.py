"""The section about students and their teacher: what the tables say is what its figures and tables say."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tidy import write_tidy

from logitcache.report import networks
from logitcache.report.charts import Heat, Lines
from logitcache.report.pair_sections import differences
from logitcache.report.sources import read_evidence
from logitcache.report.story import Story, tell

pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture
def directory(make_directory) -> Path:
    return make_directory()


def story_of(directory: Path) -> Story:
    return tell(read_evidence(directory, None))


def write_pairs(directory: Path, others: Mapping[str, float]) -> Story:
    """What the students' statistics say of all runs; each teacher's numbers are those of its factor."""
    story = story_of(directory)
    runs = [(run, "test") for row in story.rows for run in row.run_ids]
    folder = directory / "students_statistics"

    def write(name: str, dims: tuple[str, ...], cells: Mapping[tuple[str, ...], Mapping[str, Any]]) -> None:
        table = {
            (other, *place): {key: factor * value for key, value in values.items()}
            for other, factor in others.items()
            for place, values in cells.items()
        }
        write_tidy(folder / name, ("other", *dims), runs, table)

    shares = {"T/T": 80.0, "T/F": 4.0, "F/T": 11.0, "F/F": 5.0}
    write(
        "pair_by_other_outcome.csv", ("outcome",), {(one,): {"outcome_share": share} for one, share in shares.items()}
    )
    taus = {("4.0",): {"kl_other_this": 0.1}, ("1.0",): {"kl_other_this": 0.5}, ("50.0",): {"kl_other_this": 0.0}}
    write("pair_by_other_tau.csv", ("tau",), taus)
    write("pair_by_other.csv", (), {(): {"agreement": 88.123, "rank_correlation": 0.75}})
    write("similarity_by_other.csv", (), {(): {"similarity_cka": 0.625}})
    return story


def test_students_stand_beside_each_teacher_they_were_compared_with(directory):
    story = write_pairs(directory, {"big": 1.0, "old": 0.5})
    text = differences(story)
    assert set(story.charts) == {f"pair-{kind}-{name}" for kind in ("kl", "outcomes") for name in ("big", "old")}
    for name, factor in (("big", 1.0), ("old", 0.5)):
        heat, lines = story.charts[f"pair-outcomes-{name}"], story.charts[f"pair-kl-{name}"]
        assert isinstance(heat, Heat)
        assert isinstance(lines, Lines)
        assert heat.columns == ("both right", "student alone", "teacher alone", "both wrong")
        assert set(heat.values) == {(80 * factor, 4 * factor, 11 * factor, 5 * factor)}
        assert heat.rows == tuple(one.name for one in lines.series)
        assert {(one.x, one.y) for one in lines.series} == {((1.0, 4.0), (0.5 * factor, 0.1 * factor))}
    assert all(cell in text for cell in ("88.12", "0.750", "0.625", "44.06", "0.375", "0.312"))
    assert "CKA of features" in text
    (directory / "students_statistics" / "similarity_by_other.csv").unlink()
    assert "CKA of features" not in differences(story_of(directory)), "no column is empty"


def test_without_comparisons_there_is_nothing_to_tell(directory):
    story = story_of(directory)
    assert differences(story) == ""
    assert story.charts == {}


def test_of_many_objectives_the_best_are_shown_and_one_of_hard_labels_first(directory, monkeypatch):
    monkeypatch.setattr(networks, "STUDENTS", 3)
    story = write_pairs(directory, {"big": 1.0})
    differences(story)
    rows = story.charts["pair-outcomes-big"].rows
    ranked = {row.setting.label: row for row in reversed(story.groups["3 % of the samples"])}
    best = sorted(ranked.values(), key=lambda row: -row.mean)
    hard = next(row for row in best if row.hard)
    assert rows == tuple(row.name for row in (hard, *best[:2]))


def test_views_are_named_only_where_students_differ_in_them(directory):
    write_pairs(directory, {"big": 1.0})
    story = story_of(directory)
    differences(story)
    assert all("·" in name for name in story.charts["pair-outcomes-big"].rows)
    results = directory / "results.csv"
    with results.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    with results.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(line for line in lines if line["views"] == "8")
    story = story_of(directory)
    differences(story)
    labels = {row.setting.label for row in story.rows}
    assert set(story.charts["pair-outcomes-big"].rows) == labels
