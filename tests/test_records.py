"""Options refuse what they do not know; fingerprints depend on content alone; blocks tile the samples."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from logitcache.records import BlockId, Options, canonical_json, fingerprint, rows_of_block, sha256


class Some(Options):
    """An example."""

    size: float = 1.0


def test_options_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Some().size = 2.0


@pytest.mark.parametrize("given", [{"sise": 2.0}, {"size": math.nan}, {"size": math.inf}])
def test_options_refuse_unknown_keys_and_non_finite_numbers(given):
    with pytest.raises(ValidationError):
        Some(**given)


def test_canonical_json_sorts_keys_and_spends_no_spaces():
    assert canonical_json({"b": [1, 2.5], "a": "τ"}) == '{"a":"τ","b":[1,2.5]}'.encode()


def test_canonical_json_refuses_nan():
    with pytest.raises(ValueError, match="Out of range float"):
        canonical_json({"x": math.nan})


def test_sha256_of_nothing_is_the_published_one():
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_fingerprint_is_pinned_and_knows_no_order():
    # stores keep fingerprints: this value may never change
    assert fingerprint({"a": 1, "b": [True, None]}) == fingerprint({"b": [True, None], "a": 1}) == "1cc69c7fa23616ca"


@given(st.integers(1, 50), st.integers(1, 200))
def test_blocks_tile_the_samples(block_rows, samples):
    blocks = math.ceil(samples / block_rows)
    rows = [row for block in range(blocks) for row in rows_of_block(block, block_rows, samples)]
    assert rows == list(range(samples))
    assert len(rows_of_block(blocks, block_rows, samples)) == 0


def test_a_block_names_itself_in_messages():
    assert str(BlockId("big", "train", 3, 7)) == "block 7 of view 3 of teacher 'big' in split 'train'"
