"""A cluster is asked for by address or by a number of processes, and what cannot be is said at once."""

from __future__ import annotations

import os
import signal

import dask.config
import pytest

from logitcache.cluster import ClusterOptions, open_client
from logitcache.errors import InputError

OWN = ClusterOptions(workers=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scheduler": "tcp://here:1", "workers": 2}, "both given"),
        ({"scheduler": "here"}, "must be an address, for example tcp://host:8786"),
        ({"workers": 0}, "must be at least 1"),
    ],
)
def test_what_is_no_cluster_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        ClusterOptions(**options)


def test_a_cluster_is_asked_for_by_either():
    assert not ClusterOptions().asked
    assert ClusterOptions(scheduler="tcp://here:1").asked
    assert ClusterOptions(workers=1).asked


def test_a_worker_that_comes_back_late_keeps_its_place(quick_workers):
    """Later than Dask by itself waits for one, which is here not at all."""
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0 s"}), open_client(OWN) as client:
        first = client.submit(os.getpid, pure=False).result(30)
        os.kill(first, signal.SIGKILL)
        assert client.submit(os.getpid, pure=False).result(30) != first


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("logitcache.cluster.clients._ANSWER_SECONDS", 0.5)
    with (
        pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        open_client(ClusterOptions(scheduler="tcp://127.0.0.1:9")),
    ):
        pass
