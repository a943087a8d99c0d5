"""A run whose store is on an S3 server that fails, and whose writer is killed: it must end as one on a disk does.

    python benchmarks/faulty_storage.py [--rate 0.1] [--seed 0] [--result JSON]

A server on this machine, moto's, fails in a tenth of all requests: it says 503, answers too late, cuts the connection,
or does what it is asked and loses the answer; in each of the four ways in turn, then in all of them together, a tenth
each. Every time the cache command is ended by SIGKILL at a random number of objects, the same command goes on, and
``distill`` and ``stats`` follow. All objects must have the SHA-256 that the files on a disk have; students the same
weights, test logits, curves and table but for seconds; statistics the same bytes. No output may have a credential.

Prints requests and faults by way, and writes them with machine, versions and command to
``benchmarks/results/faulty_storage.json``. The exit code is 1 where anything differs or was told.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import of_tests  # noqa: F401  # before `builders`, `object_server`, `impatient`, `sweeps` and `tiny`, which are theirs
from builders import tree
from impatient import kill_at, run_impatient
from kill_cache import differences
from machine import evidence
from object_server import BUCKET, SECRETS, WAYS, ObjectServer
from sweeps import left, table
from tiny import RECIPE, run_words, write_data, write_recipe

PREFIX = "runs/store.zarr"
URL = f"s3://{BUCKET}/{PREFIX}"
STATS = ("--measure", "moments", "--tau", "1")


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        faults: what failed; "none" on a disk.
        requests: requests that the server was sent.
        failed: those that it failed, by way.
        objects: objects of the finished store.
        killed_at: how many there were when the writer was killed.
        compared: objects, files and rows.
        differing: names of those that differ from the run on a disk.
        told: files of output in which a credential stands.
        seconds: of each command.
    """

    faults: str
    requests: int
    failed: dict[str, int]
    objects: int
    killed_at: int
    compared: int
    differing: tuple[str, ...]
    told: tuple[str, ...]
    seconds: dict[str, float]

    def __str__(self) -> str:
        """The outcome on one line."""
        failed = ", ".join(f"{way} {number}" for way, number in sorted(self.failed.items()))
        return (
            f"{self.faults}: killed at {self.killed_at} of {self.objects} objects; {sum(self.failed.values())} of "
            f"{self.requests} requests failed ({failed}); {len(self.differing)} of {self.compared} differ, "
            f"{len(self.told)} outputs tell a credential; {sum(self.seconds.values()):.0f} s"
        )


class Site:
    """A recipe with its data, the run of it on a disk, and a server."""

    def __init__(self, folder: Path, server: ObjectServer, recipe: str = RECIPE) -> None:
        self._folder, self._server = folder, server
        self._recipe = write_recipe(write_data(folder), recipe)
        self.disk = self._out("disk")

    def run_on_disk(self) -> dict[str, float]:
        """The run that nobody disturbs, with its teacher, its store and its statistics; returns seconds."""
        self.disk.mkdir()
        return {name: self._timed("disk", name) for name in ("cache", "distill", "stats")}

    def run(self, name: str, rates: Mapping[str, float], seed: int) -> Outcome:
        """The same with the store on the server, which fails."""
        store = tree(self.disk / "store.zarr")
        expected, objects = self._left(self.disk, store), len(store)
        killed_at = random.Random(f"{seed} {name}").randint(objects // 4, 3 * objects // 4)  # noqa: S311  # no secrecy
        shutil.copytree(self.disk / "teachers", self._out(name) / "teachers")
        self._server.reset()
        with self._server.failing(seed, **rates):
            started = time.perf_counter()
            kill_at(self._server, PREFIX, killed_at, *self._words(name, "cache"))
            seconds = {"killed": time.perf_counter() - started}
            seconds |= {command: self._timed(name, command) for command in ("cache", "distill", "stats")}
        found = self._left(self._out(name), self._server.tree(PREFIX))
        failed = Counter(seen.failed for seen in self._server.seen if seen.failed is not None)
        return Outcome(
            faults=name,
            requests=len(self._server.seen),
            failed=dict(failed),
            objects=objects,
            killed_at=killed_at,
            compared=len(expected),
            differing=tuple(differences(expected, found)),
            told=tuple(self._told(name)),
            seconds=seconds,
        )

    def _out(self, name: str) -> Path:
        """The run folder."""
        return self._folder / name

    def _words(self, name: str, command: str) -> list[str]:
        """The words of a command; those of the undisturbed run name no server."""
        out, remote = self._out(name), name != "disk"
        if command == "stats":
            return ["stats", URL if remote else str(out / "store.zarr"), "--out", str(out / "statistics"), *STATS]
        share = [f"share.store={URL}"] if remote else []
        return [command, *map(str, run_words(self._recipe, out, *share))]

    def _timed(self, name: str, command: str) -> float:
        """Run a command to its end; returns its seconds."""
        log, started = self._folder / f"{name}_{command}.log", time.perf_counter()
        code = run_impatient(self._server, *self._words(name, command), log=log)
        if code:
            sys.exit(f"{name}: the {command} command failed with exit code {code}: {log.read_text(errors='replace')}")
        return time.perf_counter() - started

    def _left(self, out: Path, store: Mapping[str, str]) -> dict[str, Any]:
        """All that a run leaves, by name, without what tells time."""
        rows = {f"results.csv {row['run_id']}": row for row in table(out)}
        measured = {f"statistics/{path.name}": path.read_bytes() for path in (out / "statistics").glob("*.csv")}
        if not rows or not measured:
            sys.exit(f"{out.name}: no students, or no statistics")
        return {**{f"store/{key}": digest for key, digest in store.items()}, **left(out), **rows, **measured}

    def _told(self, name: str) -> Iterator[str]:
        """Files of a run in which a credential stands."""
        said = [*self._folder.glob(f"{name}_*.log"), *(path for path in self._out(name).rglob("*") if path.is_file())]
        for path in said:
            data = path.read_bytes()
            if any(secret.encode() in data for secret in SECRETS.values()):
                yield path.relative_to(self._folder).as_posix()


def main(words: Sequence[str] | None = None) -> None:
    """Run, print and write; exit with the result."""
    options = parse(words)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands, which run beside the server
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="faulty_storage_") as name:
        for outcome in measure(Path(name), options.rate, options.seed, options.ways):
            print(outcome, *(f"  {each}" for each in outcome.differing[:10]), sep="\n", flush=True)
            outcomes.append(outcome)
    record = {**evidence("obstore", "moto"), "rate": options.rate, "runs": [*map(asdict, outcomes)]}
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"written to {options.result}")
    sys.exit(1 if any(outcome.differing or outcome.told for outcome in outcomes) else 0)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=0.1, help="the part of all requests that fails, in each way")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ways", nargs="+", choices=[*WAYS, "all"], default=[*WAYS, "all"], help="what fails")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/faulty_storage.json"))
    return parser.parse_args(words)


def measure(folder: Path, rate: float, seed: int, ways: Sequence[str]) -> Iterator[Outcome]:
    """The run on a disk, then one for each of some ways to fail, of which "all" is all of them at once."""
    server = ObjectServer()
    try:
        site = Site(folder, server)
        seconds = sum(site.run_on_disk().values())
        print(f"on a disk: {len(tree(site.disk / 'store.zarr'))} files of the store, {seconds:.1f} s", flush=True)
        for way in ways:
            yield site.run(way, dict.fromkeys(WAYS, rate) if way == "all" else {way: rate}, seed)
    finally:
        server.close()


if __name__ == "__main__":
    main()
