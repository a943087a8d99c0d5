"""A study of penultimate features says before anything is trained that the store must have them."""

from __future__ import annotations

import pytest
from tiny import RECIPE, write_recipe

from logitcache.errors import RecipeError
from logitcache.pipeline.recipe import read_recipe

STUDY = '\n[study]\ntitle = "Features"\npenultimate = {{ classes = [0, 1, 2] }}\n'


def test_penultimate_features_must_be_cached(tmp_path):
    path = write_recipe(tmp_path, RECIPE + STUDY)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    [fault] = caught.value.faults
    assert str(fault) == "cache.features = false: must be true: study.penultimate reads penultimate features"
    study = read_recipe(path, ["cache.features=true"]).study
    assert study is not None
    assert study.penultimate is not None


@pytest.mark.parametrize("classes", ["[0, 1]", "[0, 1, 1]", "[0, 1, 2, 3]", "[0, 1, 2.5]"])
def test_three_different_classes_are_asked_for(tmp_path, classes):
    path = write_recipe(tmp_path, RECIPE + STUDY.replace("[0, 1, 2]", classes))
    with pytest.raises(RecipeError, match=r"study\.penultimate\.classes"):
        read_recipe(path, ["cache.features=true"])
