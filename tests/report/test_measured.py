"""Tidy tables are read by variable and dimensions, however they are spread over files."""

from __future__ import annotations

import pytest
from tidy import write_tidy

from logitcache.errors import InputError
from logitcache.report.measured import Measured

KEYS = [("big", "test"), ("big", "train")]


def test_one_file_or_several_give_the_same(tmp_path):
    by_tau = {("1.0",): {"entropy": 0.5}, ("4.0",): {"entropy": 1.5}}
    write_tidy(tmp_path / "several/tau.csv", (), KEYS, {(): {"best_tau": 2.0}})
    write_tidy(tmp_path / "several/tau_by_tau.csv", ("tau",), KEYS, by_tau)
    # one file with all dimensions: cells that a variable has no use for are empty, or filled with the same
    joined = {("1.0", ""): {"entropy": 0.5, "best_tau": 2.0}, ("4.0", "0"): {"entropy": 1.5, "best_tau": 2.0}}
    joined |= {("4.0", "1"): {"entropy": 1.5, "best_tau": ""}}
    write_tidy(tmp_path / "one/tau.csv", ("tau", "bin"), KEYS, joined)
    for folder in ("one", "several"):
        measured = Measured((tmp_path / folder,))
        assert measured.find("tau", "entropy", ("tau",)) == {key: {("1.0",): 0.5, ("4.0",): 1.5} for key in KEYS}
        assert measured.one("tau", "best_tau") == dict.fromkeys(KEYS, 2.0)


def test_other_measures_and_other_tables_are_left_alone(tmp_path):
    for name in ("taus.csv", "pair.csv", "atau.csv"):
        write_tidy(tmp_path / name, ("tau",), KEYS, {("1.0",): {"entropy": 7.0}})
    (tmp_path / "tau_old.csv").write_text("name,entropy\nx,1\n")
    assert Measured((tmp_path,)).find("tau", "entropy", ("tau",)) == {}


def test_folders_are_joined_and_may_be_missing(tmp_path):
    write_tidy(tmp_path / "a/tau.csv", ("tau",), [("big", "test")], {("1.0",): {"entropy": 1.0}})
    write_tidy(tmp_path / "b/tau.csv", ("tau",), [("run-1", "test")], {("1.0",): {"entropy": 2.0}})
    folders = tuple(tmp_path / name for name in ("a", "b", "nowhere"))
    found = Measured(folders).find("tau", "entropy", ("tau",))
    assert found == {("big", "test"): {("1.0",): 1.0}, ("run-1", "test"): {("1.0",): 2.0}}


def test_what_is_not_finite_is_missing_and_what_is_no_number_is_refused(tmp_path):
    cells = {("1",): {"nll": "nan"}, ("2",): {"nll": ""}, ("3",): {"nll": "inf"}, ("4",): {"nll": "True"}}
    write_tidy(tmp_path / "tau.csv", ("tau",), KEYS[:1], cells)
    assert Measured((tmp_path,)).find("tau", "nll", ("tau",)) == {KEYS[0]: {("4",): 1.0}}
    write_tidy(tmp_path / "tau.csv", ("tau",), KEYS[:1], {("1",): {"nll": "much"}})
    with pytest.raises(InputError, match=r"tau\.csv: column nll has 'much'"):
        Measured((tmp_path,)).find("tau", "nll", ("tau",))
