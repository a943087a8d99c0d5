"""The study step makes tables, figures and verdicts of all variants, once, and the page from what was collected."""

from __future__ import annotations

import shutil

import pytest
from builders import tree
from tiny import RECIPE, Run, command, run_words, write_data, write_recipe

from logitcache.pipeline import studying
from logitcache.pipeline.context import open_contexts
from logitcache.study.runs import read_table

STUDY = """
[study]
title = "Soft targets"
asks = "Do they help?"
rows = ["variant", "label"]
limits = "Far too small."

[[study.figures]]
kind = "points"

[[study.claims]]
says = "KL is better than CE"
more = {{ objective = "kl" }}
less = {{ objective = "ce" }}
"""
VARIANTS = """
[variants.one]
data.name = "arrays"
[variants.two]
students.order_seed = 7
"""

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def studied(run_copy, finished_run) -> Run:
    """A finished run whose recipe has a study now."""
    folder = run_copy.out.parent
    for path in finished_run.recipe.parent.glob("*.npy"):
        (folder / path.name).write_bytes(path.read_bytes())
    return Run(write_recipe(folder, RECIPE + STUDY), run_copy.out)


def make(run: Run, *overrides: str):
    return command("study", "make", *run_words(run.recipe, run.out, *overrides))


def test_a_study_leaves_tables_figures_and_text(studied):
    answer = make(studied)
    assert answer.code == 0, answer.err
    folder = studied.out / "study"
    names = {"runs.csv", "facts.csv", "table.csv", "claims.csv", "study.md", "figure-1.svg", "figure-1.png"}
    assert {path.name for path in folder.iterdir()} == names
    assert [run["tau"] for run in read_table(folder / "runs.csv")] == ["", "", "4.0", "4.0"]
    (facts,) = read_table(folder / "facts.csv")
    assert (facts["experiment"], facts["recipe"], facts["profile"]) == ("tiny", "tiny", "")
    assert (facts["data"], facts["train_samples"], facts["test_samples"]) == ("arrays", "120", "60")
    assert (facts["shape"], facts["classes"], facts["runs"], facts["finished"]) == ("1x12x12", "3", "4", "4")
    assert facts["teachers"].startswith("big:cnn-4-8:")
    assert float(facts["teachers"].rpartition(":")[2]) >= 0
    (claim,) = read_table(folder / "claims.csv")
    assert claim["n"] == "2"
    text = (folder / "study.md").read_text(encoding="utf-8")
    assert text.startswith("# Soft targets\n\nDo they help?\n")
    assert "![test accuracy, %](figure-1.svg)" in text
    assert claim["sentence"] in answer.out


def test_the_run_ends_with_its_study_and_a_second_one_makes_nothing(studied):
    answer = studied("run")
    assert answer.code == 0, answer.err
    assert answer.out.rstrip().endswith("study.md")
    before = tree(studied.out)
    again = studied("run")
    assert "study: " in again.out
    assert "..." not in again.out, "no step was begun"
    assert tree(studied.out) == before


def test_a_study_is_made_again_when_results_or_claims_change(studied):
    assert make(studied).code == 0
    shutil.rmtree(studied.out / "study")
    assert "study ..." in make(studied).out
    results = studied.out / "results.csv"
    results.write_text(results.read_text(encoding="utf-8").replace("KL τ=4", "KL again"), encoding="utf-8")
    assert "study ..." in make(studied).out
    assert "KL again" in (studied.out / "study/study.md").read_text(encoding="utf-8")
    assert "study ..." in make(studied, 'study.limits="None."').out
    assert "study ..." not in make(studied, 'study.limits="None."').out


def test_the_plan_has_the_study(studied):
    lines = studied("plan").out.splitlines()
    (line,) = [line for line in lines if line.split()[:1] == ["study"]]
    assert "done" not in line
    make(studied)
    (line,) = [line for line in studied("plan").out.splitlines() if line.split()[:1] == ["study"]]
    assert "done" in line


