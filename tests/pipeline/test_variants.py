"""Variants: one recipe, several runs, each in a folder of its own."""

from __future__ import annotations

import copy
import re
from contextlib import contextmanager

import pytest
from tiny import RECIPE, Run, command, run_words, write_data, write_recipe

from logitcache.errors import Fault, InputError, RecipeError
from logitcache.pipeline import stage_two
from logitcache.pipeline.context import open_context, open_contexts
from logitcache.pipeline.recipe import read_recipe, read_recipes
from logitcache.pipeline.variants import apply_variants, join_faults
from logitcache.student.world import ALONE

TABLE = {
    "data": {"samples": 9, "seed": 1},
    "students": [{"seeds": [0]}, {"seeds": [1]}],
    "variants": {"few": {"data": {"samples": 3}}, "other": {"data.seed": 4, "students": {"seeds": [7]}}},
}
VARIANTS = """
[variants.one]
views.count = 1

[variants.both]
students.seeds = [5]

[profiles.quick]
variants.one.students.seeds = [3]
students.training.epochs = 1
"""


@pytest.fixture
def recipe(tmp_path):
    return write_recipe(write_data(tmp_path), RECIPE.split("[timing]", maxsplit=1)[0] + VARIANTS)


# tables


def test_each_variant_is_a_table_of_its_own_in_the_order_of_the_file():
    before = copy.deepcopy(TABLE)
    tables, faults = apply_variants(TABLE, [])
    assert faults == []
    assert list(tables) == ["few", "other"]
    assert tables["few"]["data"] == {"samples": 3, "seed": 1}
    assert tables["other"]["data"] == {"samples": 9, "seed": 4}
    assert tables["other"]["students"] == [{"seeds": [7]}, {"seeds": [7]}]
    assert tables["few"]["students"] == TABLE["students"]
    assert [table["variant"] for table in tables.values()] == ["few", "other"]
    assert before == TABLE


def test_the_command_line_chooses_before_the_file():
    assert list(apply_variants({**TABLE, "variant": "few"}, [])[0]) == ["few"]
    assert list(apply_variants({**TABLE, "variant": "few"}, ["variant=few", "variant = other"])[0]) == ["other"]


def test_without_variants_there_is_one_table():
    assert apply_variants({"data": {}}, []) == ({None: {"data": {}}}, [])


@pytest.mark.parametrize(
    ("variants", "overrides", "key", "allowed"),
    [
        (TABLE["variants"], ["variant=fwe"], "variant", "few, other; did you mean 'few'?"),
        ({}, ["variant=few"], "variant", "must be one of the recipe's variants: none"),
        (3, [], "variants", "must be tables"),
        ({"few": 3}, [], "variants", "must be tables"),
        ({"a.b": {}}, [], "variants.a.b", "must be letters"),
        ({"../x": {}}, [], "variants.../x", "must be letters"),
        ({"": {}}, [], "variants.", "must be letters"),
        ({"Students": {}}, [], "variants.Students", "names a folder"),
        ({"a": {"name": "b"}}, [], "variants.a.name", "is the same for all variants"),
        ({"a": {"study": {"title": "b"}}}, [], "variants.a.study.title", "is the same for all variants"),
        ({"a": {"variants.b": {"x": 1}}}, [], "variants.a.variants.b.x", "is the same for all variants"),
        ({"a": {"students": {"5": {"seeds": [0]}}}}, [], "variants.a.students.5.seeds", "there is no entry 5"),
        ({f"v{place}": {} for place in range(65)}, [], "variants", "must be at most 64"),
    ],
)
def test_faults_name_the_key_and_what_is_allowed(variants, overrides, key, allowed):
    _, [fault] = apply_variants({**TABLE, "variants": variants}, overrides)
    assert fault.key == key
    assert allowed in fault.allowed


