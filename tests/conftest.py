"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import Run, make_run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def data_root(repository) -> Path:
    """The folder with the repository's own data."""
    return repository / "data"


@pytest.fixture
def unsynced(monkeypatch) -> None:
    """Spare the disk where hundreds of small objects are written; what is synced is tested elsewhere."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Spare a module the figures of its reports, a second each; they are tested elsewhere."""

    def save(draw: object, folder: Path, name: str) -> tuple[Path, Path]:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        path.write_bytes(b"no picture")
        return path, path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logitcache.report.figures.save", save)
        yield


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Run:
    """A whole run on tiny data; tests leave it as it is."""
    return make_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def run_copy(finished_run, tmp_path) -> Run:
    """A copy of it to be changed."""
    return finished_run.copy(tmp_path)
