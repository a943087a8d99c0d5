"""Killed commands and full disks: what counts as lost is found, and a small run loses nothing."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace

import kill_store
import pytest
from builders import Plan
from forked import run_script
from forks import Ended
from kill_jobs import Job, store_of
from kill_store import Counts

from logitcache.records import BlockId
from logitcache.store import EncodingOptions

PLAN = Plan(samples=40, encoding=EncodingOptions(kind="spectral", max_kl=0.01))
HERE = "train/teachers/big/coefficients"


@pytest.fixture
def store(tmp_path, unsynced):
    PLAN.write(tmp_path / "store", leave_out={(1, 2)})
    return tmp_path / "store"


def test_each_command_gets_its_part():
    for total in (0, 1, 2, 3, 100):
        parts = [kill_store.share(total, number) for number in range(3)]
        assert sum(parts) == total
        assert max(parts) - min(parts) <= 1


def test_committed_blocks_are_known_and_an_unfinished_store_is_told_from_a_finished_one(store, tmp_path):
    assert kill_store.committed(tmp_path / "none") == set()
    known = kill_store.committed(store)
    assert len(known) == 9
    assert BlockId("big", "train", 1, 2) not in known
    assert not kill_store.is_finished(store)
    PLAN.write(store)
    assert kill_store.is_finished(store)
    assert len(kill_store.committed(store)) == 10
    assert not kill_store.is_finished(tmp_path / "none")


def test_what_was_committed_and_is_gone_is_lost(store):
    known = kill_store.committed(store)
    assert kill_store.lost_blocks(store, known) == 0
    (store / HERE / "c/1/0/3").unlink()
    assert kill_store.lost_blocks(store, known) == kill_store.lost_blocks(store, set()) == 1
    (store / HERE / "commits/1/0.json").unlink()
    assert kill_store.lost_blocks(store, known) == 2
    (store / "train/index/c/0").write_bytes(b"")
    assert kill_store.lost_blocks(store, known) == 9


def test_a_shard_without_its_commit_is_seen(store):
    assert kill_store.loose_shards(store) == 0
    (store / HERE / "commits/1/0.json").unlink()
    assert kill_store.loose_shards(store) == 1


@pytest.mark.parametrize("field", ["lost", "differing", "unclear", "failed"])
def test_any_loss_makes_the_whole_unsound(field):
    counts = Counts(kills=3, hits=3, torn=1, disks=1, full=1, finished=2)
    assert counts.sound
    assert not (counts + Counts(**{field: 1})).sound
    assert counts + counts == Counts(kills=6, hits=6, torn=2, disks=2, full=2, finished=4)


@pytest.mark.parametrize(
    ("code", "text", "clear"),
    [
        (1, "error: x/store: No space left on device\n", True),
        (1, "cache big ...\nerror: file system: No space left on device\n", True),
        (2, "error: x/store: No space left on device\n", False),
        (1, "Traceback\nerror: x: No space left on device\n", False),
        (1, "error: x: No space left on device\nerror: y: No space left on device\n", False),
        (1, "", False),
    ],
)
def test_a_full_disk_must_be_said_in_one_line(code, text, clear):
    assert Ended(code, text).is_clear_about_space is clear


class Tool:
    """A fork that does one thing and then is as dead as it is said to be."""

    def __init__(self, act, code):
        act()
        self._code = code

    def is_running(self):
        return False

    def kill(self, number):
        assert number == signal.SIGKILL

    def wait(self):
        return Ended(self._code, "")


def test_a_command_that_loses_a_block_or_changes_a_byte_is_found(store, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(store, store_of(folder))

    def lose():
        (store_of(folder) / HERE / "c/0/0/1").unlink(missing_ok=True)

    job = Job("bad", lambda out: [], {"zarr.json": "0"}, 1, 0.1)
    monkeypatch.setattr(Job, "start", lambda self, out: Tool(lose, -signal.SIGKILL))
    chance = type("Chance", (), {"random": lambda self: 0.5})()
    counts = kill_store.kill_all(job, folder, 1, chance)
    assert counts == replace(
        Counts(kills=1, hits=1, torn=0, lost=2, finished=1, differing=1, failed=1), torn=counts.torn
    )


APART = """
import ctypes, os, subprocess
if ctypes.CDLL(None).unshare(0x00020000) == 0:  # CLONE_NEWNS: disks that nobody else sees, without a new interpreter
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    os.environ["KILL_STORE_APART"] = "yes"
"""


def test_a_small_one_loses_nothing(repository, tmp_path):
    script, words = repository / "benchmarks/kill_store.py", ["--kills", "3", "--disks", "1"]
    code = run_script(script, *words, log=tmp_path / "log", first=APART)
    text = (tmp_path / "log").read_text()
    lines = text.splitlines()
    counts = Counts(**json.loads(lines[-1]))
    assert counts.sound, text
    assert counts.kills == 3
    assert counts.finished == 3 + counts.disks
    assert lines[3].startswith(f"{counts.hits} of 3 kills hit a running writer")
    assert lines[5].startswith(f"0 committed blocks lost; 0 of {counts.finished} finished stores differ")
    assert code == (0 if 2 * counts.hits >= 3 else 1)
