"""A recipe starts from the tables of another one in its folder."""

from __future__ import annotations

import pytest
from tiny import RECIPE, command, run_words, write_data, write_recipe

from logitcache.errors import InputError, RecipeError
from logitcache.pipeline.extending import files_of, read_extended
from logitcache.pipeline.recipe import read_recipe

BASE = """
name = "base"
profile = "small"

[data]
seed = 1
samples = 9

[cache.encoding]
kind = "uniform"

[[students]]
seeds = [0, 1]

[profiles.small]
students.model = "a"
data.seed = 2
data.samples = 3

[variants.one]
data.seed = 5
"""


@pytest.fixture
def write(tmp_path):
    """Write a file of the folder."""

    def writes(name: str, text: str):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    writes("base.toml", BASE)
    return writes


def own(write, text: str):
    return read_extended(write("own.toml", 'extends = "base.toml"\n' + text))


def test_tables_are_merged_key_by_key_and_lists_replaced(write):
    table = own(write, "[data]\nseed = 7\n[cache]\nblock = 4\n[[students]]\nseeds = [5]\n")
    assert table["data"] == {"seed": 7, "samples": 9}
    assert table["cache"] == {"encoding": {"kind": "uniform"}, "block": 4}
    assert table["students"] == [{"seeds": [5]}]
    assert table["profile"] == "small"
    assert "extends" not in table


def test_an_empty_table_empties(write):
    assert own(write, "data = {}\n")["data"] == {}


def test_the_name_of_the_base_stays_its_own(write):
    assert "name" not in own(write, "")
    assert own(write, 'name = "mine"\n')["name"] == "mine"


def test_changes_of_a_profile_come_after_those_of_the_base_however_they_are_written(write):
    text = '[profiles.small]\n"data.seed" = 4\nstudents.0.model = "b"\n[profiles.large]\ndata.seed = 8\n'
    small = own(write, text)["profiles"]["small"]
    assert list(small.items()) == [
        ("students.model", "a"),
        ("data.samples", 3),
        ("data.seed", 4),
        ("students.0.model", "b"),
    ]
    assert own(write, text)["profiles"]["large"] == {"data": {"seed": 8}}


def test_variants_are_merged_in_the_order_of_the_base(write):
    variants = own(write, "[variants.two]\ndata.seed = 6\n[variants.one]\ndata.samples = 2\n")["variants"]
    assert variants == {"one": {"data.seed": 5, "data.samples": 2}, "two": {"data": {"seed": 6}}}
    assert list(variants) == ["one", "two"]


def test_what_is_no_table_replaces_and_is_a_fault_later(write):
    assert own(write, "profiles = 3\n")["profiles"] == 3
    assert own(write, "[profiles]\nsmall = 3\n")["profiles"] == {"small": 3}


def chain(write, length: int):
    """A recipe with so many bases, each extending the next."""
    write(f"r{length}.toml", "[data]\nseed = 1\n")
    for place in range(length):
        write(f"r{place}.toml", f'extends = "r{place + 1}.toml"\n[views]\ncount = {place}\n')
    return write("r0.toml", 'extends = "r1.toml"\n[views]\ncount = 0\n')


def test_a_chain_of_four_bases_is_the_longest(write):
    path = chain(write, 4)
    assert read_extended(path) == {"data": {"seed": 1}, "views": {"count": 0}}
    assert [file.name for file in files_of(path)] == [f"r{place}.toml" for place in range(5)]
    with pytest.raises(RecipeError, match=r"r4\.toml: 1 fault\n.*a recipe may have 4 others below it"):
        read_extended(chain(write, 5))


@pytest.mark.parametrize(
    "name",
    [
        '"../base.toml"',
        '"/etc/base.toml"',
        '"base"',
        '".base.toml"',
        '""',
        "3",
        "true",
        '["base.toml"]',
        '"base.toml\\n"',
        r'"a\\base.toml"',
    ],
)
def test_only_a_plain_file_name_may_be_extended(write, name):
    with pytest.raises(RecipeError, match=r"must be the name of a \.toml file in the same folder") as caught:
        read_extended(write("own.toml", f"extends = {name}\n"))
    assert caught.value.faults[0].key == "extends"


def test_a_base_that_is_not_there_is_answered_with_the_nearest(write):
    with pytest.raises(RecipeError, match=r"there is no such file beside the recipe; did you mean 'base\.toml'\?"):
        read_extended(write("own.toml", 'extends = "bas.toml"\n'))


def test_circles_are_refused(write):
    with pytest.raises(RecipeError, match=r"no recipe may extend itself: own\.toml -> own\.toml"):
        read_extended(write("own.toml", 'extends = "own.toml"\n'))
    write("b.toml", 'extends = "c.toml"\n')
    write("c.toml", 'extends = "b.toml"\n')
    with pytest.raises(RecipeError, match=r"c\.toml: 1 fault\n.*b\.toml -> c\.toml -> b\.toml"):
        read_extended(write("b.toml", 'extends = "c.toml"\n'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "is not valid TOML"),
        ("#" * (1 << 15) + "#", "is longer than 32768 bytes"),
        ("a = " + "[" * 20 + "]" * 20, "is nested more than 16 levels deep"),
    ],
)
def test_a_base_has_the_limits_of_every_recipe(write, text, message):
    path = write("own.toml", 'extends = "base.toml"\n')
    write("base.toml", text)
    with pytest.raises(InputError, match=f"base.toml {message}"):
        read_recipe(path)


def test_a_whole_recipe_from_a_base_takes_profile_and_what_is_set_after_it(tmp_path):
    base = write_recipe(
        write_data(tmp_path), RECIPE + "[profiles.quick]\nviews.count = 1\ndata.seed = 3\n", "base.toml"
    )
    path = tmp_path / "own.toml"
    path.write_text(f'extends = "{base.name}"\nname = "mine"\n[profiles.quick]\ndata.seed = 4\n')
    recipe = read_recipe(path, ["profile=quick", "students.seeds=[9]"])
    assert (recipe.run_name, recipe.views.count, recipe.data.seed) == ("mine-quick", 1, 4)
    assert recipe.students[0].seeds == (9,)
    path.write_text(f'extends = "{base.name}"\n')
    assert read_recipe(path).name == "own"


def test_faults_name_the_file_and_those_it_extends(write):
    with pytest.raises(RecipeError) as caught:
        read_recipe(write("own.toml", 'extends = "base.toml"\nprofile = "smal"\nname = "x y"\n'))
    assert str(caught.value).startswith(f"{write('own.toml', '')}, which extends base.toml: ")
    assert {"name", "profile", "students.0.model"} <= {fault.key for fault in caught.value.faults}


def test_bad_input_is_one_message_and_changes_nothing(write, tmp_path):
    path = write("own.toml", 'extends = "nothing.toml"\n')
    answer = command("run", *run_words(path, tmp_path / "out"))
    assert answer.code == 2
    assert answer.err.startswith(f"error: {path}: 1 fault\n  extends = ")
    assert not (tmp_path / "out").exists()
