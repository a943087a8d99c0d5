"""What a page needs is copied, without paths, and replaced when it is collected again."""

from __future__ import annotations

import pytest
from builders import tree
from studies import experiment, run, seeds

from logitcache.errors import InputError
from logitcache.study.collect import collect, read_collected
from logitcache.study.facts import FACTS
from logitcache.study.points import Point, write_points
from logitcache.study.runs import read_table, write_table

POINTS = (Point("teacher", "cat", 0.5, 1.0),)


def leave(folder, runs, points=(), **facts):
    """What the study step leaves."""
    write_table(folder / "runs.csv", [{"run_id": "x", "error": "", "mode": "alone", **each} for each in runs])
    write_table(folder / "facts.csv", [experiment(runs, facts=facts).facts], FACTS)
    if points:
        write_points(folder / "penultimate-points.csv", points)
    return folder


def test_runs_keep_what_a_study_may_name_and_lose_empty_columns(tmp_path):
    runs = seeds([80.123456789], seconds_per_epoch=0.123456, train_accuracy="")
    collect(leave(tmp_path / "study", runs), tmp_path / "results")
    (line,) = read_table(tmp_path / "results/first-small.csv")
    assert line["test_accuracy"] == "80.1235"
    assert line["seconds_per_epoch"] == "0.123"
    assert line["samples"] == "100"
    assert {"run_id", "mode", "error", "train_accuracy", "variant"} & set(line) == set()


def test_an_experiment_replaces_itself_and_no_other(tmp_path):
    results = tmp_path / "results"
    collect(leave(tmp_path / "b", seeds([1])), results)
    collect(leave(tmp_path / "a", seeds([2]), experiment="earlier"), results)
    collect(leave(tmp_path / "c", seeds([3, 4])), results)
    facts = read_table(results / "facts.csv")
    assert [line["experiment"] for line in facts] == ["earlier", "first-small"]
    assert [line["finished"] for line in facts] == ["1", "2"]
    assert len(read_table(results / "first-small.csv")) == 2


def test_collecting_again_changes_nothing(tmp_path):
    study = leave(tmp_path / "study", seeds([1]), POINTS)
    collect(study, tmp_path / "results")
    before = tree(tmp_path / "results")
    collect(study, tmp_path / "results")
    assert tree(tmp_path / "results") == before


def test_points_come_along_and_go_with_their_study(tmp_path):
    results, study = tmp_path / "results", experiment([run()]).options
    collect(leave(tmp_path / "study", seeds([1]), POINTS), results)
    (found,) = read_collected(results, lambda recipe, profile: study)
    assert found.points == POINTS
    (tmp_path / "study/penultimate-points.csv").unlink()
    collect(tmp_path / "study", results)
    (found,) = read_collected(results, lambda recipe, profile: study)
    assert found.points == ()


def test_collected_experiments_are_read_with_the_study_of_their_recipe(tmp_path):
    collect(leave(tmp_path / "study", seeds([80, 81])), tmp_path / "results")
    asked, study = [], experiment([run()]).options
    (found,) = read_collected(tmp_path / "results", lambda *names: asked.append(names) or study)
    assert asked == [("first", "small")]
    assert found.name == "first-small"
    assert [each["test_accuracy"] for each in found.runs] == ["80", "81"]


def test_results_of_a_recipe_without_a_study_are_refused(tmp_path):
    collect(leave(tmp_path / "study", seeds([80])), tmp_path / "results")
    with pytest.raises(InputError, match=r"an experiment of recipe 'first', profile small, and no recipe"):
        read_collected(tmp_path / "results", lambda recipe, profile: None)


def test_a_folder_without_a_study_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match=r"runs\.csv does not exist"):
        collect(tmp_path, tmp_path / "results")
    leave(tmp_path / "study", seeds([80]))
    (tmp_path / "study/facts.csv").write_text("experiment,recipe\n")
    with pytest.raises(InputError, match="has 0 lines, a study has 1"):
        collect(tmp_path / "study", tmp_path / "results")
    assert not (tmp_path / "results").exists()
