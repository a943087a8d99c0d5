"""Columns, published tables and teachers that a study names and that there are not: all of them at once."""

from __future__ import annotations

import pytest
from tiny import write_recipe

from logitcache.errors import RecipeError
from logitcache.pipeline.recipe import read_recipe
from logitcache.pipeline.study_checks import study_faults
from logitcache.study.options import StudyOptions

RECIPE = """
[[teachers]]
name = "big"
model = "cnn-4"
teach = {{ epochs = 1 }}

[cache]
features = true

[[students]]
model = "cnn-4"
objectives = "ce"
training = {{ epochs = 1 }}

[study]
title = "A study"
"""
RIGHT = """
rows = "label"
published = "grid"
penultimate = {{ classes = [0, 1, 2], teacher = "big" }}
[[study.figures]]
kind = "heatmap"
x = "tau"
y = "alpha"
where = {{ variant = "", tau = [1, inf] }}
[[study.claims]]
says = "so"
more = {{ tau = inf }}
less = {{ tau = 0.5 }}
each = "student"
measure = "train_accuracy"
"""
WRONG = """
rows = ["student", "lable"]
measures = "label"
published = "fig99"
penultimate = {{ classes = [0, 1, 2], teacher = "bigg" }}
[[study.figures]]
kind = "lines"
x = "taw"
measure = "accuracy"
where = {{ smaples = 1 }}
[[study.claims]]
says = "so"
more = {{ alhpa = 1 }}
less = {{ alpha = 0.5, run_id = "x" }}
where = {{ seeds = 0 }}
each = "students"
pair = ["student", "sed"]
[[study.claims]]
says = "so"
trend = "temperature"
"""


def faults_of(tmp_path, text):
    with pytest.raises(RecipeError) as error:
        read_recipe(write_recipe(tmp_path, RECIPE + text))
    return {fault.key: fault for fault in error.value.faults}


def test_a_study_of_known_columns_is_read(tmp_path):
    study = read_recipe(write_recipe(tmp_path, RECIPE + RIGHT)).study
    assert study is not None
    assert study.rows == ("label",)
    assert study.claims[0].more == {"tau": (float("inf"),)}


def test_all_unknown_names_are_told_with_their_place(tmp_path):
    faults = faults_of(tmp_path, WRONG)
    assert set(faults) == {
        *("study.rows", "study.measures", "study.published", "study.penultimate.teacher"),
        *("study.figures.0.x", "study.figures.0.measure", "study.figures.0.where"),
        *("study.claims.0.more", "study.claims.0.less", "study.claims.0.where", "study.claims.0.each"),
        *("study.claims.0.pair", "study.claims.1.trend"),
    }
    assert faults["study.rows"].value == '"lable"'
    assert faults["study.rows"].allowed.endswith("did you mean 'label'?")
    assert faults["study.claims.0.less"].value == '"run_id"'


def test_faults_of_the_table_itself_name_their_keys(tmp_path):
    faults = faults_of(
        tmp_path, '[[study.claims]]\nsays = "x"\nmore = {{ tau = 1 }}\n[[study.figure]]\nkind = "points"\n'
    )
    assert faults["study.claims.0"].allowed == "a claim has more and less, or trend alone"
    assert "did you mean 'figures'?" in faults["study.figure"].allowed


def test_the_penultimate_layer_needs_a_teacher():
    study = StudyOptions.model_validate({"title": "t", "penultimate": {"classes": [0, 1, 2]}})
    assert [fault.key for fault in study_faults(study, [])] == ["study.penultimate"]
    assert study_faults(study, ["big"]) == []
