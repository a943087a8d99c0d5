"""Whatever stops a writer: the store stays readable up to its last commit, and the same command finishes it.

Writers that die between two changes, and two at once, are in ``test_write_read.py``.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from builders import Plan, tree
from forked import forked

from logitcache.errors import InputError
from logitcache.store import open_store
from logitcache.store.verify import verify_url

PLAN = Plan(views=1, samples=7, block_rows=4)
SLOW = Plan(views=2, samples=40, block_rows=8, features=3)
WRITERS = {"write", "link", "fsync", "mkdir", "open", "unlink", "rmdir"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, str]:
    """The files of the store that was never disturbed."""
    path = tmp_path_factory.mktemp("whole")
    PLAN.write(path)
    return tree(path)


@contextmanager
def failing(step: int, code: int) -> Iterator[list[str]]:
    """From a step on, what changes the disk fails; gives the steps that were tried. Full disks still let files go."""
    steps: list[str] = []

    def scripted(name, real):
        def called(*args, **keywords):
            reads = name == "open" and not args[1] & (os.O_WRONLY | os.O_CREAT)
            if not reads and not (code == errno.ENOSPC and name in {"unlink", "rmdir"}):
                steps.append(name)
                if len(steps) > step:
                    raise OSError(code, os.strerror(code))
            return real(*args, **keywords)

        return called

    with pytest.MonkeyPatch.context() as patch:
        for name in WRITERS:
            patch.setattr(os, name, scripted(name, getattr(os, name)))
        yield steps


def readable(path: Path, plan: Plan = PLAN) -> int:
    """How many blocks can be read; all that are committed can, and nothing else is wrong."""
    try:
        store = open_store(path)
    except InputError:  # not even begun
        assert not (path / "zarr.json").exists()
        return 0
    teachers = [(split, name) for split in store.splits for name in store.teachers(split)]
    blocks = 0
    for split, name in teachers:
        reader = store.logits(name, split)
        for view in range(reader.views):
            for block in range(reader.blocks):
                if reader.has(view, block):
                    rows = reader.rows(block)
                    error = reader.read(view, block) - plan.logits[view, rows.start : rows.stop]
                    assert abs(error).max() <= reader.encoding.step / 2 + 1e-6
                    blocks += 1
    if teachers:
        problems = [finding.problem for finding in verify_url(path, decode=True).findings]
        assert all("is not committed" in problem for problem in problems), problems
    return blocks


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO], ids=["full", "no permission", "broken"])
def test_a_disk_may_fail_at_any_step(tmp_path, unsynced, whole, code):
    """Each call that changes the disk, in turn, is the first to fail; all later ones fail too."""
    seen, path = set(), tmp_path / "store"
    for step in count():
        with failing(step, code) as steps:
            try:
                PLAN.write(path)
            except OSError as error:
                assert error.errno == code  # noqa: PT017  # it may also come through
        seen.add(readable(path))
        PLAN.write(path)
        assert tree(path) == whole, (step, steps[-3:])
        if len(steps) <= step:
            break
        shutil.rmtree(path)
    assert step > 60, "every call was scripted"
    assert seen == {0, 1, 2}, "some fail before the first commit and some between two"


SCRIPT = """
import sys, time
sys.path[:0] = {paths}
from pathlib import Path
from builders import Plan, tree
plan = Plan(views=2, samples=40, block_rows=8, features=3)
path = Path(sys.argv[1])
"""
SLOWLY = """
writer = plan.writer(path)
for view, block in writer.pending():
    plan.write_block(writer, view, block)
    print(view, block, flush=True)
    time.sleep(0.01)
writer.finish()
print("finished", flush=True)
time.sleep(60)
"""
ON_SMALL_DISKS = """
import errno, shutil, subprocess
from test_faults import SLOW, readable
plan.write(path.parent / "whole")
whole = tree(path.parent / "whole")
disk = path / "disk"
disk.mkdir(parents=True)
for kilobytes in map(int, sys.argv[2:]):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", disk], check=True)
    try:
        plan.write(disk / "store")
        full = "no"
    except OSError as error:
        full = errno.errorcode[error.errno]
    blocks = readable(disk / "store", SLOW)
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    plan.write(disk / "store")
    print(full, blocks, tree(disk / "store") == whole, flush=True)
    subprocess.run(["umount", disk], check=True)
"""


def script(text: str) -> str:
    """Python text that finds the helpers of the tests."""
    here = Path(__file__).parent
    return SCRIPT.format(paths=[str(here), str(here.parent), str(here.parents[1])]) + text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("lines", [1, 6])
def test_a_signal_loses_at_most_one_block(tmp_path, number, lines):
    with forked(script(SLOWLY), tmp_path / "store") as process:
        for _ in range(lines):
            next(process.lines)
        process.kill(number)
        rest = list(process.lines)
        assert process.wait() != 0
    assert "finished\n" not in rest
    assert readable(tmp_path / "store", SLOW) >= lines
    SLOW.write(tmp_path / "store")
    SLOW.write(tmp_path / "whole")
    assert tree(tmp_path / "store") == tree(tmp_path / "whole")


def test_a_small_disk_runs_full_and_the_store_is_finished_on_a_larger_one(tmp_path):
    """A real one, in memory, in a mount namespace of its own; its sizes end in different places of the writer."""
    apart = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    probe = [*apart, "mount", "-t", "tmpfs", "none", tmp_path]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this system lets no test mount a disk of its own")
    sizes = ["40", "80", "120", "160", "240"]
    command = [*apart, sys.executable, "-c", script(ON_SMALL_DISKS), tmp_path / "disks", *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = [line.split() for line in done.stdout.splitlines()]
    assert [answer[0] for answer in answers[:4]] == ["ENOSPC"] * 4, answers
    assert all(answer[2] == "True" for answer in answers), answers
    assert len({answer[1] for answer in answers}) > 2, "the disks ran full at different blocks"


@pytest.mark.parametrize("now", [0.0, 4e9, -1.0])
def test_the_clock_has_no_part_in_the_bytes(tmp_path, unsynced, monkeypatch, whole, now):
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "time_ns", lambda: int(now * 1e9))
    PLAN.write(tmp_path)
    assert tree(tmp_path) == whole
