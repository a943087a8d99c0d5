"""Runs of a sweep: each trained once, wherever it was interrupted and in however many processes."""

from __future__ import annotations

import csv
import json
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import tree
from safetensors.numpy import load_file

from logitcache.errors import CheckError, MismatchError
from logitcache.sweep import COLUMNS, finished_runs, run_sweep, workshop, write_results

TIMES = {"train_seconds", "seconds_per_epoch"}


@pytest.fixture(autouse=True)
def one_thread():
    """As many threads as each of two processes has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def cached(run_copy):
    """A run whose students are not trained yet."""
    shutil.rmtree(run_copy.out / "students")
    (run_copy.out / "results.csv").unlink()
    return run_copy


def table(out) -> list[dict[str, str]]:
    """``results.csv`` without the columns that tell time."""
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def sweep(run, *overrides, processes=1, progress=None) -> int:
    context = run.context(*overrides)
    return run_sweep(context.sweep(), context.runs(), processes=processes, progress=progress)


def outcome(run, spec) -> dict[str, bytes]:
    """The bytes of a student's weights and test logits."""
    folder = run.out / "students" / spec.run_id
    weights = {key: value.tobytes() for key, value in load_file(folder / "model.safetensors").items()}
    return {**weights, "test_logits": np.load(folder / "test_logits.npy").tobytes()}


def test_every_run_leaves_record_weights_logits_and_curve(cached):
    assert sweep(cached) == 4
    runs = cached.context().runs()
    for run in runs:
        folder = cached.out / "students" / run.run_id
        assert sorted(p.name for p in folder.iterdir()) == [
            "metrics.jsonl",
            "model.safetensors",
            "run.json",
            "test_logits.npy",
        ]
        record = json.loads((folder / "run.json").read_text())
        assert tuple(record) == COLUMNS
        logits = np.load(folder / "test_logits.npy")
        assert (logits.shape, logits.dtype) == ((60, 3), np.float32)
        right = (logits.argmax(1) == np.arange(60) % 3).mean()
        assert record["test_accuracy"] == pytest.approx(100 * right)
    rows = table(cached.out)
    assert [row["run_id"] for row in rows] == [run.run_id for run in runs]
    assert [row["teachers"] for row in rows] == ["", "", "big", "big"]


def test_finished_runs_are_skipped(cached):
    sweep(cached)
    before, calls = tree(cached.out / "students"), []
    assert sweep(cached, progress=lambda *each: calls.append(each)) == 0
    assert calls == []
    assert tree(cached.out / "students") == before


def test_only_what_is_new_in_a_larger_grid_is_trained(cached):
    sweep(cached)
    names = []
    assert sweep(cached, "students.seeds=[0, 1, 2]", progress=lambda run_id, record: names.append(run_id)) == 2
    assert {name.rsplit("-", 2)[1] for name in names} == {"s2"}
    assert len(table(cached.out)) == 6


def test_a_run_killed_between_training_and_record_is_not_trained_again(cached, monkeypatch, tmp_path, finished_run):
    run = cached.context().runs()[2]
    context = cached.context().sweep()
    with monkeypatch.context() as patch:
        patch.setattr(workshop, "write_record", _die)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(context, [run], processes=1)
    assert finished_runs(cached.out, [run]) == {}
    epochs = []
    assert run_sweep(context, [run], processes=1, progress=lambda *each: epochs.append(each)) == 1
    assert epochs == [], "the checkpoint of the last epoch is where it goes on"
    assert outcome(cached, run) == outcome(finished_run, run)


def _die(*_):
    raise KeyboardInterrupt


def test_two_processes_give_the_same_results_as_one(cached, finished_run):
    events = []
    assert sweep(cached, processes=2, progress=lambda run_id, record: events.append((run_id, record.epoch))) == 4
    assert table(cached.out) == table(finished_run.out)
    assert sorted(events) == sorted((run.run_id, epoch) for run in cached.context().runs() for epoch in (1, 2))
    for run in cached.context().runs():
        assert outcome(cached, run) == outcome(finished_run, run)


def test_a_diverged_run_is_reported_and_stops_no_other(cached):
    context = cached.context()
    good = context.runs()
    wild = replace(good[2], training=good[2].training.model_copy(update={"learning_rate": 1e6, "epochs": 5}))
    runs = [wild, *good]
    assert run_sweep(context.sweep(), runs, processes=1) == 5
    rows = table(cached.out)
    assert [row["status"] for row in rows] == ["diverged", "done", "done", "done", "done"]
    assert rows[0]["test_accuracy"] == ""
    assert int(rows[0]["epochs"]) < 5, "it stops at the end of the epoch"
    assert all(float(row["test_accuracy"]) > 0 for row in rows[1:])
    assert run_sweep(context.sweep(), runs, processes=1) == 0, "it is finished too"


def test_a_failed_run_leaves_the_finished_ones_in_the_results(cached, monkeypatch):
    context = cached.context()
    labels = np.roll(np.arange(120) % 3, 1)
    other = cached.recipe.parent / "other_labels.npy"
    np.save(other, labels)
    data = context.recipe.data.model_copy(update={"labels": other})
    with pytest.raises(MismatchError, match="fingerprint"):
        run_sweep(replace(context.sweep(), data=data), context.runs(), processes=1)
    assert [row["objective"] for row in table(cached.out)] == ["ce", "ce"]


def test_a_process_that_dies_is_one_clear_error(cached, monkeypatch):
    class Pool(ThreadPoolExecutor):
        """Workers that are gone before they have begun."""

        def __init__(self, processes, *_, **__) -> None:
            super().__init__(processes)

        def submit(self, *_):
            future = Future()
            future.set_exception(BrokenProcessPool("a worker was killed"))
            return future

    monkeypatch.setattr("logitcache.sweep.running.ProcessPoolExecutor", Pool)
    with pytest.raises(CheckError, match=r"died.*run the same command again"):
        sweep(cached, processes=2)
    assert table(cached.out) == []


def test_results_of_a_part_of_the_runs_hold_that_part(cached):
    context = cached.context()
    runs = context.runs()
    run_sweep(context.sweep(), runs[:1], processes=1)
    write_results(cached.out, runs)
    assert [row["run_id"] for row in table(cached.out)] == [runs[0].run_id]
