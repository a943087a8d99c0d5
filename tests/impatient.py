"""Commands on stores in the tests' object server, in processes that have no patience and can be killed."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from forked import forked, run_forked
from object_server import ObjectServer

from logitcache.store.objects import Patience

__all__ = ["PATIENT", "kill_at", "run_impatient"]

PATIENT = Patience(tries=30, first_wait=0.002, longest_wait=0.02, timeout=0.2, connect_timeout=0.2)
"""For a server on this machine that fails in many requests."""

_PROGRAM = f"""
from logitcache.store import objects
objects.PATIENCE = objects.Patience(**{vars(PATIENT)})
from logitcache.cli import main
main()
"""


def run_impatient(server: ObjectServer, *words: object, log: Path) -> int:
    """Run ``logitcache`` with these words to its end; returns its exit code, and all it says goes to a file."""
    return run_forked(_PROGRAM, *words, log=log, environ=server.environ)


def kill_at(server: ObjectServer, prefix: str, objects: int, *words: object) -> None:
    """Start ``logitcache`` with these words, and end it by SIGKILL when there are so many objects below a prefix.

    Raises:
        TimeoutError: there are not as many after two minutes.
        ValueError: it ended by itself.
    """
    with forked(_PROGRAM, *words, environ=server.environ) as process:
        until = time.monotonic() + 120
        while server.count(prefix) < objects:
            if time.monotonic() > until:
                raise TimeoutError(f"{server.count(prefix)} objects after two minutes; {objects} were to come")
            time.sleep(0.002)
        process.kill(signal.SIGKILL)
        code = process.wait()
    if code != -signal.SIGKILL:
        raise ValueError(f"it ended with exit code {code} before it could be killed")
