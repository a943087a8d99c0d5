"""A function of the user's is a data set."""

from __future__ import annotations

import sys

import pytest

from logitcache.data import DataOptions, open_data
from logitcache.errors import InputError

OWN = """
import torch
from logitcache.data import Preprocess, memory_split

def split(name, size=2):
    return memory_split(dataset="own", name=name, images=torch.zeros(4, 1, size, size, dtype=torch.uint8),
                        labels=torch.arange(4), classes=tuple("abcd"), preprocess=Preprocess((0.5,), (0.5,)))
def make(options):
    return {"train": split("train"), "test": split("test")}
def nothing(options): return None
def numbers(options): return {"train": 3}
def test_only(options): return {"test": split("test")}
def sizes(options): return {"train": split("train"), "test": split("test", 3)}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the current directory."""
    (tmp_path / "own_data.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("own_data", None)


@pytest.mark.usefixtures("own")
def test_a_factory_of_the_current_directory_is_a_data_set():
    splits = open_data(DataOptions(name="own_data:make", samples=3))
    assert [len(each) for each in splits.values()] == [3, 4]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_data:nothing", "returned NoneType; it must return a dict"),
        ("own_data:numbers", "returned int for 'train'"),
        ("own_data:test_only", "returned 'test'; it must return a dict of name -> logitcache.data.Split with 'train'"),
        ("own_data:sizes", "differ in classes or shape"),
        ("own_data:mak", "has no 'mak'; did you mean 'make'?"),
        ("own_dota:make", "no module 'own_dota'"),
    ],
)
def test_a_factory_that_returns_something_else_is_refused(name, message):
    with pytest.raises(InputError) as caught:
        open_data(DataOptions(name=name))
    assert message in str(caught.value)
