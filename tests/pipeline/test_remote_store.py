"""A run's store may be in an object store: every command takes its address.

That a run ends as on disk whatever fails is shown with ``benchmarks/faulty_storage.py``, and tested with it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from builders import tree
from impatient import PATIENT
from object_server import BUCKET, SECRETS
from tiny import RECIPE, Run, command, run_words, write_data, write_recipe

from logitcache.pipeline.context import open_context
from logitcache.pipeline.viewing import prepare
from logitcache.store.objects import Patience
from logitcache.store_note import read_note

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = RECIPE.split("[timing]", maxsplit=1)[0].replace("[0, 1]", "[0]").replace("epochs = 2", "epochs = 1")
SMALL = SMALL.replace("count = 2", "count = 1").replace('["ce", ', "[").replace("samples = 60", "samples = 30")
URL = f"s3://{BUCKET}/runs/store.zarr"
PREFIX = "runs/store.zarr"
THERE = f"share.store={URL}"
STATS = ("--measure", "moments", "--tau", "1")


@pytest.fixture(scope="module")
def local(tmp_path_factory, undrawn) -> Run:
    """The same on disk; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("local")
    run = Run(write_recipe(write_data(folder), SMALL), folder / "out")
    for words in (("run", *run_words(run.recipe, run.out)), ("stats", run.out / "store.zarr", *STATS)):
        answer = command(*words)
        assert answer.code == 0, answer.err
    return run


@pytest.fixture
def run(local, tmp_path, s3, unsynced, monkeypatch) -> Run:
    """A run with the taught teacher alone, of which nobody waits for minutes."""
    monkeypatch.setattr("logitcache.store.objects.PATIENCE", PATIENT)
    shutil.copytree(local.out / "teachers", tmp_path / "out/teachers")
    return Run(local.recipe, tmp_path / "out")


@pytest.fixture
def stored(run, local, s3) -> Run:
    """One whose store is there, put without a request."""
    root = local.out / "store.zarr"
    for file in (each for each in root.rglob("*") if each.is_file()):
        s3.change(f"{PREFIX}/{file.relative_to(root)}", file.read_bytes())
    return run


def done(answer) -> str:
    """What a command said that came to its end."""
    assert answer.code == 0, answer.err
    assert not any(secret in answer.out + answer.err for secret in SECRETS.values())
    return answer.out


def test_a_run_whose_store_moved_to_a_bucket_is_done_and_its_page_needs_nobody_there(
    stored, local, s3, monkeypatch, tmp_path
):
    run = Run(local.recipe, tmp_path / "moved")
    shutil.copytree(local.out, run.out, ignore=shutil.ignore_patterns("store.zarr"))
    said = done(run("run", THERE))
    assert "statistics: done before" in said
    assert read_note(run.out).store == URL
    assert read_note(run.out).teachers == ("big",)
    assert not (run.out / "store.zarr").exists()
    done(command("report", run.out))
    assert "bytes per row" in (run.out / "report.html").read_text()
    monkeypatch.setattr("logitcache.store.objects.PATIENCE", Patience(tries=1))
    s3.answer = ("403 Forbidden", "AccessDenied")
    done(command("report", run.out))
    assert "bytes per row" not in (run.out / "report.html").read_text()


def test_info_verify_and_plan_say_the_same_as_on_disk(stored, local):
    here, there = (json.loads(done(command("info", place, "--json"))) for place in (local.out / "store.zarr", URL))
    assert there == {**here, "path": URL}
    assert "all there, by length; --decode reads them" in done(command("verify", URL))
    assert "all intact" in done(command("verify", f"{URL}/", "--decode"))
    assert f"store: {URL}, shared" in done(stored("plan", THERE))


def test_copies_imports_and_exports(stored, local, tmp_path):
    done(command("copy", URL, tmp_path / "back"))
    assert tree(tmp_path / "back") == tree(local.out / "store.zarr")
    done(command("copy", tmp_path / "back", f"s3://{BUCKET}/copy", "--views", "0:1"))
    done(command("export", f"s3://{BUCKET}/copy", tmp_path / "logits.npy", "--teacher", "big"))
    logits = np.load(tmp_path / "logits.npy")
    assert logits.shape[-2:] == (120, 3)
    done(command("import", tmp_path / "logits.npy", f"s3://{BUCKET}/imported", "--teacher", "big"))
    assert "was there already" in done(
        command("import", tmp_path / "logits.npy", f"s3://{BUCKET}/imported", "--teacher", "big")
    )
    answer = command("copy", URL, f"{URL}/")
    assert (answer.code, "is the source itself" in answer.err) == (2, True)


def test_what_is_damaged_is_repaired_to_the_last_bit(stored, local, s3):
    here = "train/teachers/big/logits/c/1/0/0"
    s3.change(f"{PREFIX}/{here}", s3.objects(PREFIX)[here][:-1] + b"x")
    s3.change(f"{PREFIX}/train/labels/digests.json", None)
    answer = command("verify", URL, "--decode")
    assert answer.code == 1
    words = run_words(stored.recipe, stored.out, THERE)
    done(command("repair", URL, *words))
    assert s3.tree(PREFIX) == tree(local.out / "store.zarr")
    done(command("verify", URL, "--recompute", "5", *words))


def test_the_explorer_opens_it(stored):
    assert prepare(URL).store.url == URL


def test_results_need_a_folder(stored):
    answer = command("stats", URL)
    assert answer.code == 2
    assert "say into which folder results go: --out DIR" in answer.err


@pytest.mark.parametrize(
    "store", ["s3://key:sEcReT@bucket/x", "s3://key:sEcReT/bucket", "ftp://x/y", "s3://bucket/../x"]
)
def test_a_recipe_with_a_bad_address_is_refused_without_repeating_secrets(local, tmp_path, store):
    answer = command("plan", *run_words(local.recipe, tmp_path / "out", f"share.store={store}"))
    assert answer.code == 2
    assert "share.store = " in answer.err
    assert "sEcReT" not in answer.err + answer.out
    answer = command("info", store)
    assert (answer.code, "sEcReT" in answer.err) == (2, False)


def test_variants_share_a_store_in_a_bucket(local, tmp_path):
    contexts = [open_context(local.recipe, [THERE], Path(tmp_path / name), "cpu") for name in "ab"]
    assert {context.store_path for context in contexts} == {URL}


def test_a_bucket_that_is_missing_is_one_line(run):
    answer = run("cache", "share.store=s3://nobody-has-it/x")
    assert answer.code == 2
    assert "error: s3://nobody-has-it/x: there is no bucket 'nobody-has-it'" in answer.err
