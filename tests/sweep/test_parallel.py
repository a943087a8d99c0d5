"""Students trained by several processes together, started by torchrun itself."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file
from sweeps import curve, files, table, untrained
from tiny import run_words

from logitcache.student.records import TRAIN_MEASURES

MEASURE = "students.training.measure_train=true"
SAME = ("students.training.batch=25", "students.seeds=[0]", MEASURE)
PLAIN = """
from torch import nn

def net(classes, shape):
    '''A network without statistics of batches.'''
    return nn.Sequential(
        nn.Conv2d(shape[0], 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, classes)
    )

def no(classes, shape):
    raise ValueError('no such network')
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Modules with networks, in a folder to start from: one that does not care how a batch is cut, one that fails."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "plain.py").write_text(PLAIN)
    return folder


def torchrun(processes: int, *words: object, folder) -> subprocess.CompletedProcess:
    """Run logitcache in so many processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *launcher, "-m", "logitcache", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


@pytest.fixture(scope="module")
def together(finished_run, plain, tmp_path_factory):
    """Students of two kinds of networks, each trained by two processes; tests leave them as they are."""
    run = untrained(finished_run.copy(tmp_path_factory.mktemp("together")))
    words = run_words(run.recipe, run.out, 'students.model=["plain:net", "cnn-4-4"]', *SAME)
    done = torchrun(2, "distill", *words, "--stage", run.out / "stage", folder=plain)
    assert done.returncode == 0, done
    assert done.stdout.count("distill 4 of 4 students, each by 2 processes ...") == 1, "rank 0 alone speaks"
    return run, done.stdout


def test_two_processes_together_train_what_one_trains(cached, together, plain, monkeypatch):
    one, two = cached, together[0]
    monkeypatch.chdir(plain)
    assert one("distill", "students.model=plain:net", *SAME).code == 0
    rows, expected = [row for row in table(two.out) if row["student"] == "plain:net"], table(one.out)
    assert {row["mode"] for row in rows} == {"parallel 2"}
    for row, alone in zip(rows, expected, strict=True):
        pairs = [(float(row.pop(name) or "nan"), float(alone.pop(name) or "nan")) for name in TRAIN_MEASURES]
        np.testing.assert_allclose(*np.transpose(pairs), rtol=1e-4, err_msg="rank 0 measures all that both saw")
        assert not np.isnan(pairs[0]).any()
    assert [{**row, "mode": "alone"} for row in rows] == expected
    others = {row["run_id"] for row in table(two.out)} - {row["run_id"] for row in rows}
    assert {name for name in files(two.out) if name.split("/")[1] not in others} == files(one.out)
    for folder in sorted((one.out / "students").iterdir()):
        other = two.out / "students" / folder.name
        weights = load_file(folder / "model.safetensors")
        for name, value in load_file(other / "model.safetensors").items():
            np.testing.assert_allclose(value, weights[name], rtol=1e-4, atol=1e-5, err_msg=name)
        losses = [[record["loss"] for record in curve(run)] for run in (folder, other)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_what_a_stage_was_good_for_is_said_once_of_both(together):
    run, said = together
    [line] = [line for line in said.splitlines() if f" stage {run.out / 'stage'}: " in line]
    fetched = sum(int(line.split(what)[0].split()[-1]) for what in (" misses", " shards fetched ahead"))
    kept = list((run.out / "stage").glob("??/*"))
    assert fetched == len(kept) > 0, "whoever comes first fetches a shard for both"


def test_where_batch_norm_is_local_the_results_say_so(together):
    run, said = together
    modes = [row["mode"] for row in table(run.out) if row["student"] == "cnn-4-4"]
    assert modes == ["parallel 2, local batch norm"] * 2
    assert said.count("own part of a batch") == 1, "rank 0 alone, and once"


def test_a_run_that_fails_stops_all_processes_and_is_recorded(cached, plain):
    words = run_words(cached.recipe, cached.out, "students.seeds=[0]", "students.samples=30", "students.model=plain:no")
    done = torchrun(2, "distill", *words, folder=plain)
    assert done.returncode != 0
    assert [(row["status"], row["error"]) for row in table(cached.out)] == [("failed", "ValueError: no such network")]


def test_torchrun_is_refused_for_a_whole_recipe(cached, monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "29500")
    answer = cached("run")
    assert answer.code == 2
    assert "torchrun is for `logitcache distill`" in answer.err
