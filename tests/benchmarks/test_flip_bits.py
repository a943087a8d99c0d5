"""The benchmark of flipped bits finds them all on the store of version 1, and knows a silent one when it sees one."""

from __future__ import annotations

import flip_bits
import pytest
from forked import run_script


@pytest.fixture
def store(repository):
    """A small store."""
    return repository / "tests/store/golden/version1.zarr"


def test_every_flip_is_found_or_harmless_and_the_store_is_left_alone(store):
    before = {file: file.read_bytes() for file in store.rglob("*") if file.is_file()}
    flips = flip_bits.flip_bits(store, 40, seed=1)
    counts = flip_bits.count(flips)
    assert (counts.flips, counts.silently_wrong) == (40, 0)
    assert counts.found + counts.harmless == 40
    assert len({flip.file for flip in flips}) > 10, "they are spread over the files"
    assert before == {file: file.read_bytes() for file in store.rglob("*") if file.is_file()}


def test_one_bit_is_another_inside_and_itself_again_after(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(bytes(range(20)))
    with flip_bits.flipped(file, 7, 3):
        assert file.read_bytes() == bytes([*range(7), 7 ^ 8, *range(8, 20)])
    assert file.read_bytes() == bytes(range(20))


def test_other_values_without_an_error_are_silently_wrong(store, monkeypatch):
    known = flip_bits.everything(store)
    monkeypatch.setattr(flip_bits, "everything", lambda path: {**known, "train/labels": "others"})
    by_verify, by_read, same = flip_bits.look(store, known, flip_bits.verify_url(store).findings)
    assert (by_verify, by_read, same) == (False, False, False)
    flip = flip_bits.Flip("x", 0, 0, by_verify, by_read, same)
    assert flip.silently_wrong
    assert flip_bits.count([flip]).silently_wrong == 1


def test_the_command_prints_its_counts(store, repository, tmp_path):
    code = run_script(repository / "benchmarks/flip_bits.py", store, "--flips", "3", log=tmp_path / "log")
    said = (tmp_path / "log").read_text()
    assert code == 0, said
    assert '"flips": 3' in said
    assert '"silently_wrong": 0' in said
