"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from forked import quick_workers as quick_workers_of_clusters
from hypothesis import settings
from tiny import Run, make_run

if TYPE_CHECKING:
    from object_server import ObjectServer

ROOT = Path(__file__).parents[1]

settings.register_profile("logitcache", deadline=None)  # two workers on a busy machine are slow at times, and not wrong
settings.load_profile("logitcache")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def data_root(repository) -> Path:
    """The folder with the repository's own data."""
    return repository / "data"


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """Spare the disk: no test outlives the power. What is synced, and when, is tested by the calls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Spare a module the figures of its reports; they are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logitcache.report.story.draw", lambda chart: None)
        for module in ("story", "explorer"):
            patch.setattr(f"logitcache.report.{module}.placed", lambda model, name, spoken: "")
        patch.setattr("logitcache.report.page.scripts", lambda **options: "")
        yield


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Run:
    """A whole run on tiny data; tests leave it as it is."""
    return make_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def run_copy(finished_run, tmp_path) -> Run:
    """A copy of it to be changed."""
    return finished_run.copy(tmp_path)


@pytest.fixture(scope="module")
def quick_workers() -> Iterator[None]:
    """Workers of Dask clusters begin in a moment."""
    with quick_workers_of_clusters():
        yield


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    """An S3 server on this machine; tests ask for :func:`s3`."""
    from object_server import ObjectServer

    server = ObjectServer()
    yield server
    server.close()


@pytest.fixture
def s3(object_server, monkeypatch) -> ObjectServer:
    """The server with an empty bucket, which this process can reach."""
    object_server.reset()
    for name, value in object_server.environ.items():
        monkeypatch.setenv(name, value)
    return object_server
