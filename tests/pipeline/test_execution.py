"""A whole run on tiny data: what it leaves behind, what it does when repeated, interrupted, or met by damage."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys

import pytest
from builders import tree
from tiny import Run, command, run_words

from logitcache.models.weights import read_checkpoint_metadata
from logitcache.pipeline import stage_one, teaching
from logitcache.sweep import write_results

SHARD = "store.zarr/train/teachers/big/logits/c/1/2/0"

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def fresh(finished_run, tmp_path) -> Run:
    """The same recipe with nothing done."""
    return Run(finished_run.recipe, tmp_path / "out")


def without_teachers(run: Run) -> Run:
    """Delete every teacher checkpoint."""
    shutil.rmtree(run.out / "teachers")
    return run


def without_students(run: Run) -> Run:
    """Forget all that came after the store."""
    for name in ("students", "statistics"):
        shutil.rmtree(run.out / name, ignore_errors=True)
    for name in ("results.csv", "report.html", "timing.json", "steps.json"):
        (run.out / name).unlink()
    return run


def truncate(path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def test_a_run_leaves_store_results_statistics_timing_and_report(finished_run):
    out = finished_run.out
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["CE", "CE", "KL τ=4", "KL τ=4"]
    timing = json.loads((out / "timing.json").read_text())
    assert set(timing["seconds_per_epoch"]) == {"hard labels", "cached soft targets", "online teacher"}
    assert min(timing["seconds_per_epoch"].values()) > 0
    with (out / "statistics/students.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    assert "</html>" in (out / "report.html").read_text(encoding="utf-8")
    assert "test_accuracy" in read_checkpoint_metadata(out / "teachers/big.safetensors")


def test_a_second_run_does_nothing(run_copy):
    before = tree(run_copy.out)
    times = {path: path.stat().st_mtime_ns for path in (run_copy.out / "store.zarr").rglob("*")}
    answer = run_copy("run")
    assert answer.code == 0
    # results.csv is written from the records each time; its bytes are the same
    assert tree(run_copy.out) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert "..." not in answer.out, "no step was begun"


def test_stage_two_and_all_that_follows_need_no_teacher(run_copy):
    run = without_students(without_teachers(run_copy))
    assert run("cache").code == 0
    assert run("distill").code == 0
    assert len(list((run.out / "students").glob("*/run.json"))) == 4
    answer = run("run")
    assert answer.code == 0
    assert "timing: skipped" in answer.out
    assert (run.out / "report.html").exists()
    assert not (run.out / "teachers").exists(), "no teacher was trained again"


def test_students_of_the_same_store_come_out_the_same_without_the_teacher(run_copy, finished_run):
    run = without_students(without_teachers(run_copy))
    run("distill")
    for path in sorted((finished_run.out / "students").glob("*/test_logits.npy")):
        assert (run.out / path.relative_to(finished_run.out)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("override", ["teachers.teach.learning_rate=0.01", "teachers.teach.views.kind=crop_flip"])
def test_other_settings_of_the_teacher_are_refused(run_copy, override):
    before = tree(run_copy.out)
    answer = run_copy("run", override)
    assert answer.code == 2
    assert "big.safetensors was trained by other settings (fingerprint" in answer.err
    assert tree(run_copy.out) == before


def test_a_teacher_of_other_weights_is_refused_by_the_store(run_copy):
    run = without_teachers(run_copy)
    (run.out / "store.zarr/train/teachers/big/logits/commits/1.json").unlink()  # something is missing, so it is taught
    before = tree(run.out / "store.zarr")
    answer = run("cache", "teachers.teach.seed=1")
    assert answer.code == 2
    assert "weight fingerprint" in answer.err
    assert tree(run.out / "store.zarr") == before


def test_deleted_weights_are_trained_again_to_the_same_ones(run_copy, finished_run):
    run = without_teachers(run_copy)
    (run.out / "store.zarr/train/teachers/big/logits/commits/1.json").unlink()
    assert run("cache").code == 0
    assert tree(run.out / "store.zarr") == tree(finished_run.out / "store.zarr")


def test_an_interrupted_training_of_other_settings_is_not_gone_on_with(fresh, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(teaching, "save_checkpoint", _die)
        with pytest.raises(KeyboardInterrupt):
            stage_one.run_stage_one(fresh.context("teachers.teach.label_smoothing=0.5"))
    assert fresh("cache").code == 0
    metrics = [path.read_text() for path in (fresh.out / "teachers").rglob("metrics.jsonl")]
    losses = [[json.loads(line)["loss"] for line in text.splitlines()] for text in metrics]
    assert len(losses) == 2
    assert losses[0] != losses[1]


def _die(*_):
    raise KeyboardInterrupt


def test_a_teacher_that_diverges_is_said_and_leaves_no_checkpoint(fresh):
    answer = fresh("cache", "teachers.teach.learning_rate=1e9", "teachers.teach.epochs=4")
    assert answer.code == 1
    assert "teacher 'big' diverged" in answer.err
    assert not list(fresh.out.rglob("big.safetensors"))


def test_an_interrupted_cache_goes_on_and_ends_in_the_same_store(fresh, finished_run, monkeypatch):
    written = 0

    def dies_in_the_seventh_block(writer, output, encode=stage_one.run_cache.__globals__["_encode"]):
        nonlocal written
        written += 1
        if written == 7:
            raise KeyboardInterrupt
        encode(writer, output)

    with monkeypatch.context() as patch:
        patch.setattr("logitcache.caching._encode", dies_in_the_seventh_block)
        with pytest.raises(KeyboardInterrupt):
            stage_one.run_stage_one(fresh.context())
    answer = fresh("cache")
    assert answer.code == 0
    assert "teach big: done before" in answer.out
    assert "11 blocks missing" not in answer.out
    assert tree(fresh.out / "store.zarr") == tree(finished_run.out / "store.zarr")


def test_distill_before_cache_says_what_to_do(fresh):
    answer = fresh("distill")
    assert answer.code == 2
    assert "0 of 11 blocks" in answer.err
    assert "run the cache step first" in answer.err
    assert not fresh.out.exists()


def test_a_truncated_shard_stops_distill_and_names_the_block(run_copy):
    run = without_students(run_copy)
    truncate(run.out / SHARD)
    answer = run("distill", 'students.objectives=["mse"]')
    assert answer.code == 1
    assert "block 2 of view 1 of teacher 'big' in split 'train' (rows 80..119) is damaged" in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_a_truncated_shard_stops_verification_and_what_comes_after(run_copy):
    truncate(run_copy.out / SHARD)
    assert run_copy("cache").code == 0, "what was verified before is not read again"
    (run_copy.out / "steps.json").unlink()
    for name in ("cache", "run"):
        answer = run_copy(name)
        assert answer.code == 1
        assert "block 2 of view 1 of teacher 'big' in split 'train'" in answer.err
        assert "statistics" not in answer.out


def test_a_recipe_without_students_is_cached_measured_and_reported(finished_run, tmp_path):
    recipe = tmp_path / "alone.toml"
    recipe.write_text(finished_run.recipe.read_text().split("[[students]]")[0])
    run = Run(recipe, tmp_path / "out")
    answer = run("run")
    assert (answer.code, answer.err) == (0, "")
    assert tree(run.out / "store.zarr") == tree(finished_run.out / "store.zarr")
    assert (run.out / "statistics/teachers.csv").exists()
    assert (run.out / "report.html").exists()


def test_a_recipe_without_teachers_trains_on_hard_labels(finished_run, tmp_path):
    text = finished_run.recipe.read_text()
    head, students = text.split("[[teachers]]")[0], text[text.index("[[students]]") : text.index("[timing]")]
    recipe = tmp_path / "hard.toml"
    recipe.write_text(head + students.replace(', { loss = "kl", tau = 4 }', ""))
    run = Run(recipe, tmp_path / "out")
    answer = run("run")
    assert (answer.code, answer.err) == (0, "")
    hard = list((run.out / "results.csv").read_text().splitlines()[1:])
    ids = [row.split(",")[0] for row in (finished_run.out / "results.csv").read_text().splitlines()[1:3]]
    assert [row.split(",")[0] for row in hard] == ids, "the same runs as beside a teacher"
    assert not (run.out / "store.zarr").exists()


def test_a_new_student_brings_new_statistics_and_report(run_copy):
    before = tree(run_copy.out)
    assert run_copy("run", 'students.objectives=["ce", {loss = "kl", tau = 4}, "mse"]').code == 0
    after = tree(run_copy.out)
    assert {name for name in before if before[name] != after[name]} >= {
        "results.csv",
        "report.html",
        "statistics/students.csv",
    }
    same = [name for name in before if name.startswith(("store.zarr", "students", "teachers", "timing"))]
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


def test_stage_two_in_a_process_of_its_own_imports_no_teacher(run_copy):
    run = without_students(without_teachers(run_copy))
    commands = [
        ["distill", *run_words(run.recipe, run.out), "--processes", "1"],
        ["stats", run.out / "store.zarr"],
        ["report", run.out],
    ]
    code = f"""