def test_without_results_nothing_is_written(tmp_path):
    run = Run(write_recipe(write_data(tmp_path), RECIPE + STUDY), tmp_path / "out")
    answer = make(run)
    assert answer.code == 2
    assert "results.csv does not exist; train the recipe's students first" in answer.err
    assert not run.out.exists()


def test_a_recipe_without_a_study_makes_none(run_copy):
    before = tree(run_copy.out)
    assert make(run_copy).code == 0
    assert tree(run_copy.out) == before


def test_variants_are_studied_together(studied, tmp_path):
    recipe = write_recipe(studied.recipe.parent, RECIPE + STUDY + VARIANTS, "varied.toml")
    top = tmp_path / "top"
    for name in ("one", "two"):
        shutil.copytree(studied.out, top / name)
    studying.make_study(open_contexts(recipe, (), top, "cpu"))
    assert not (top / "one/study").exists()
    runs = read_table(top / "study/runs.csv")
    assert [run["variant"] for run in runs] == ["one"] * 4 + ["two"] * 4
    (claim,) = read_table(top / "study/claims.csv")
    assert claim["n"] == "2", "variants are a setting that both sides have"
    (facts,) = read_table(top / "study/facts.csv")
    assert [entry.split(":")[0] for entry in facts["teachers"].split(";")] == ["big@one", "big@two"]
    studying.make_study(open_contexts(recipe, ["variant=two"], top, "cpu"))
    assert {run["variant"] for run in read_table(top / "two/study/runs.csv")} == {"two"}


def test_features_of_the_penultimate_layer_are_measured_where_asked_for(tmp_path):
    text = RECIPE.replace("[cache]", "[cache]\nfeatures = true").split("[timing]")[0] + STUDY
    text += "[study.penultimate]\nclasses = [0, 1, 2]\npoints = 5\n"
    run = Run(write_recipe(write_data(tmp_path), text), tmp_path / "out")
    assert run("cache").code == 0
    assert run("distill").code == 0
    answer = make(run)
    assert answer.code == 0, answer.err
    folder = run.out / "study"
    assert all(float(each["scatter_ratio"]) > 0 for each in read_table(folder / "runs.csv"))
    panels = {point["panel"] for point in read_table(folder / "penultimate-points.csv")}
    assert panels == {"teacher", "CE", "KL τ=4"}
    assert (folder / "figure-penultimate.svg").is_file()
    (facts,) = read_table(folder / "facts.csv")
    assert facts["teacher_measures"].startswith("scatter_within:")
    assert "The teacher itself: scatter_within " in (folder / "study.md").read_text(encoding="utf-8")


def test_the_page_is_made_from_collected_results_of_shipped_recipes(studied, tmp_path, monkeypatch):
    make(studied)
    results = tmp_path / "results"
    answer = command("study", "collect", studied.out, results)
    assert answer.out.split() == [str(results / "tiny.csv"), str(results / "facts.csv")]
    monkeypatch.setattr(studying, "shipped_recipes", lambda: {"tiny": studied.recipe})
    answer = command("study", "page", results, "-o", tmp_path / "docs/study.md")
    assert answer.code == 0, answer.err
    text = (tmp_path / "docs/study.md").read_text(encoding="utf-8")
    assert '## <a id="tiny"></a>Soft targets' in text
    assert "figures/tiny-1.svg" in text
    assert str(tmp_path) not in text
    assert all(str(tmp_path) not in path.read_text(encoding="utf-8") for path in results.iterdir())


def test_results_of_a_recipe_that_is_not_shipped_are_refused(studied, tmp_path):
    make(studied)
    command("study", "collect", studied.out, tmp_path / "results")
    answer = command("study", "page", tmp_path / "results", "-o", tmp_path / "page.md")
    assert answer.code == 2
    assert "recipe 'tiny', profile (none), and no recipe that comes with logitcache is called so" in answer.err
    assert not (tmp_path / "page.md").exists()
