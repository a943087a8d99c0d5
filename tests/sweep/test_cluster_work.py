"""A sweep on a cluster leaves what a sweep in this process leaves, also where workers die."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sweeps import left, table, untrained
from tiny import command, run_words

from logitcache.cluster import ClusterOptions, open_client
from logitcache.errors import CheckError
from logitcache.sweep import Ended, EpochDone, run_sweep


@pytest.fixture(scope="module")
def client(quick_workers):
    """Two worker processes."""
    with open_client(ClusterOptions(workers=2)) as opened:
        yield opened


def test_students_come_out_the_same_though_a_worker_is_killed(finished_run, tmp_path, client):
    run = untrained(finished_run.copy(tmp_path))
    told = []
    killer = threading.Thread(target=_kill_one, args=(client, run.out / "students"), daemon=True)
    killer.start()
    trained = run_sweep(run.context().sweep(), run.context().runs(), client=client, listeners=[told.append])
    killer.join()
    assert trained == len(run.context().runs())
    assert left(run.out) == left(finished_run.out)
    assert table(run.out) == table(finished_run.out)
    assert {event.run_id for event in told if isinstance(event, Ended)} == {r.run_id for r in run.context().runs()}
    assert any(isinstance(event, EpochDone) for event in told)


def test_runs_that_fail_stop_no_others(finished_run, tmp_path, client):
    run = untrained(finished_run.copy(tmp_path))
    labels = tmp_path / "other_labels.npy"
    np.save(labels, np.roll(np.arange(120) % 3, 1))
    context = run.context()
    other = replace(context.sweep(), data=context.recipe.data.model_copy(update={"labels": labels}))
    with pytest.raises(CheckError, match=r"2 runs failed; all others are trained"):
        run_sweep(other, context.runs(), client=client)
    assert [row["status"] for row in table(run.out)] == ["done", "done", "failed", "failed"]


def test_the_command_takes_workers_of_its_own_which_load_all_that_they_need(finished_run, tmp_path, monkeypatch):
    run = untrained(finished_run.copy(tmp_path))
    monkeypatch.chdir(tmp_path)
    answer = command("distill", *run_words(run.recipe, run.out), "--workers", 1, "--stage", "stage")
    assert answer.code == 0, answer.err
    assert table(run.out) == table(finished_run.out)
    kept = list((tmp_path / "stage").glob("??/*"))
    [line] = [line for line in answer.out.splitlines() if "  stage stage: " in line]
    assert f" {len(kept)} misses, 0 shards fetched ahead" in line


def _kill_one(client, students: Path) -> None:
    """Kill a worker once the first run has begun."""
    while not list(students.glob("*/*")):
        time.sleep(0.02)
    os.kill(min(client.run(os.getpid, on_error="ignore").values()), signal.SIGKILL)
