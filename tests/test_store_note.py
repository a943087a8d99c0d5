"""The note on a shared store: relative, read back, and refused where it is damaged."""

from __future__ import annotations

import shutil

import pytest

from logitcache.errors import InputError
from logitcache.store_note import StoreNote, of_teachers, read_note, write_note


def test_a_note_is_read_back_and_survives_a_move_of_all_runs(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    write_note(here / "mine", StoreNote(here / "other/store.zarr", ("a", "b")))
    assert "here" not in (here / "mine/shared_store.json").read_text()
    shutil.move(here, there)
    note = read_note(there / "mine")
    assert note.store.resolve() == there / "other/store.zarr"
    assert note.teachers == ("a", "b")


def test_a_note_that_is_there_is_not_written_again(tmp_path):
    note = StoreNote(tmp_path / "store.zarr", ("a",))
    write_note(tmp_path / "run", note)
    path = tmp_path / "run/shared_store.json"
    before = path.stat().st_ino
    write_note(tmp_path / "run", note)
    assert path.stat().st_ino == before
    write_note(tmp_path / "run", StoreNote(tmp_path / "store.zarr", ("b",)))
    assert read_note(tmp_path / "run").teachers == ("b",)


def test_without_a_note_the_store_is_the_runs_own(tmp_path):
    assert read_note(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", '{"store": "x"}', '{"store": "x", "teachers": 3}', "\0"])
def test_a_damaged_note_is_said(tmp_path, text):
    (tmp_path / "shared_store.json").write_text(text)
    with pytest.raises(InputError, match=r"shared_store\.json is damaged; delete it"):
        read_note(tmp_path)


def test_what_a_store_says_is_limited_to_some_teachers():
    info = {"path": "p", "splits": [{"split": "train", "teachers": [{"teacher": "a", "x": 1}, {"teacher": "b"}]}]}
    limited = {"path": "p", "splits": [{"split": "train", "teachers": [{"teacher": "a", "x": 1}]}]}
    assert of_teachers(info, ("a", "c")) == limited
    assert len(info["splits"][0]["teachers"]) == 2