def test_a_fault_of_all_variants_is_told_once_and_others_with_their_variants():
    everywhere, some, one = (Fault(key, "1", "no") for key in "abc")
    found = {"x": [everywhere, some, one], "y": [everywhere, some], "z": [everywhere]}
    assert [fault.key for fault in join_faults(found)] == ["a", "b (variants x, y)", "c (variant x)"]
    assert join_faults({None: [one]}) == [one]


# recipes


def test_a_recipe_is_read_once_a_variant_after_its_profile_and_before_what_is_set(recipe):
    one, both = read_recipes(recipe)
    assert (one.variant, one.views.count, one.students[0].seeds) == ("one", 1, (0, 1))
    assert (both.variant, both.views.count, both.students[0].seeds) == ("both", 2, (5,))
    one, both = read_recipes(recipe, ["profile=quick", "views.count=2"])
    assert (one.views.count, one.students[0].seeds, both.students[0].seeds) == (2, (3,), (5,))
    assert {each.run_name for each in (one, both)} == {"tiny-quick"}
    assert {each.students[0].training.epochs for each in (one, both)} == {1}


def test_one_of_several_must_be_chosen_where_one_is_asked_for(recipe):
    with pytest.raises(InputError, match="choose one by --set variant=NAME: one, both"):
        read_recipe(recipe)
    assert read_recipe(recipe, ["variant=both"]).variant == "both"


def test_all_faults_of_all_variants_come_together(recipe):
    text = recipe.read_text() + '[variants.bad]\nviews.count = -1\nstudents.teachers = ["bih"]\n'
    recipe.write_text(text.replace("views.count = 1", "students.views = 7"))
    with pytest.raises(RecipeError) as caught:
        read_recipes(recipe, ["data.nam=x"])
    keys = [fault.key for fault in caught.value.faults]
    assert sorted(keys) == [
        "data.nam",
        "students.0.teachers (variant bad)",
        "students.0.views (variant one)",
        "views.count (variant bad)",
    ]


def test_a_variant_may_not_be_nested_deeper_than_a_recipe(recipe):
    recipe.write_text(recipe.read_text() + '[variants.deep]\n"' + "a." * 20 + 'b" = 1\n')
    with pytest.raises(InputError, match="nested more than 16 levels deep"):
        read_recipes(recipe)
    recipe.write_text(recipe.read_text().replace("a." * 20, "a." * 5000))
    with pytest.raises(InputError, match="nested more than 16 levels deep"):
        read_recipes(recipe)


def test_each_variant_has_a_folder_in_the_run_folder(recipe, tmp_path):
    contexts = open_contexts(recipe, ["profile=quick"], None, "cpu")
    assert [context.out.as_posix() for context in contexts] == ["runs/tiny-quick/one", "runs/tiny-quick/both"]
    assert {context.top.as_posix() for context in contexts} == {"runs/tiny-quick"}
    assert {context.root.as_posix() for context in contexts} == {"runs"}
    chosen = open_context(recipe, ["variant=one"], tmp_path / "out", "cpu")
    assert (chosen.out, chosen.top, chosen.root) == (tmp_path / "out/one", tmp_path / "out", tmp_path)


def test_the_data_are_opened_once_for_variants_of_the_same(recipe):
    one, both = open_contexts(recipe, [], None, "cpu")
    assert one.splits is both.splits


def test_data_of_other_options_are_not_taken_for_those_that_are_open(recipe):
    recipe.write_text(recipe.read_text().replace("views.count = 1", "data.samples = 30"))
    few, many = open_contexts(recipe, [], None, "cpu")
    assert [len(each.splits["train"]) for each in (few, many, few)] == [30, 120, 30]


# commands


