"""A recipe made to do harm is refused at once and in one line."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.errors import InputError, LogitcacheError
from logitcache.pipeline.recipe import read_recipe

BOMBS = {
    "too long": "#" * (1 << 21),
    "a key of 15 000 parts": "a" + ".a" * 15_000 + " = 1",
    "a table of 15 000 parts": "[" + ".".join("a" * 15_000) + "]",
    "a list in a list": "a = " + "[" * 15_000 + "]" * 15_000,
    "a table in a table": "a = " + "{a = " * 10_000 + "1" + "}" * 10_000,
    "a long number": "a = " + "1" * 30_000,
    "no text": "\0\ud800",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_within_seconds(tmp_path, text):
    path = tmp_path / "bomb.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    started = time.perf_counter()
    with pytest.raises(InputError) as error:
        read_recipe(path)
    assert time.perf_counter() - started < 20
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "override", ["a" + ".a" * 2000 + "=1", "a=" + "[" * 3000, "a=" + "[" * 20 + "]" * 20, "a=" + "1" * 5000]
)
def test_overrides_have_the_same_limits(tmp_path, override):
    path = tmp_path / "empty.toml"
    path.write_text("")
    with pytest.raises(InputError, match="--set"):
        read_recipe(path, [override])


def test_the_longest_and_deepest_are_allowed(tmp_path):
    """They are refused for other reasons: their keys."""
    path = tmp_path / "large.toml"
    path.write_text("a" + ".a" * 14 + " = 1\n" + "#" * 30_000)
    with pytest.raises(InputError, match="fault"):
        read_recipe(path)


@given(text=st.text(st.sampled_from("ab.=[]{}\"'\n 10-#\\"), max_size=80))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("text") / "any.toml"
    path.write_text(text)
    with suppress(LogitcacheError):
        read_recipe(path)
