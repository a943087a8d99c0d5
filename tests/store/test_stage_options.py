"""Sizes are what people write."""

from __future__ import annotations

import pytest

from logitcache.store.stage_options import parse_size, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("50GB", 50 * 10**9),
        ("50 gb", 50 * 10**9),
        ("1.5TB", 15 * 10**11),
        ("800m", 8 * 10**8),
        ("20GiB", 20 * 2**30),
        ("3KiB", 3072),
        ("7 B", 7),
        ("12345", 12345),
        (12345, 12345),
    ],
)
def test_a_size_is_a_number_of_bytes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "fifty", "-3GB", "5 GBs", "0", "0.1", "1e9", "5ZB", "inf", True, None, [5]])
def test_what_is_no_size_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="for example 50GB, 800MB or 20GiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1234, "1.2 kB"), (5 * 10**10, "50.0 GB"), (10**16, "10000.0 TB")],
)
def test_a_size_is_told_in_units_of_a_thousand(size, text):
    assert size_text(size) == text
