"""Students' logits and features as a store: those of the trained networks, resumed, and told from other weights."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from shutil import rmtree

import numpy as np
import pytest
import torch
from builders import KilledError, dies_after, tree
from safetensors.torch import load_file, save_file
from tiny import Run, command, run_words

from logitcache.errors import CheckError, InputError
from logitcache.models import build_model
from logitcache.models.weights import load_checkpoint
from logitcache.soft_targets import open_store as open_cached
from logitcache.statistics.measuring import compute
from logitcache.statistics.stores import Other
from logitcache.store import open_store, verify
from logitcache.sweep import STUDENTS_STORE, entry_name, save_logits, student_store


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    """Several blocks a split, and no wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(student_store, "_BLOCK", 50)
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def saved(finished_run, tmp_path_factory, small_blocks) -> Run:
    """A run with its students' logits; tests leave it as it is."""
    run = finished_run.copy(tmp_path_factory.mktemp("saved"))
    context = run.context()
    done = save_logits(context.sweep(), context.runs())
    assert (done.written, done.found) == (4 * (3 + 2), 0)
    return run


def clean_logits(store, name, split="test"):
    reader = store.logits(name, split)
    return np.concatenate([reader.read(0, block) for block in range(reader.blocks)])


def test_every_run_has_its_logits_of_both_splits(saved):
    store = open_store(saved.out / STUDENTS_STORE)
    runs = saved.context().runs()
    assert store.splits == ("test", "train")
    for split in store.splits:
        assert set(store.teachers(split)) == {run.run_id for run in runs}
    step = store.logits(runs[0].run_id, "test").encoding.step
    for run in runs:
        reader, logits = store.logits(run.run_id, "test"), clean_logits(store, run.run_id)
        known = np.load(saved.out / "students" / run.run_id / "test_logits.npy")
        assert np.abs(logits - known).max() <= step / 2 + 1e-5
        assert (reader.views, reader.samples, reader.record.precision) == (1, 60, "float32")


def test_train_logits_and_features_are_the_networks_own(saved):
    context = saved.context()
    run, split = context.runs()[3], context.splits["train"]
    network = build_model(run.model, 3, split.shape)
    load_checkpoint(saved.out / "students" / run.run_id / "model.safetensors", network, run.model)
    rows = torch.arange(len(split))
    batch = next(iter(student_store.Renderer(split, student_store.ViewOptions()).stream([(rows, 0)], len(rows))))
    with torch.inference_mode():
        logits, features = network.eval().with_features(batch.inputs)
    store = open_store(saved.out / STUDENTS_STORE)
    reader = store.logits(run.run_id, "train")
    found = clean_logits(store, run.run_id, "train")
    kept = np.concatenate([reader.features(0, block) for block in range(reader.blocks)])
    assert np.abs(found - logits.numpy()).max() <= reader.encoding.step / 2 + 1e-4
    assert kept == pytest.approx(features.numpy(), rel=1e-3, abs=1e-4)
    head = store.classifier(run.run_id)
    assert np.array_equal(head["weight"], network.head.weight.detach())
    assert kept @ head["weight"].T + head["bias"] == pytest.approx(found, abs=0.1)


def test_its_samples_are_the_data_sets(saved):
    store, split = open_store(saved.out / STUDENTS_STORE), saved.context().splits["train"]
    assert np.array_equal(store.labels("train"), split.labels)
    assert np.array_equal(store.index("train"), split.index)
    teachers = open_store(saved.out / "store.zarr")
    for name in ("train", "test"):
        assert store.split(name).fingerprint == teachers.split(name).fingerprint
    assert verify(open_store(saved.out / STUDENTS_STORE)).findings == ()
    assert open_cached(saved.out / STUDENTS_STORE).classes == teachers.classes


def test_what_is_there_is_not_computed_again(saved, monkeypatch):
    before, context = tree(saved.out / STUDENTS_STORE), saved.context()

    def fail(*_):
        raise AssertionError("a network was run")

    monkeypatch.setattr(student_store, "_forward", fail)
    done = save_logits(context.sweep(), context.runs())
    assert (done.written, done.found) == (0, 20)
    assert tree(saved.out / STUDENTS_STORE) == before


