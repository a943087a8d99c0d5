"""What is done with a store's blocks, each stage timed in a fork of its own, so that its peak memory is its own too."""

from __future__ import annotations

import os
import pickle
import resource
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from blocks_made import TEACHER, Made, commit_of

from logitcache.cache_job import cached_blocks
from logitcache.cluster import run_tasks
from logitcache.keyed import shuffled
from logitcache.soft_targets.order import windowed_rows
from logitcache.store import store_info, verify

__all__ = ["STAGES", "TASKS", "Measured", "Stage", "apart", "send_tasks"]

WINDOW, ROWS = 64, 8
"""Blocks of a window, and rows of a block, where windows are ordered."""

_PIECE = 1024
_WARM = 100

Act = Callable[[], int]
"""What is measured; returns how many blocks it was done with."""


@dataclass(frozen=True)
class Measured:
    """Seconds of a stage and of its processor, the blocks it dealt with, and the memory it took beyond what it had."""

    seconds: float
    cpu_seconds: float
    blocks: int
    peak_bytes: int


@dataclass(frozen=True)
class Stage:
    """A stage: its name, what it does, and what is done before and is not timed. Both leave the store changed."""

    name: str
    act: Callable[[Made], int]
    before: Callable[[Made], None] | None = None


def commit(made: Made) -> int:
    """Commit 99 % of the blocks."""
    commits, last = made.commits(), made.shape.total - made.uncommitted
    for place in made.places(0, last):
        commits.add(commit_of(*place))
    return last


def resume(made: Made) -> int:
    """Look for the blocks that are not committed."""
    _expect(sum(1 for _ in made.commits().pending()), made.uncommitted)
    return made.shape.total


def plan(made: Made) -> int:
    """What ``plan`` and the cache step ask of a store before a teacher is loaded."""
    total = made.shape.total
    _expect(cached_blocks(made.job, TEACHER), (total - made.uncommitted, total))
    return total


def fold(made: Made) -> int:
    """Fold all commits."""
    made.commits().fold()
    return made.shape.total


def read(made: Made) -> int:
    """Find the digest of every block's shard, one view after another, each in random order."""
    reader = made.reader()
    for view in shuffled(made.shape.views, 0).tolist():
        for piece in shuffled(made.shape.blocks, 0, view).split(_PIECE):
            for block in piece.tolist():
                reader.digest("logits", view, block)
    return made.shape.total


def check(made: Made) -> int:
    """Verify all blocks; of their shards there is one, in memory."""
    found = verify(made.store())
    _expect((found.blocks, found.findings), (made.shape.total, ()))
    return found.blocks


def tell(made: Made) -> int:
    """What ``info`` says of the store."""
    [split] = store_info(made.store())["splits"]
    _expect(split["teachers"][0]["committed"], made.shape.total)
    return made.shape.total


def order(made: Made) -> int:
    """The order of an epoch over as many blocks, by windows that fit in memory."""
    rows = windowed_rows(ROWS * made.shape.total, ROWS, WINDOW, 0, 0)
    _expect(len(rows), ROWS * made.shape.total)
    return made.shape.total


def _commit_rest(made: Made) -> None:
    """Commit what is left."""
    commits = made.commits()
    for place in list(commits.pending()):
        commits.add(commit_of(*place))


def _take_back(made: Made) -> None:
    """Have the last 1 % uncommitted again, in a store whose other commits are folded as far as they can be."""
    commits, total = made.commits(), made.shape.total
    again = {commits.groups.of(*place) for place in made.places(total - made.uncommitted, total)}
    for group in again:
        commits.forget(group.view, group.blocks[0])
        for block in group.blocks:
            if group.view * made.shape.blocks + block < total - made.uncommitted:
                commits.add(commit_of(group.view, block))


def _finish(made: Made) -> None:
    """Commit and fold all that is not."""
    _commit_rest(made)
    made.commits().fold()


STAGES = (
    Stage("commit", commit),
    Stage("resume, single commits", resume),
    Stage("plan, single commits", plan),
    Stage("fold", fold, _commit_rest),
    Stage("resume, folded", resume, _take_back),
    Stage("plan, folded", plan),
    Stage("read in random order", read, _finish),
    Stage("verify", check),
    Stage("info", tell),
    Stage("order of windows", order),
)
TASKS = "send tasks"


def send_tasks(count: int, stack: ExitStack) -> Act:
    """Send so many tasks, as those of a cache step are sent, to a cluster of one worker in this process."""
    distributed: Any = import_module("distributed")  # its classes have no types
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None)
    client = stack.enter_context(distributed.Client(stack.enter_context(cluster)))
    list(run_tasks(client, _same, range(_WARM)))

    def send() -> int:
        _expect(sum(1 for _ in run_tasks(client, _same, range(count))), count)
        return count

    return send


def _same(number: int) -> int:
    """A task that does nothing."""
    return number


def apart(prepare: Callable[[ExitStack], Act], log: Path) -> Measured:
    """Do what ``prepare`` gives in a fork of this process; what goes wrong there goes to ``log``, and is an error here.

    Only what it gives is measured, and not what is done before, or when the stack is closed.
    """
    ours, theirs = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        os.close(ours)
        _be(prepare, theirs, log)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not data:
        raise RuntimeError(f"a stage ended with status {status}: {log.read_text() if log.exists() else 'killed'}")
    measured: Measured = pickle.loads(data)  # noqa: S301  # our own fork wrote it
    return measured


def _be(prepare: Callable[[ExitStack], Act], out: int, log: Path) -> None:
    """Do it, and say what it took; does not return."""
    code = 1
    try:
        with ExitStack() as stack, os.fdopen(out, "wb") as pipe:
            pipe.write(pickle.dumps(_measure(prepare(stack))))
        code = 0
    except BaseException:  # noqa: BLE001  # whatever it is, the parent says it
        log.write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        os._exit(code)


def _measure(act: Act) -> Measured:
    """Do it once."""
    before, cpu, started = _resident(), time.process_time(), time.perf_counter()
    blocks = act()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Measured(seconds, cpu_seconds, blocks, max(0, peak - before))


def _resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def _expect(found: object, wanted: object) -> None:
    """Refuse a figure of something that was not done."""
    if found != wanted:
        raise RuntimeError(f"found {found}, expected {wanted}")
