"""``--set``: dotted keys, TOML values or text, one entry of a list or all of them."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.pipeline.overrides import apply_overrides, parse_value

TABLE = {"data": {"seed": 0}, "students": [{"seeds": [0], "objectives": [{"tau": 1}, {"tau": 2}]}, {"seeds": [1]}]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("1e-3", 1e-3),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ('{loss = "kl"}', {"loss": "kl"}),
        ('"quoted"', "quoted"),
        ("plain-text", "plain-text"),
        ("a/b.safetensors", "a/b.safetensors"),
        ("True", "True"),
        ("", ""),
        ("2024-01-01", "2024-01-01"),
        ("1\nother = 2", "1\nother = 2"),
        ("1 # one", 1),
        ("[1, 2", "[1, 2"),
    ],
)
def test_a_value_is_toml_or_the_text_itself(text, value):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("data.seed=3", ("data", "seed"), 3),
        ("data.root=some/x=y", ("data", "root"), "some/x=y"),
        (" data.seed = 3 ", ("data", "seed"), 3),
        ("new.section.key=1", ("new", "section", "key"), 1),
        ("students.1.seeds=[5]", ("students", 1, "seeds"), [5]),
        ("students.0.objectives.1.tau=9", ("students", 0, "objectives", 1, "tau"), 9),
        ("students.0.seeds.0=9", ("students", 0, "seeds", 0), 9),
        ("students.0={}", ("students", 0), {}),
    ],
)
def test_one_place_is_set_and_nothing_else(override, path, value):
    table, faults = apply_overrides(TABLE, [override])
    assert faults == []
    expected = copy.deepcopy(TABLE)
    node = expected
    for key in path[:-1]:
        node = node.setdefault(key, {}) if isinstance(node, dict) else node[key]
    node[path[-1]] = value
    assert table == expected


def test_a_word_after_a_list_of_tables_goes_into_every_entry_at_every_depth():
    table, faults = apply_overrides(TABLE, ["students.seeds=[7]", "students.objectives.tau=4"])
    # the second group has no list of objectives: it gets a table, and the recipe's check says what is wrong with it
    assert faults == []
    assert [group["seeds"] for group in table["students"]] == [[7], [7]]
    assert table["students"][0]["objectives"] == [{"tau": 4}, {"tau": 4}]


def test_entries_do_not_share_the_value():
    table, _ = apply_overrides(TABLE, ["students.seeds=[7]", "students.0.seeds.0=8"])
    assert [group["seeds"] for group in table["students"]] == [[8], [7]]


def test_the_last_override_wins():
    assert apply_overrides(TABLE, ["data.seed=1", "data.seed=2"])[0]["data"]["seed"] == 2


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("data.seed", "--set = 'data.seed': must be KEY=VALUE, for example data.samples=0.03"),
        ("=3", "--set = '=3': must be KEY=VALUE"),
        ("data..seed=3", "--set = 'data..seed=3': must be KEY=VALUE"),
        ("data.seed.x=3", "--set data.seed.x = 3: 'x' would be inside of a value that is no table"),
        ("students.2.seeds=3", "--set students.2.seeds = 3: there is no entry 2; the list has 2, counted from 0"),
        ("students.seeds.x=3", "--set students.seeds.x = 3: 'x' would be inside of a list; its entries are counted"),
    ],
)
def test_what_cannot_be_set_is_a_fault(override, fault):
    _, faults = apply_overrides(TABLE, [override, "data.seed=5"])
    assert [str(each)[: len(fault)] for each in faults] == [fault]


@given(st.lists(st.text(), max_size=4))
def test_no_override_raises_or_touches_the_table_given(overrides):
    before = copy.deepcopy(TABLE)
    table, _ = apply_overrides(TABLE, overrides)
    assert before == TABLE
    assert set(TABLE) <= set(table)