@pytest.mark.parametrize("changes", [2, 9, 40])
def test_a_writer_that_died_goes_on_to_the_same_bytes(saved, tmp_path, changes):
    whole, context = tree(saved.out / STUDENTS_STORE), saved.context()
    other = replace(context.sweep(), out=tmp_path)
    (tmp_path / "students").symlink_to(saved.out / "students")
    with dies_after(changes), pytest.raises(KilledError):
        save_logits(other, context.runs())
    save_logits(other, context.runs())
    assert tree(other.out / STUDENTS_STORE) == whole


def test_a_run_trained_anew_to_other_weights_is_refused_and_others_are_saved(saved, tmp_path):
    run = saved.copy(tmp_path)
    context = run.context()
    first, second, *_ = context.runs()
    path = run.out / "students" / first.run_id / "model.safetensors"
    save_file({key: value + 1 for key, value in load_file(path).items()}, path, {"model": first.model})
    rmtree(run.out / STUDENTS_STORE / "test" / "teachers" / second.run_id)
    with pytest.raises(CheckError, match=rf"1 students.*\n?.*{first.run_id}.*weight fingerprint"):
        save_logits(context.sweep(), [first, second])
    assert second.run_id in open_store(run.out / STUDENTS_STORE).teachers("test")


def test_runs_that_diverged_or_failed_are_left_out(run_copy):
    context = run_copy.context()
    first, second, *rest = context.runs()
    for run, status in ((first, "diverged"), (second, "failed")):
        path = run_copy.out / "students" / run.run_id / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "status": status}))
    save_logits(context.sweep(), context.runs())
    assert set(open_store(run_copy.out / STUDENTS_STORE).teachers("test")) == {run.run_id for run in rest}


def test_the_command_keeps_logits_of_what_was_trained_before_and_says_where(run_copy):
    answer = command("distill", *run_words(run_copy.recipe, run_copy.out), "--save-logits")
    assert answer.code == 0, answer.err
    assert "logits of 4 students" in answer.out
    assert "students.zarr: 20 blocks written" in answer.out
    again = run_copy("distill", "sweep.save_logits=true")
    assert "0 blocks written" in again.out


def test_without_the_option_nothing_is_kept(run_copy):
    assert run_copy("distill").code == 0
    assert not (run_copy.out / STUDENTS_STORE).exists()


def test_names_that_are_too_long_keep_what_tells_them_apart():
    long = "g" * 120 + "-s0-12345678"
    assert entry_name(long).endswith("-12345678")
    assert len(entry_name(long)) == 100
    assert entry_name("short-s0-12345678") == "short-s0-12345678"
    assert entry_name("-odd") == "odd"


def test_weights_that_are_gone_are_named(run_copy):
    context = run_copy.context()
    run = context.runs()[0]
    (run_copy.out / "students" / run.run_id / "model.safetensors").unlink()
    with pytest.raises((CheckError, InputError), match=r"model\.safetensors"):
        save_logits(context.sweep(), [run])


def test_students_are_measured_against_their_teacher_as_any_two_teachers(saved):
    students, teachers = open_store(saved.out / STUDENTS_STORE), open_store(saved.out / "store.zarr")
    found = compute(students, ["pair"], taus=(4.0,), against=[Other(teachers, "big")])["pair"].to_dataset()
    assert set(found["split"].values) == {"train", "test"}
    for run in saved.context().runs():
        logits, teacher = clean_logits(students, run.run_id), clean_logits(teachers, "big")
        one = found.sel(teacher=run.run_id, split="test")
        same = 100 * (logits.argmax(1) == teacher.argmax(1)).mean()
        assert float(one["agreement"]) == pytest.approx(same)
        distance = np.linalg.norm(logits - teacher, axis=1).mean()
        assert float(one["distance"]) == pytest.approx(distance, rel=1e-5)
