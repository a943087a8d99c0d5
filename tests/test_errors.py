"""Every error carries its exit code and a message that is complete."""

from __future__ import annotations

import inspect

import pytest

from logitcache import errors
from logitcache.errors import CheckError, Fault, InputError, LogitcacheError, MismatchError, RecipeError

CLASSES = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, LogitcacheError)]


def test_the_tree_has_nine_errors():
    assert len(CLASSES) == 9


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_each_error_is_public_and_has_a_place_in_the_drawn_tree(error):
    assert error.__name__ in errors.__all__
    assert error.__name__ in errors.__doc__
    assert issubclass(error, LogitcacheError)


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_wrong_input_exits_with_2_and_a_failed_check_with_1(error):
    assert error.exit_code == (1 if issubclass(error, CheckError) else 2)


def test_a_recipe_error_reports_all_faults_one_a_line():
    faults = [Fault("data.seed", "true", "must be a whole number"), Fault("cache.kind", '"zip"', "must be one of ...")]
    error = RecipeError("a.toml", faults)
    assert str(error) == (
        'a.toml: 2 faults\n  data.seed = true: must be a whole number\n  cache.kind = "zip": must be one of ...'
    )
    assert error.faults == tuple(faults)
    assert isinstance(error, InputError)


def test_one_fault_is_not_called_faults():
    assert str(RecipeError("a.toml", [Fault("k", "1", "no")])).startswith("a.toml: 1 fault\n")


def test_a_mismatch_names_both_sides_and_the_way_out():
    text = str(MismatchError("data set", "aaaa", "bbbb", "choose another --out"))
    assert text == "data set differs: the store has aaaa, given was bbbb; choose another --out"
