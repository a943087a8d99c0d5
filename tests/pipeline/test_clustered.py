"""Stage 1 by a cluster, or by parts that know nothing of each other, leaves the very store that one process leaves."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from builders import tree
from tiny import RECIPE, Run, command, write_data, write_recipe

from logitcache.cluster import ClusterOptions, open_client
from logitcache.pipeline import clustered
from logitcache.store import open_store

KILLS = 2
SLOW_RECIPE = RECIPE.replace("count = 2", "count = 5").replace("block = 50", "block = 20")


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """A run that one process cached."""
    folder = tmp_path_factory.mktemp("cached")
    run = Run(write_recipe(write_data(folder), SLOW_RECIPE), folder / "out")
    answer = run("cache")
    assert answer.code == 0, answer.err
    return run


def beside(cached: Run, folder: Path) -> Run:
    """The same teacher, and no store."""
    shutil.copytree(cached.out / "teachers", folder / "teachers")
    return Run(cached.recipe, folder)


def words(run: Run) -> tuple[object, ...]:
    return run.recipe, "--out", run.out, "--device", "cpu"


def test_parts_in_any_order_make_the_whole(cached, tmp_path):
    run = beside(cached, tmp_path)
    for number in (3, 1, 2):
        answer = command("cache", *words(run), "--part", f"{number}/3")
        assert answer.code == 0, answer.err
        blocks = open_store(run.out / "store.zarr").logits("big", "train").commits.pending()
        assert bool(list(blocks)) == (number != 2)
    assert "logitcache verify" in answer.out
    assert tree(run.out / "store.zarr") == tree(cached.out / "store.zarr")


def test_parts_wait_for_a_teacher_that_is_not_taught(cached, tmp_path):
    run = Run(cached.recipe, tmp_path / "new")
    answer = command("cache", *words(run), "--part", "1/2")
    assert answer.code != 0
    assert "run `logitcache teach RECIPE` first" in answer.err
    assert not run.out.exists()
    assert run("teach").code == 0
    assert [path.name for path in (run.out / "teachers").glob("*.safetensors")] == ["big.safetensors"]
    assert not (run.out / "store.zarr").exists()


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_what_is_no_part_is_refused(cached, tmp_path, part):
    answer = command("cache", *words(Run(cached.recipe, tmp_path / "new")), "--part", part)
    assert answer.code != 0
    assert "for example 2/8" in answer.err


def test_workers_of_this_machine_make_the_same_store(cached, tmp_path, quick_workers):
    run = beside(cached, tmp_path)
    answer = command("cache", *words(run), "--workers", 2)
    assert answer.code == 0, answer.err
    assert "blocks written, 0 found" in answer.out
    assert tree(run.out / "store.zarr") == tree(cached.out / "store.zarr")


def test_a_store_comes_out_the_same_though_workers_are_killed(cached, tmp_path, monkeypatch, quick_workers):
    run = beside(cached, tmp_path)
    monkeypatch.setattr(clustered, "_MOST_BLOCKS", 1)
    with open_client(ClusterOptions(workers=2)) as client:
        monkeypatch.setattr(clustered, "_write", _write_slowly)
        killer = _Killer(client, run.out / "store.zarr")
        context = run.context()
        killer.start()
        outcome = clustered.cache_blocks_on_cluster(context, context.recipe.teachers[0], 999, "cpu", client)
        killer.stop()
    assert killer.killed == KILLS
    assert outcome.forward_passes >= 1
    assert tree(run.out / "store.zarr") == tree(cached.out / "store.zarr")


def _write_slowly(task: clustered.BlockTask) -> int:
    """As a large teacher would."""
    time.sleep(0.1)
    return clustered._write(task)  # the worker's own, which nobody has replaced


class _Killer(threading.Thread):
    """Kills a worker whenever some more blocks are committed."""

    def __init__(self, client, store: Path) -> None:
        super().__init__(daemon=True)
        self._client, self._store, self._over, self.killed = client, store, threading.Event(), 0

    def run(self) -> None:
        while self.killed < KILLS and not self._over.wait(0.05):
            if len(list(self._store.glob("train/teachers/big/*/commits/*/*"))) > 8 * (self.killed + 1):
                pids = self._client.run(os.getpid, on_error="ignore").values()
                os.kill(min(pids), signal.SIGKILL)
                self.killed += 1

    def stop(self) -> None:
        self._over.set()
        self.join()
