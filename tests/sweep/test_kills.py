"""A sweep that is killed, at whatever moment and however often, ends as one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from forked import run_forked
from sweeps import files, left, sweep, table
from tiny import run_words

from logitcache.sweep import trainers

OFTEN = "students.training.checkpoint_seconds=0"

KILLED = """
import os, signal, sys
from pathlib import Path

left, replace = int(sys.argv.pop(1)), Path.replace

def dying(path, target):
    '''Every file of a run is renamed when it is whole; the process dies just before that of one of them.'''
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)

Path.replace = dying
from logitcache.cli import main
main()
"""

KILLS_PARENT = """
import json, multiprocessing, os, signal, time

ended = []

def slow(classes, shape):
    time.sleep(600)

def kill(run_id, record):
    '''The end of the sweep's own process when four runs are through and a fifth sleeps in a process of its own.'''
    ended.extend([run_id] * (record["epoch"] == 2))
    if len(ended) == 4:
        with open("workers.json", "w") as file:
            json.dump([child.pid for child in multiprocessing.active_children()], file)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def distill(run, *overrides, kill_at: int = 0, folder=None) -> int:
    """The exit code of a process that trains students and dies before it has written so many files."""
    words, said = run_words(run.recipe, run.out, *overrides), run.out.parent / "said"
    code = run_forked(KILLED, kill_at, "distill", *words, log=said, folder=folder)
    assert code in (0, -signal.SIGKILL), said.read_text()
    return code


def kill_until_done(run, *overrides) -> int:
    """Start over until it comes to its end, each time with a few more files; returns how often it was killed."""
    kills = 0
    while distill(run, *overrides, kill_at=9 + 8 * kills):
        kills += 1
    return kills


def test_a_sweep_that_is_killed_again_and_again_ends_as_one_that_was_not(cached, finished_run):
    assert kill_until_done(cached, OFTEN, "sweep.processes=1") >= 2
    assert left(cached.out) == left(finished_run.out)
    assert table(cached.out) == table(finished_run.out)
    assert files(cached.out) == files(finished_run.out)


def test_a_stack_that_is_killed_again_and_again_ends_as_one_that_was_not(cached, tmp_path_factory):
    whole = cached.copy(tmp_path_factory.mktemp("whole"))
    assert sweep(whole, stack="always", way="stacked") == 4
    kills = kill_until_done(cached, OFTEN, "sweep.processes=1", "sweep.stack=always", "sweep.way=stacked")
    assert kills >= 1
    assert left(cached.out) == left(whole.out)
    assert table(cached.out) == table(whole.out)
    assert {row["mode"] for row in table(cached.out)} == {"stacked 4"}
    assert files(cached.out) == files(whole.out)


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_processes_die_with_the_sweep_that_started_them(cached, finished_run, tmp_path):
    (tmp_path / "killer.py").write_text(KILLS_PARENT)
    options = ('students.model=["cnn-4-4", "killer:slow"]', "sweep.processes=2", "sweep.hook=killer:kill")
    assert distill(cached, *options, folder=tmp_path) == -signal.SIGKILL
    workers = json.loads((tmp_path / "workers.json").read_text())
    assert len(workers) == 2
    deadline = time.monotonic() + 60
    while any(map(is_there, workers)):
        assert time.monotonic() < deadline, "a process goes on although nobody waits for it"
        time.sleep(0.05)
    sweep(cached)
    found = left(cached.out)
    assert {name: found[name] for name in left(finished_run.out)} == left(finished_run.out)


def test_a_stack_killed_between_its_records_does_not_write_those_that_are_there_again(cached, monkeypatch):
    written = []

    def dies_after_two(folder, record, write=trainers.write_record):
        if len(written) == 2:
            raise KeyboardInterrupt
        write(folder, record)
        written.append(folder)

    with monkeypatch.context() as patch:
        patch.setattr(trainers, "write_record", dies_after_two)
        with pytest.raises(KeyboardInterrupt):
            sweep(cached, stack="always", way="stacked")
    times = {path: path.stat().st_mtime_ns for folder in written for path in folder.iterdir()}
    assert len(times) == 8
    epochs = []
    assert sweep(cached, stack="always", way="stacked", progress=lambda *each: epochs.append(each)) == 2
    assert epochs == []
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert not (cached.out / "groups").exists()
