"""Layouts are told by names, samples have one order, and a digest sees every byte and every name."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from logitcache.errors import InputError
from logitcache.formats import SourceOptions, open_source
from logitcache.formats.records import ordered

LOGITS = np.ones((4, 3), np.float32)


def load(path, **options):
    return open_source(path, SourceOptions(**options))


@pytest.fixture
def npy(tmp_path):
    np.save(tmp_path / "l.npy", LOGITS)
    return tmp_path / "l.npy"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "f").mkdir()
    for name in ("a", "b"):
        torch.save(torch.ones(3), tmp_path / "f" / f"{name}.pt")
    return tmp_path / "f"


def test_what_is_not_there_or_of_no_known_layout_is_refused(tmp_path, npy):
    with pytest.raises(InputError, match=r"none.npy is not there"):
        load(tmp_path / "none.npy")
    (tmp_path / "l.csv").write_text("1,2")
    with pytest.raises(InputError, match=r"l.csv is a file of no known layout; files have one of: npy, npz"):
        load(tmp_path / "l.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty is a folder of no known layout; folders have one of: tinyvit, parq"):
        load(tmp_path / "empty")


def test_a_layout_can_be_given(tmp_path, npy):
    npy.rename(tmp_path / "logits.bin")
    assert load(tmp_path / "logits.bin", format="npy").samples == 4
    with pytest.raises(InputError, match="is a file of no known layout"):
        load(tmp_path / "logits.bin", format="tinyvit")
    with pytest.raises(InputError, match="no folders logits_topK_epochE"):
        load(tmp_path, format="tinyvit", classes=3)
    with pytest.raises(InputError, match="is not whole"):
        load(tmp_path / "logits.bin", format="parquet")


@pytest.mark.parametrize("name", ["torch", "parquet"])
def test_an_empty_folder_of_a_given_layout_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="no files of"):
        load(tmp_path, format=name)


def test_a_files_digest_is_its_sha256(npy):
    assert load(npy).digest == hashlib.sha256(npy.read_bytes()).hexdigest()[:16]


def test_a_folders_digest_sees_contents_and_names(folder):
    digests = [load(folder).digest]
    torch.save(torch.zeros(3), folder / "b.pt")
    digests.append(load(folder).digest)
    (folder / "b.pt").rename(folder / "c.pt")
    digests.append(load(folder).digest)
    assert len(set(digests)) == 3
    assert load(folder).digest == digests[-1]
    (folder / "notes.txt").write_text("what is not read does not count")
    assert load(folder).digest == digests[-1]


@pytest.mark.parametrize(
    ("view", "rows"), [(1, range(2)), (-1, range(2)), (0, range(5)), (0, range(-1, 2)), (0, range(2, 2))]
)
def test_views_and_rows_that_are_not_there_are_refused(npy, view, rows):
    with pytest.raises(InputError, match="which has 1 views of 4 samples"):
        load(npy).read(view, rows)


def test_names_are_ordered_as_data_sets_order_them():
    assert ordered(["10", "9", "1", "002"]) == ["1", "002", "9", "10"]
    assert ordered(["10", "9", "x"]) == ["10", "9", "x"]
    assert ordered(["a-b/1", "a/2", "a/10"]) == ["a/10", "a/2", "a-b/1"], "a folder's files stay together"


@given(st.lists(st.text("0123456789ab/-²", min_size=1), unique=True))
def test_the_order_of_names_does_not_depend_on_how_they_are_listed(names):
    assert ordered(names) == ordered(names[::-1])
    assert sorted(ordered(names)) == sorted(names)
