"""Programs in processes of their own that begin in a moment: forked from a server that has loaded the package already.

A new interpreter takes seconds to load torch; such a process none. It has its own memory and dies of any signal.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["Forked", "forked", "preload", "quick_workers", "run_forked", "run_script"]

MODULES = [
    "distributed",
    "logitcache.cli",
    "logitcache.pipeline.clustered",
    "logitcache.pipeline.stage_two",
    "logitcache.soft_targets",
    "logitcache.sweep",
]


def preload() -> None:
    """Have the server of this test process load the package once, and not each of its processes."""
    multiprocessing.set_forkserver_preload(MODULES)


@contextmanager
def quick_workers() -> Iterator[None]:
    """Workers of Dask clusters that are opened inside begin in a moment too, as forks of that server."""
    config, utils = import_module("dask.config"), import_module("distributed.utils")
    with config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        utils.get_mp_context()  # the first time it names other modules to load
        preload()
        yield


class Forked:
    """A running program; what it prints comes as lines."""

    def __init__(self, process: Any, lines: Iterator[str]) -> None:
        self._process, self.lines = process, lines

    def kill(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self._process.pid, number)

    def wait(self) -> int:
        """Its exit code, or minus the signal that it died of."""
        self._process.join(120)
        code = self._process.exitcode
        if code is None:
            raise TimeoutError("the program is still running after two minutes")
        return int(code)


@contextmanager
def forked(
    program: str, *words: object, folder: Path | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[Forked]:
    """Run Python text with these words as ``sys.argv[1:]``; it is killed where the block is left."""
    preload()
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    said = {**os.environ, **(environ or {})}
    process = context.Process(target=_be, args=(program, [*map(str, words)], theirs, said, str(folder or Path.cwd())))
    process.start()
    theirs.close()
    try:
        with open(ours.fileno(), encoding="utf-8", errors="replace", closefd=False) as lines:
            yield Forked(process, lines)
    finally:
        process.kill()
        process.join()
        ours.close()


def run_forked(program: str, *words: object, log: Path, **options: Any) -> int:
    """Run it to its end; returns its exit code. All it says goes to a file, which outlives its own processes."""
    with forked(_INTO_FILE + program, log, *words, **options) as running:
        return running.wait()


def run_script(script: Path, *words: object, log: Path, first: str = "") -> int:
    """Run a script with one thread, after some Python text, as :func:`run_forked` does."""
    program = f"""
import runpy, sys, torch
torch.set_num_threads(1)
{first}
sys.path.insert(0, {str(script.parent)!r})
sys.argv[0] = {str(script)!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    return run_forked(program, *words, log=log)


_INTO_FILE = """
import os, sys
os.dup2(os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), 1)
os.dup2(1, 2)
"""


def _be(program: str, words: list[str], out: Any, environ: dict[str, str], folder: str) -> None:
    """Become the program."""
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(out.fileno(), stream)
    out.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests begun in the background pass on that it is ignored
    sys.argv = ["-c", *words]
    exec(compile(program, "<forked>", "exec"), {"__name__": "__main__"})  # noqa: S102  # tests' own text
