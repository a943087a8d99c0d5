"""Recipes share teachers and a store: what one has made the next finds, and each is about its own teachers alone."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from builders import tree
from tiny import RECIPE, Run, command, run_words, write_data, write_recipe

from logitcache.pipeline.context import open_context, open_contexts
from logitcache.store import open_store

pytestmark = pytest.mark.usefixtures("undrawn")

FIRST = RECIPE.split("[timing]", maxsplit=1)[0].replace("epochs = 2", "epochs = 1").replace("[0, 1]", "[0]")
FIRST = 'share = {{ teachers = "first", store = "first" }}\n' + FIRST.replace('["ce", ', "[")
SECOND = """
extends = "first.toml"

[[teachers]]
name = "small"
model = "cnn-4-4"
teach = { epochs = 1, batch = 20, learning_rate = 0.05 }

[[teachers]]
name = "big"
model = "cnn-4-8"
teach = { epochs = 1, batch = 20, learning_rate = 0.05 }
"""


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory, undrawn):
    """A run of the first recipe, then one of the second, which adds a teacher; tests leave both as they are."""
    folder = tmp_path_factory.mktemp("sharing")
    first = Run(write_recipe(write_data(folder), FIRST, "first.toml"), folder / "runs/first")
    (folder / "second.toml").write_text(SECOND)
    second = Run(folder / "second.toml", folder / "runs/second")
    answers = [first("run"), second("run")]
    assert [answer.code for answer in answers] == [0, 0], answers
    return first, second, answers[1]


@pytest.fixture
def copies(made, tmp_path):
    """Both to be changed; recipes and data are shared."""
    first, second, _ = made
    shutil.copytree(first.out.parent, tmp_path / "runs")
    return Run(first.recipe, tmp_path / "runs/first"), Run(second.recipe, tmp_path / "runs/second")


def test_the_second_recipe_makes_only_what_the_first_has_not(made):
    first, second, answer = made
    assert "teach small (cnn-4-4)" in answer.out
    assert "teach big: done before" in answer.out
    assert "cache big: all blocks are in the store" in answer.out
    assert {path.stem for path in (first.out / "teachers").glob("*.safetensors")} == {"big", "small"}
    assert not (second.out / "teachers").exists()
    assert not (second.out / "store.zarr").exists()
    assert open_store(first.out / "store.zarr").teachers("train") == ("big", "small")


def test_a_store_that_is_as_it_was_is_verified_once_for_all(copies):
    first, second = copies
    answer = first("cache")
    assert (answer.code, "verify: done before" in answer.out) == (0, True), "the second recipe verified it last"
    assert "verify" not in json.loads((second.out / "steps.json").read_text())
    (first.out / "steps.json").unlink()
    assert "blocks, " in second("cache").out
    assert "verify: done before" in first("cache").out


def test_each_run_is_about_its_own_teachers(copies):
    first, second = copies
    (first.out / "steps.json").unlink()
    assert "statistics ..." in first("run").out
    names = [{row["teacher"] for row in rows(run.out / "statistics/teachers.csv")} for run in (first, second)]
    assert names == [{"big"}, {"big", "small"}]
    assert {row["teacher"] for row in rows(second.out / "statistics/students.csv")} == {"big", "small"}


def test_a_run_stays_done_when_another_adds_a_teacher(made):
    first, _, _ = made
    before = tree(first.out)
    answer = first("run")
    assert answer.code == 0
    assert "statistics: done before" in answer.out
    assert "..." not in answer.out
    assert tree(first.out) == before
    assert " to do " not in first("plan").out


def test_a_report_finds_the_shared_store_and_tells_of_the_runs_own_teachers(copies):
    first, second = copies
    for run, told in ((first, False), (second, True)):
        (run.out / "report.html").unlink()
        answer = command("report", run.out)
        assert answer.code == 0, answer.err
        page = (run.out / "report.html").read_text(encoding="utf-8")
        assert "<h2>The store</h2>" in page
        assert (">small<" in page) is told


def test_a_report_is_made_without_the_shared_store_too(copies):
    _, second = copies
    shutil.rmtree(second.out.parent / "first")
    assert command("report", second.out).code == 0
    assert "<h2>The store</h2>" not in (second.out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (
            ["teachers.1.teach.learning_rate=0.1"],
            ["was trained by other settings", "share.teachers = 'first'", "give teacher 'big' another name"],
        ),
        (["views.padding=2"], ["view policy", "share.store = 'first'", "share.store another"]),
        (["cache.block=20"], ["rows of a block of teacher 'small'", "give this teacher another name"]),
    ],
)
def test_another_teacher_or_setting_is_refused_with_what_to_do(made, overrides, parts):
    first, second, _ = made
    before = tree(first.out.parent)
    for name in ("run", "cache"):
        answer = second(name, *overrides)
        assert answer.code == 2
        for part in parts:
            assert part in answer.err
    assert tree(first.out.parent) == before


def test_teachers_alone_can_be_shared(copies):
    first, second = copies
    before = tree(first.out)
    answer = command("cache", *run_words(second.recipe, second.out.parent / "third", 'share={teachers="first"}'))
    assert answer.code == 0, answer.err
    assert answer.out.count("done before") == 2
    assert open_store(second.out.parent / "third/store.zarr").teachers("train") == ("big", "small")
    assert tree(first.out) == before


def test_students_alone_leave_the_note_that_the_report_needs(copies):
    _, second = copies
    shutil.rmtree(second.out)
    assert second("distill").code == 0
    assert command("report", second.out).code == 0
    assert "<h2>The store</h2>" in (second.out / "report.html").read_text(encoding="utf-8")


# places


@pytest.fixture
def recipe(tmp_path):
    variants = "[variants.a]\n[variants.b]\n[profiles.quick]\nviews.count = 1\n"
    text = FIRST.replace('"first"', '"tiny"', 1) + variants
    return write_recipe(write_data(tmp_path), text)


def test_a_shared_name_is_a_folder_beside_the_run_folder_of_the_same_profile(recipe, tmp_path):
    context, _ = open_contexts(recipe, [], tmp_path / "out", "cpu")
    assert context.store_path == tmp_path / "first/store.zarr"
    context, _ = open_contexts(recipe, ["profile=quick"], None, "cpu")
    assert context.store_path == Path("runs/first-quick/store.zarr")


def test_ones_own_name_is_the_run_folder_that_variants_have_in_common(recipe, tmp_path):
    contexts = open_contexts(recipe, ["profile=quick"], tmp_path / "out", "cpu")
    [teacher] = contexts[0].recipe.teachers
    assert {context.checkpoint(teacher) for context in contexts} == {tmp_path / "out/teachers/big.safetensors"}


@pytest.mark.parametrize("out", [".", "..", "sub", "sub/..", "../x"])
def test_the_folder_of_run_folders_is_above_the_run_folder_however_it_is_written(recipe, tmp_path, monkeypatch, out):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    (tmp_path / "sub/sub").mkdir()
    context = open_context(recipe, ["variant=a"], Path(out), "cpu")
    assert context.root.resolve() == Path(out).resolve().parent


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", ".."])
def test_a_shared_name_is_no_path(recipe, tmp_path, name):
    answer = command("plan", *run_words(recipe, tmp_path / "out", f'share.store="{name}"'))
    assert answer.code == 2
    assert "share.store = " in answer.err


def test_what_variants_share_is_planned_and_made_once(recipe, tmp_path):
    words = run_words(recipe, tmp_path / "first", 'share={teachers="tiny", store="tiny"}')
    plan = command("plan", *words)
    assert plan.code == 0, plan.err
    one, other = plan.out.split("variant b (2 of 2)")
    assert "forward passes, about" in one
    assert "forward passes, about" not in other
    assert other.count(", by the variant before") == 3
    assert (one.count("store: train/big/logits"), other.count("store: train/big/logits")) == (1, 0)
    assert f"store: {tmp_path / 'first/store.zarr'}, shared" in other
    answer = command("cache", *words)
    assert answer.code == 0, answer.err
    one, other = answer.out.split("variant b (2 of 2)")
    assert "blocks written" in one
    assert "verify: done before" in other
    assert "blocks written" not in other
    assert (tmp_path / "first/a/shared_store.json").exists()
    [store] = [context.store_path for context in open_contexts(recipe, ["variant=a"], tmp_path / "first", "cpu")]
    assert store == tmp_path / "first/store.zarr"
    rows_checked = command("verify", store, "--recompute", 2, *words).out
    assert "4 of 4 recomputed rows" in rows_checked, "once, not once a variant"
