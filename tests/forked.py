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
from pathlib import Path
from typing import Any

__all__ = ["Forked", "forked", "preload", "run_forked"]

MODULES = ["logitcache.cli", "logitcache.soft_targets", "logitcache.sweep", "logitcache.pipeline.stage_two"]


def preload() -> None:
    """Have the server of this test process load the package once, and not each of its processes."""
    multiprocessing.set_forkserver_preload(MODULES)


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
