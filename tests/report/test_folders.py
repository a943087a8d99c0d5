"""A report is of the folder that is given, or of the runs in it."""

from __future__ import annotations

import pytest

from logitcache.report import run_folders


@pytest.fixture
def make(tmp_path):
    """Make files and folders, by name, below a folder."""

    def made(*names: str):
        for name in names:
            path = tmp_path / name
            path.mkdir(parents=True) if name.endswith("/") else path.parent.mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                path.touch()
        return tmp_path

    return made


@pytest.mark.parametrize("name", ["results.csv", "store.zarr/zarr.json", "shared_store.json"])
def test_a_run_is_itself(make, name):
    folder = make(name, "students/a/run.json", "study/table.csv")
    assert run_folders(folder) == (folder,)


def test_of_variants_each_is_meant_by_name(make):
    folder = make("study/study.md", "steps.json", "two/results.csv", "one/shared_store.json", "empty/")
    assert run_folders(folder) == (folder / "one", folder / "two")


def test_a_store_that_variants_share_is_reported_too(make):
    folder = make("store.zarr/zarr.json", "one/results.csv")
    assert run_folders(folder) == (folder, folder / "one")


def test_a_run_with_results_has_no_runs_inside(make):
    folder = make("results.csv", "copy/results.csv")
    assert run_folders(folder) == (folder,)


def test_where_there_is_nothing_the_folder_itself_is_named(make, tmp_path):
    assert run_folders(make("a/file")) == (tmp_path,)
    assert run_folders(tmp_path / "nowhere") == (tmp_path / "nowhere",)
    assert run_folders(tmp_path / "a/file") == (tmp_path / "a/file",)