import sys
from logitcache.cli import main
for words in {[[str(word) for word in words] for words in commands]}:
    sys.argv = ["logitcache", *words]
    try:
        main()
    except SystemExit as ended:
        assert ended.code == 0, (words, ended.code)
assert {{"logitcache.sweep", "logitcache.statistics", "torch"}} <= set(sys.modules)
loaded = {{"logitcache.teacher", "logitcache.caching"}} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("results.csv", "statistics/students.csv", "report.html"):
        assert (run.out / name).exists()


def test_a_student_that_failed_stands_in_statistics_and_report_with_its_status(run_copy):
    folder = next(path.parent for path in sorted(run_copy.out.glob("students/*-s1-*/run.json")))
    record = json.loads((folder / "run.json").read_text())
    shutil.rmtree(folder)
    folder.mkdir()
    lost = ("epochs", "test_accuracy", "best_test_accuracy", "train_seconds", "seconds_per_epoch", "parameters")
    record |= dict.fromkeys(lost) | {"status": "failed", "error": "its process died"}
    (folder / "run.json").write_text(json.dumps(record))
    write_results(run_copy.out, run_copy.context().runs())
    assert command("stats", run_copy.out / "store.zarr").code == 0
    with (run_copy.out / "statistics/students.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["run_id"]: row for row in csv.DictReader(file)}
    assert "status is failed" in rows[folder.name].values()
    assert command("report", run_copy.out).code == 0
    assert "(1 failed)" in (run_copy.out / "report.html").read_text(encoding="utf-8")
    plan = run_copy("plan")
    assert "3 of 4 students trained" in plan.out
    assert run_copy("run").code == 0
    assert "(1 failed)" not in (run_copy.out / "report.html").read_text(encoding="utf-8")


def test_the_options_of_a_sweep_are_those_of_the_command_line(run_copy):
    run = without_students(run_copy)
    answer = command("distill", *run_words(run.recipe, run.out, "sweep.stack=never"), "--stack", "always")
    assert answer.code == 0, answer.err
    with (run.out / "results.csv").open(encoding="utf-8", newline="") as file:
        assert {row["mode"] for row in csv.DictReader(file)} == {"stacked 4"}
    refused = command("distill", *run_words(run.recipe, run.out), "--stack", "sometimes")
    assert refused.code == 2
