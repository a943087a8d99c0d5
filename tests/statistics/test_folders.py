"""Results of two stores in one folder do not write over each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from logitcache.statistics import results_folder, student_runs


@pytest.mark.parametrize(
    ("store", "folder"),
    [
        ("runs/a/store.zarr", "runs/a/statistics"),
        ("runs/a/students.zarr", "runs/a/students_statistics"),
        ("imagenet.zarr", "imagenet_statistics"),
        ("runs/store", "runs/store_statistics"),
    ],
)
def test_results_lie_beside_the_store_in_a_folder_of_its_own(store, folder):
    assert results_folder(Path(store)) == Path(folder)


def test_a_store_is_measured_from_inside_without_writing_into_it(tmp_path, monkeypatch):
    (tmp_path / "store.zarr" / "train").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "store.zarr" / "train")
    assert results_folder(Path("..")) == tmp_path / "statistics"
    monkeypatch.chdir(tmp_path / "store.zarr")
    assert results_folder(Path()) == tmp_path / "statistics"


def test_students_stand_beside_teachers_and_not_beside_themselves(tmp_path):
    assert student_runs(tmp_path / "store.zarr") is None
    (tmp_path / "students").mkdir()
    assert student_runs(tmp_path / "store.zarr") == tmp_path / "students"
    assert student_runs(tmp_path / "small.zarr") == tmp_path / "students"
    assert student_runs(tmp_path / "students.zarr") is None
