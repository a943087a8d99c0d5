"""Results are written so that xarray and CSV readers get the same numbers, and what is huge or empty is left out."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from builders import Plan
from stored_logits import memory_store

from logitcache import statistics
from logitcache.errors import InputError
from logitcache.statistics import writing


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_zarr_store_gives_the_tree_back(tmp_path):
    tree = statistics.compute(memory_store(), ["agreement", "topk"])
    statistics.write_tree(tree, tmp_path)
    again = xr.open_datatree(tmp_path / "statistics.zarr", engine="zarr", consolidated=False)
    assert again.attrs["views"] == "clean"
    for name, group in tree.children.items():
        for variable, values in group.data_vars.items():
            stored = again[name][variable]
            assert np.array_equal(values, stored, equal_nan=True), (name, variable)
            assert stored.attrs["units"] == values.attrs["units"]
            assert stored.dims == values.dims
        assert list(again[name].coords["teacher"].values) == ["big", "small"]


def test_tables_are_tidy_and_give_the_same_numbers_back(tmp_path):
    tree = statistics.compute(memory_store(), ["tau", "agreement"], taus=(1, 4))
    paths = statistics.write_tree(tree, tmp_path)
    assert {"tau.csv", "tau_by_tau.csv", "tau_by_tau_bin.csv", "agreement_by_class.csv"} <= {p.name for p in paths}
    rows = read(tmp_path / "tau_by_tau.csv")
    assert len(rows) == 2 * 2 * 2
    for row in rows:
        at = tree["tau"].to_dataset().sel(teacher=row["teacher"], split=row["split"], tau=float(row["tau"]))
        assert float(row["entropy"]) == float(at["entropy"])
    empty = [row for row in read(tmp_path / "tau_by_tau_bin.csv") if row["bin_count"] == "0"]
    assert empty
    assert all(row["bin_accuracy"] == "" for row in empty)


def test_counts_leave_out_zeros_and_huge_tables_are_left_out(tmp_path, monkeypatch):
    tree = statistics.compute(memory_store(), ["agreement"])
    statistics.write_tree(tree, tmp_path / "all")
    confusion = read(tmp_path / "all" / "agreement_by_class_predicted.csv")
    assert all(int(row["confusion"]) > 0 for row in confusion)
    assert sum(int(row["confusion"]) for row in confusion) == int(tree["agreement"].confusion.sum())
    monkeypatch.setattr(writing, "LARGEST_TABLE", 150)
    names = {path.name for path in statistics.write_tree(tree, tmp_path / "few")}
    assert "agreement_by_class_logit.csv" not in names
    assert "agreement_by_class_predicted.csv" in names


def test_writing_again_replaces_what_was_there(tmp_path):
    statistics.write_tree(statistics.compute(memory_store(), ["topk", "covariance"]), tmp_path)
    statistics.write_tree(statistics.compute(memory_store(), ["topk"]), tmp_path)
    again = xr.open_datatree(tmp_path / "statistics.zarr", engine="zarr", consolidated=False)
    assert list(again.children) == ["topk"]
    assert not list(tmp_path.glob("*.partial"))


def test_what_to_compare_with_must_be_named(tmp_path):
    Plan().write(tmp_path / "store.zarr")
    with pytest.raises(InputError, match="STORE:TEACHER"):
        statistics.run(tmp_path / "store.zarr", tmp_path / "out", against=["there:"])