@pytest.fixture(scope="module")
def finished(tmp_path_factory, undrawn):
    """A run of both variants; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("variants")
    text = RECIPE.split("[timing]", maxsplit=1)[0].replace("epochs = 2", "epochs = 1")
    text = text.replace("seeds = [0, 1]", "seeds = [0]").replace('["ce", ', "[")
    run = Run(write_recipe(write_data(folder), text + VARIANTS), folder / "out")
    answer = run("run")
    assert answer.code == 0, answer.err
    return run, answer


def test_a_run_walks_all_variants_and_says_which(finished):
    run, answer = finished
    said = [line for line in answer.out.splitlines() if line.startswith("variant ")]
    assert said == ["variant one (1 of 2)", "variant both (2 of 2)"]
    for variant, seed in (("one", "0"), ("both", "5")):
        assert (run.out / variant / "report.html").exists()
        assert f"-s{seed}-" in (run.out / variant / "results.csv").read_text()
        assert (run.out / variant / "store.zarr").exists()
    assert {path.name for path in run.out.iterdir()} == {"one", "both"}


def test_a_second_run_does_nothing_and_one_variant_can_be_chosen(finished):
    run, _ = finished
    again = run("run")
    assert again.code == 0
    assert "..." not in again.out
    chosen = run("distill", "variant=both")
    assert chosen.out.splitlines()[0] == "variant both"
    assert "variant one" not in chosen.out


@pytest.mark.parametrize("words", [("plan",), ("run", "--dry-run"), ("cache",), ("distill",)])
def test_every_command_walks_all_variants(finished, words):
    run, _ = finished
    answer = command(*words, *run_words(run.recipe, run.out))
    assert answer.code == 0, answer.err
    assert re.findall(r"^variant (\w+)", answer.out, re.MULTILINE) == ["one", "both"]


def test_processes_of_torchrun_meet_once_for_all_variants(finished, monkeypatch):
    run, _ = finished
    met = []

    @contextmanager
    def meet(device):
        met.append(device)
        yield ALONE

    monkeypatch.setattr(stage_two, "from_environment", meet)
    assert run("distill").code == 0
    assert met == ["cpu"], "they cannot meet a second time"


def test_a_store_is_checked_by_the_variant_that_it_is_of(finished, tmp_path):
    run, _ = finished
    words = run_words(run.recipe, run.out)[1:]
    for variant, rows in (("one", 4), ("both", 4)):
        answer = command("verify", run.out / variant / "store.zarr", "--recompute", 2, run.recipe, *words)
        assert answer.code == 0, answer.err
        assert f"{rows} of {rows} recomputed rows" in answer.out
    assert "0 findings left" in command("repair", run.out / "one/store.zarr", run.recipe, *words).out
    (run.out / "one/store.zarr").rename(tmp_path / "moved.zarr")
    try:
        refused = command("repair", tmp_path / "moved.zarr", run.recipe, *words)
        chosen = command("repair", tmp_path / "moved.zarr", run.recipe, *words, "--set", "variant=one")
    finally:
        (tmp_path / "moved.zarr").rename(run.out / "one/store.zarr")
    assert refused.code == 2
    assert "is the store of none of the recipe's variants; choose one by --set variant=NAME" in refused.err
    assert chosen.code == 0, chosen.err


def test_a_report_of_the_top_folder_is_a_page_for_each_variant(finished):
    run, _ = finished
    pages = [run.out / variant / "report.html" for variant in ("both", "one")]
    for page in pages:
        page.unlink()
    answer = command("report", run.out)
    assert answer.code == 0, answer.err
    assert answer.out.split() == [str(page) for page in pages]
    assert all("one teacher, one student" in page.read_text(encoding="utf-8") for page in pages)


def test_a_mistake_in_one_variant_stops_all_before_anything_is_done(finished, tmp_path):
    run, _ = finished
    recipe = tmp_path / "bad.toml"
    recipe.write_text(run.recipe.read_text() + '[variants.last]\ndata.nam = "x"\n')
    answer = command("run", *run_words(recipe, tmp_path / "out"))
    assert answer.code == 2
    assert "data.nam (variant last)" in answer.err
    assert not (tmp_path / "out").exists()
