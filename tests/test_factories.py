"""A user's code by name is found in the current directory, and what is wrong with it is said in one line."""

from __future__ import annotations

import sys

import pytest

from logitcache.errors import InputError
from logitcache.factories import is_factory_name, load_factory, nearest


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current directory that Python does not know yet; what it imports is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("module:factory", True),
        ("package.module:factory", True),
        ("module", False),
        ("module:", False),
        (":factory", False),
        ("module:a.b", False),
        ("a..b:c", False),
        ("s3://bucket", False),
        ("a:b:c", False),
    ],
)
def test_a_factory_name_is_a_dotted_module_and_an_identifier(name, is_one):
    assert is_factory_name(name) is is_one


def test_a_module_of_the_current_directory_is_found(here):
    (here / "own_found.py").write_text("def make():\n    return 7\n")
    assert load_factory("own_found:make")() == 7


def test_an_installed_module_goes_before_one_of_the_current_directory(here):
    (here / "json.py").write_text("raise RuntimeError('the wrong json')\n")
    assert load_factory("json:dumps")([1]) == "[1]"


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("own_a", "", "'own_a' is not of the form module:factory, for example mypackage.mymodule:make"),
        ("own_none:make", None, "'own_none:make': no module 'own_none' in"),
        ("own_near:make", "def mako(): ...", "module 'own_near' has no 'make'; did you mean 'mako'?"),
        ("own_number:make", "make = 3", "'own_number:make' is a int; it must be a function or class"),
        ("own_syntax:make", "def make(:", "importing 'own_syntax' failed: invalid syntax"),
        ("own_needs:make", "import nowhere_at_all", "importing 'own_needs' failed: No module named 'nowhere_at_all'"),
    ],
)
def test_what_is_wrong_is_said(here, name, source, message):
    if source is not None:
        (here / f"{name.partition(':')[0]}.py").write_text(source)
    with pytest.raises(InputError) as caught:
        load_factory(name)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("given", "hint"), [("sample", "; did you mean 'samples'?"), ("SEED", "; did you mean 'seed'?"), ("xyz", "")]
)
def test_nearest_names_one_or_nothing(given, hint):
    assert nearest(given, ["samples", "seed"]) == hint
