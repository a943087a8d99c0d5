"""Sections about measures: what the tidy tables say is what charts and text say, and nothing where they are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tidy import write_tidy

from logitcache.report import feature_sections, label_sections, tau_sections
from logitcache.report.charts import Cloud, Heat, Lines
from logitcache.report.sources import read_evidence
from logitcache.report.story import Story, tell
from logitcache.report.thumbnails import write_thumbnails

pytestmark = pytest.mark.usefixtures("plain")
TEACHER = [("teacher", "test"), ("teacher", "train")]
PICTURE = "data:image/png;base64,AAAA"


@pytest.fixture
def directory(make_directory) -> Path:
    return make_directory()


def story_of(directory: Path) -> Story:
    return tell(read_evidence(directory, None))


def test_without_tables_there_is_nothing_to_tell(directory):
    (directory / "statistics/class_means.csv").unlink()
    story = story_of(directory)
    parts = (tau_sections.temperatures, tau_sections.histograms, feature_sections.penultimate)
    assert [part(story) for part in (*parts, label_sections.similarity, label_sections.suspects)] == [""] * 5
    assert story.charts == {}


def test_temperatures_show_teachers_and_one_student_an_objective(directory):
    story = story_of(directory)
    best = {row.setting.label: row for row in reversed(story.groups["3 % of the samples"])}
    runs = [(run, "test") for row in story.rows for run in row.run_ids]
    values = {("4.0",): {"entropy": 1.0, "ece": 0.1}, ("1.0",): {"entropy": 0.2, "ece": 0.3}}
    write_tidy(directory / "statistics/tau_by_tau.csv", ("tau",), TEACHER, values)
    write_tidy(directory / "students_statistics/tau_by_tau.csv", ("tau",), runs, values)
    write_tidy(directory / "statistics/tau.csv", (), TEACHER, {(): {"best_tau": 1.25, "best_tau_inside": 0}})
    text = tau_sections.temperatures(story)
    chart = story.charts["tau-entropy"]
    assert isinstance(chart, Lines)
    assert chart.x.log
    first, *students, last = chart.series
    assert (first.name, first.x, first.y, first.dashed) == ("teacher", (1.0, 4.0), (0.2, 1.0), False)
    assert (last.name, last.dashed) == ("teacher, train", True)
    assert {one.name for one in students} == {row.name for row in best.values()}
    assert set(story.charts) == {"tau-entropy", "tau-ece"}
    assert "1.25 (an end of the list" in text


def test_the_reliability_curve_leaves_out_bins_with_few_rows(directory):
    cells = {
        (tau, str(place)): {"bin_confidence": 0.1 * place, "bin_accuracy": 0.2 * place, "bin_count": count}
        for tau in ("1.0", "4.0")
        for place, count in enumerate((0, 9, 10, 500))
    }
    write_tidy(directory / "statistics/tau.csv", ("tau", "bin"), TEACHER[:1], cells)
    write_tidy(directory / "statistics/tau_by_tau.csv", ("tau",), TEACHER[:1], {("1.0",): {"nll": 1.0}})
    story = story_of(directory)
    tau_sections.temperatures(story)
    diagonal, curve = story.charts["reliability"].series
    assert (diagonal.x, diagonal.y) == ((0.0, 1.0), (0.0, 1.0))
    assert np.allclose((curve.x, curve.y), ((0.2, 0.3), (0.4, 0.6)))


def test_histograms_are_outlines_of_full_bins_of_the_test_split(directory):
    density = (0.0, 0.5, 0.0, 1.5, 0.0)
    cells = {
        (str(k),): {"all_density": value, "all_left": k / 2, "all_right": (k + 1) / 2}
        for k, value in enumerate(density)
    }
    write_tidy(directory / "statistics/histogram.csv", ("bin",), TEACHER, cells)
    story = story_of(directory)
    assert tau_sections.histograms(story)
    (line,) = story.charts["histogram-all"].series
    assert line.x == (0.5, 0.5, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0)
    assert line.y == (0.0, 0.5, 0.5, 0.0, 0.0, 1.5, 1.5, 0.0)
    assert np.trapezoid(line.y, line.x) == pytest.approx(1.0)


def test_the_class_matrix_is_the_softmax_of_mean_logits(directory):
    story = story_of(directory)
    assert label_sections.similarity(story)
    chart = story.charts["classes-teacher"]
    assert isinstance(chart, Heat)
    assert chart.rows == chart.columns
    logits = np.full(10, -2.0)
    logits[[chart.rows.index("Shirt"), chart.rows.index("Coat")]] = 9.0, 6.0
    powers = np.exp(logits / 4)
    assert np.allclose(chart.values[chart.rows.index("Shirt")], 100 * powers / powers.sum())


def test_a_matrix_of_many_classes_has_those_that_are_least_sure_of_themselves():
    names = [f"c{k}" for k in range(40)]
    lines = [
        {"class": name, **{f"logit_{other}": str(k / 8 if other == name else 0.0) for other in names}}
        for k, name in enumerate(names)
    ]
    chart = label_sections._matrix(lines)
    assert chart is not None
    assert chart.rows == tuple(names[:30])
    assert label_sections._matrix(lines[:1]) is None


def write_labels(directory: Path) -> None:
    suspects = {
        (str(rank),): {
            "suspect_row": 5 - rank,
            "suspect_index": 105 - rank,
            "suspect_label": 0,
            "suspect_predicted": 1,
            "suspect_p_label": 0.01,
            "suspect_p_predicted": 0.9 - rank / 100,
        }
        for rank in range(3)
    }
    classes = {
        ("cat <b>",): {"label_class_rows": 60, "label_class_contradicted": 5.0, "label_class_noise_rate": 2.5},
        ("dog",): {"label_class_rows": 40, "label_class_contradicted": 7.5, "label_class_noise_rate": 1.0},
    }
    folder, keys = directory / "statistics", TEACHER[:1]
    write_tidy(folder / "labels.csv", (), keys, {(): {"label_noise_rate": 1.9, "label_contradicted": 6.0}})
    write_tidy(folder / "labels_by_class.csv", ("class",), keys, classes)
    write_tidy(folder / "labels_by_rank.csv", ("rank",), keys, suspects)


def test_suspects_are_shown_with_picture_label_and_what_the_teacher_says(directory):
    write_labels(directory)
    write_thumbnails(directory, {("test", 105): PICTURE, ("train", 104): PICTURE})
    text = label_sections.suspects(story_of(directory))
    assert "6.00 % of labels are not the most probable class; 1.90 % are estimated to be wrong" in text
    cards = text.split('<div class="suspect">')[1:]
    assert ["sample 105" in cards[0], "sample 104" in cards[1], "sample 103" in cards[2]] == [True] * 3
    assert [PICTURE in card for card in cards] == [True, False, False]
    assert "label cat &lt;b&gt;, 1.0\u00a0%" in cards[0]
    assert "says dog, 90.0\u00a0%" in cards[0]
    assert text.index('<td class="text">dog') < text.index('<td class="text">cat'), "the most contradicted first"


def test_penultimate_points_are_grouped_by_class_and_name_their_sample(directory):
    samples = {
        (str(k),): {"plane_x": k, "plane_y": -k, "plane_index": 100 + k, "plane_row": k, "plane_class": k % 2}
        | {"plane_predicted": 1}
        for k in range(4)
    }
    folder, keys = directory / "statistics", TEACHER[:1]
    write_tidy(folder / "plane.csv", ("sample",), keys, samples)
    classes = {("cat",): {"feature_class_rows": 2}, ("dog",): {"feature_class_rows": 2}}
    write_tidy(folder / "penultimate_by_class.csv", ("class",), keys, classes)
    write_tidy(folder / "penultimate.csv", (), keys, {(): {"nc1": 0.5, "feature_norm": 3.0}})
    write_thumbnails(directory, {("test", 102): PICTURE})
    story = story_of(directory)
    text = feature_sections.penultimate(story)
    chart = story.charts["plane-teacher-test"]
    assert isinstance(chart, Cloud)
    cat, dog = chart.groups
    assert (cat.name, cat.x, cat.y) == ("cat", (0.0, 2.0), (0.0, -2.0))
    assert (dog.name, dog.texts) == ("dog", ("sample 101, says dog", "sample 103, says dog"))
    assert cat.pictures == ("", PICTURE)
    assert "0.500" in text


def test_pictures_are_kept_as_far_as_their_bytes_go():
    assert feature_sections._affordable(["abc", "", "de", "f"], 4) == ("abc", "", "", "")
    assert feature_sections._affordable(["", ""], 4) == ()


def test_labels_are_judged_by_teachers_alone_and_projections_are_few(directory):
    story = story_of(directory)
    runs = [(run, split) for row in story.rows for run in row.run_ids for split in ("test", "train")]
    write_tidy(directory / "students_statistics/labels.csv", (), runs, {(): {"label_contradicted": 6.0}})
    table = directory / "students_statistics/penultimate_by_sample.csv"
    write_tidy(table, ("sample",), runs, {("0",): {"pca_x": 0.0, "pca_y": 1.0}})
    assert label_sections.suspects(story) == ""
    assert feature_sections.penultimate(story)
    assert len(story.charts) == feature_sections.MOST


def test_principal_components_are_those_of_each_sample(directory):
    points = {(str(k),): {"pca_x": k, "pca_y": 10 + k} for k in range(3)}
    write_tidy(directory / "statistics/penultimate_by_sample.csv", ("sample",), TEACHER[:1], points)
    story = story_of(directory)
    feature_sections.penultimate(story)
    (group,) = story.charts["pca-teacher-test"].groups
    assert (group.name, group.x, group.y) == ("class unknown", (0.0, 1.0, 2.0), (10.0, 11.0, 12.0))


def test_classes_have_their_names_from_the_table_of_classes_where_no_measure_names_them(directory):
    write_tidy(directory / "statistics/plane.csv", (), TEACHER, {(): {"plane_rows": 1}})
    story = story_of(directory)
    assert story.class_names("plane", "feature_class_rows", TEACHER[0])[:2] == ["T-shirt/top", "Trouser"]


def test_a_run_whose_name_was_cut_is_still_that_run(directory):
    story = story_of(directory)
    run = story.rows[0].run_ids[0]
    assert story.run_of(run) == run
    assert story.run_of("teacher") == ""
    assert story.run_of("a" * 30) == ""
