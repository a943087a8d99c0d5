"""Commands in forks of a process that has loaded everything, and small disks in memory, for benchmarks that do harm.

Loading torch takes seconds, a fork none. Threads do not come along into a fork: whoever uses this has started none,
which is why it sets the number of OpenMP threads before torch is loaded. Import it first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

from logitcache.cli import main as logitcache_main

for _name in ("stage_one", "transfers"):
    import_module(f"logitcache.pipeline.{_name}")  # what commands load when they run; once, for all forks

__all__ = ["Ended", "Fork", "apart", "small_disk"]

_FAILED = 70


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or minus the signal; and all it said."""

    code: int
    text: str

    @property
    def is_clear_about_space(self) -> bool:
        """Whether it ended with exit code 1 and one line that says that there is no space left."""
        errors = [line for line in self.text.splitlines() if line.startswith("error: ")]
        one = len(errors) == 1 and "No space left on device" in errors[0]
        return self.code == 1 and one and "Traceback" not in self.text


class Fork:
    """A ``logitcache`` command in a fork of this process, its output in a file."""

    def __init__(self, words: list[str], log: Path) -> None:
        self._log = log
        log.unlink(missing_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self.process = os.fork()
        if not self.process:
            _be(words, log)

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def kill(self, signal: int) -> None:
        """Send it a signal."""
        os.kill(self.process, signal)

    def wait(self) -> Ended:
        """Wait for its end."""
        _, status = os.waitpid(self.process, 0)
        text = self._log.read_text(encoding="utf-8") if self._log.exists() else ""
        return Ended(os.waitstatus_to_exitcode(status), text)


def _be(words: list[str], log: Path) -> None:
    """Become the command; does not return."""
    code = _FAILED
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["logitcache", *words]
        logitcache_main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def apart() -> None:
    """Begin this script anew where it may mount disks that nobody else sees, if the system has such a place."""
    words = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    probe = [*words, "mount", "-t", "tmpfs", "none", "/mnt"]
    known = "KILL_STORE_APART" in os.environ or shutil.which("unshare") is None
    if not known and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        os.environ["KILL_STORE_APART"] = "yes"
        os.execvp(words[0], [*words, sys.executable, *sys.argv])  # noqa: S606  # no shell is wanted


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Callable[[int], None] | None]:
    """A file system in memory at ``folder`` that holds so much; gives what makes it larger, None where none may be."""
    folder.mkdir(parents=True, exist_ok=True)
    if not _mounted("-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)):
        yield None
        return
    try:
        yield lambda more: _grow(folder, more)
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607  # wherever the system has it


def _mounted(*words: str) -> bool:
    """Whether mount does as it is told."""
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0  # noqa: S607


def _grow(folder: Path, kilobytes: int) -> None:
    """Make a disk larger."""
    if not _mounted("-o", f"remount,size={kilobytes}k", str(folder)):
        raise OSError("a disk in memory could not be made larger")
