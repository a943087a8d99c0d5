"""``distill --stage`` trains what training from the store itself does, and asks the store for each shard once."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from object_server import BUCKET
from sweeps import left, table, untrained
from tiny import Run, command, run_words

PREFIX, URL = "runs/store.zarr", f"s3://{BUCKET}/runs/store.zarr"
THERE = f"share.store={URL}"
ONE_SEED = "students.seeds=[0]"


@pytest.fixture
def there(run_copy, s3) -> Run:
    """A run whose store is in a bucket, put without a request, and whose students are not trained yet."""
    s3.take(run_copy.out / "store.zarr", PREFIX)
    return untrained(run_copy)


def distill(run: Run, *words: object, changes=(THERE,)):
    return command("distill", *run_words(run.recipe, run.out, *changes), *words)


def asked(s3) -> Counter[str]:
    """How often each shard was asked for."""
    return Counter(seen.key for seen in s3.seen if seen.method == "GET" and "/big/logits/c/" in seen.key)


def said(answer) -> str:
    """The line about the stage."""
    assert answer.code == 0, answer.err
    [line] = [line for line in answer.out.splitlines() if " stage " in line]
    return line


def test_staged_students_are_those_of_the_store_and_the_next_ones_ask_for_no_shard(there, finished_run, s3, tmp_path):
    stage = tmp_path / "stage"
    first = distill(there, "--stage", stage, "--stage-size", "5MB")
    assert left(there.out) == left(finished_run.out)
    assert table(there.out) == table(finished_run.out)
    shards = set(asked(s3))
    assert asked(s3) == dict.fromkeys(shards, 1)
    assert {key.split("/")[-3] for key in shards} == {"1", "2"}, "the views of two epochs, and no clean one"
    assert said(first).startswith(f"  stage {stage}: ")
    assert ", 0 misses" not in said(first)
    s3.seen.clear()
    again = said(distill(untrained(there), "--stage", stage))
    assert asked(s3) == Counter()
    assert left(there.out) == left(finished_run.out)
    assert ", 0 misses, 0 shards fetched ahead, 0 bytes fetched" in again
    assert f"{len(shards)} hits" in again


def test_processes_share_a_stage_and_their_counts_add_up(run_copy, finished_run, tmp_path):
    run, changes = untrained(run_copy), ('students.objectives=[{loss = "kl", tau = 4}]',)
    answer = distill(run, "--stage", tmp_path / "stage", "--processes", 2, changes=changes)
    words = said(answer).split(": ")[1].replace(",", "").split()
    found, expected = left(run.out), left(finished_run.out)
    assert found == {name: expected[name] for name in found}
    assert len(table(run.out)) == 2
    counts = {name: int(count) for count, name in pairwise(words) if count.isdecimal()}
    kept = len(list((tmp_path / "stage").glob("??/*")))
    assert counts["misses"] + counts["shards"] == kept, "whoever comes first fetches it for both"
    assert counts["hits"] + counts["misses"] >= 2 * kept, "each of the two has read all of them"


def test_a_store_on_a_slow_disk_is_staged_by_the_recipe(run_copy, finished_run, tmp_path):
    run = untrained(run_copy)
    changes = (f"sweep.stage={tmp_path / 'stage'}", "sweep.stage_size=1MB")
    assert "hits" in said(distill(run, changes=changes))
    for shard in (run.out / "store.zarr").rglob("logits/c/*/*/0"):
        shard.unlink()
    assert distill(untrained(run), changes=changes).code == 0
    assert left(run.out) == left(finished_run.out)


def test_a_full_disk_is_said_once_and_students_are_trained(there, finished_run, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("logitcache.store.stage_folder._write", full)
        answer = distill(there, "--stage", tmp_path / "stage", "--set", ONE_SEED)
    assert answer.out.count("takes no more shards (No space left on device)") == 1
    assert not list((tmp_path / "stage").glob("??/*"))
    ids = {row["run_id"] for row in table(there.out)}
    assert {name: data for name, data in left(finished_run.out).items() if name.split("/")[0] in ids} == left(there.out)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--stage-size", "5GB"), "stage_size is the size of a stage; say by stage which folder it is"),
        (
            ("--stage", "{}/stage", "--stage-size", "big"),
            'sweep.stage_size = "big": must be a size of at least one byte',
        ),
        (("--stage", "{}/file"), "file cannot be a stage: "),
        (("--stage", "s3://bucket/stage"), "must be the name of a folder on this machine"),
    ],
)
def test_a_stage_that_cannot_be_is_refused_before_anything_is_trained(run_copy, tmp_path, words, match):
    run = untrained(run_copy)
    (tmp_path / "file").write_text("")
    answer = distill(run, *(word.format(tmp_path) for word in words), changes=())
    assert answer.code == 2
    assert match in answer.err
    assert not (run.out / "students").exists()


def test_a_name_of_a_folder_that_looks_like_a_number_is_one(run_copy, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run = untrained(run_copy)
    assert "stage 7: " in said(distill(run, "--stage", "7", "--set", ONE_SEED, changes=()))
    assert Path("7/total").is_file()
