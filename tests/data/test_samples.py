"""A part of a split is a keyed, nested choice or a file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.data import choose_rows
from logitcache.errors import InputError


@pytest.mark.parametrize(("samples", "count"), [(None, 50), (1.0, 50), (0.5, 25), (0.001, 1), (1, 1), (50, 50)])
def test_samples_are_a_count_or_a_fraction(samples, count):
    rows = choose_rows(samples, 50, seed=0)
    assert len(rows) == count
    assert rows.tolist() == sorted(set(rows.tolist()))


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 200), st.integers(0, 2**40))
def test_more_samples_only_add_to_fewer(size, seed):
    smaller, larger = choose_rows(size // 2, size, seed), choose_rows(size // 2 + 1, size, seed)
    assert set(smaller.tolist()) < set(larger.tolist())


def test_another_seed_chooses_other_samples():
    assert choose_rows(20, 1000, 0).tolist() != choose_rows(20, 1000, 1).tolist()


def test_files_of_indices_are_read(tmp_path):
    np.save(tmp_path / "rows.npy", np.array([7, 2, 5], dtype=np.uint16))
    (tmp_path / "rows.txt").write_text("7\n\n2\n5\n")
    assert choose_rows(tmp_path / "rows.npy", 8, 0).tolist() == [2, 5, 7]
    assert choose_rows(tmp_path / "rows.txt", 8, 0).tolist() == [2, 5, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n8", "has index 8; the split has 8 samples, indices are 0..7"),
        ("1\n-1", "has index -1; the split has 8 samples"),
        ("1\n1", "has 1 indices twice"),
        ("1\ntwo", "has 'two'; it must list one index a line"),
        ("1\n--1", "has '--1'; it must list one index a line"),
        ("", "it must list one or more integers"),
    ],
)
def test_a_file_of_indices_that_does_not_fit_is_refused(tmp_path, text, message):
    path = tmp_path / "rows.txt"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        choose_rows(path, 8, 0)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_more_samples_than_there_are_is_refused():
    with pytest.raises(InputError, match=r"samples = 51: the split has 50 samples; choose 1\.\.50"):
        choose_rows(51, 50, 0)
