"""Kill workers of a Dask cluster every few seconds while they cache, then while they train; nothing may differ.

    python benchmarks/kill_cluster.py [--kills 12] [--workers 3] [--every 3] [--seed 0] [--samples 20000] [--views 20]
        [--block 250] [--students 24] [--epochs 6] [--result JSON]

A store is cached, and a grid of students trained from it, by the commands as people give them. Then the same commands
get a cluster of this machine, one of whose workers that have tasks is ended by SIGKILL every few seconds. The store
must have the same files with the same SHA-256; the students the same weights, test logits and curves, and
``results.csv`` the same rows, but for seconds. A command that ends before enough were killed is begun anew in another
folder.

Prints kills, tasks sent again and seconds, and writes them with machine, versions and command to
``benchmarks/results/kill_cluster.json``. The exit code is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import of_tests  # noqa: F401  # before `sweeps`, which is theirs
import torch
from kill_cache import CLASSES, MODEL, REPOSITORY, SHAPE, TEACHER_OF_VIEWS, differences, digests
from kill_workers import Killer, Sent
from machine import evidence
from sweeps import left, table

from logitcache.cluster import ClusterOptions, open_client
from logitcache.models import build_model
from logitcache.models.weights import save_checkpoint

RECIPE = (
    TEACHER_OF_VIEWS
    + """[cache]
block = {block}
inference = {{ batch = 50 }}
[[students]]
name = "few"
model = "cnn-4-8"
samples = 500
seeds = {seeds}
objectives = ["ce", {{ loss = "kl", tau = 4 }}]
training = {{ epochs = {epochs}, batch = 50 }}
"""
)


@dataclass(frozen=True)
class Job:
    """A command on a recipe: its name, what it needs in the folder it writes in, and what it leaves there, by name."""

    name: str
    recipe: Path
    prepare: Callable[[Path], object]
    left: Callable[[Path], dict[str, Any]]

    def run(self, out: Path, *words: str) -> None:
        """Run it to its end."""
        run_command([self.name, str(self.recipe), "--out", str(out), "--device", "cpu", *words])


@dataclass(frozen=True)
class Whole:
    """What a command leaves that nobody disturbs, by name, and its seconds."""

    left: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class Stage:
    """What a command came to whose workers were killed.

    Attributes:
        what: the command.
        kills: workers that had tasks and were sent SIGKILL.
        finished: stores, or sweeps, that were brought to their end meanwhile, and compared.
        tasks: tasks of the cluster.
        sent_again: how often one was given to a worker that another one had had.
        compared: files and rows of each of them.
        differing: names of those that differ from what was left undisturbed.
        seconds: of all commands whose workers were killed.
        seconds_undisturbed: of one command without a cluster.
    """

    what: str
    kills: int
    finished: int
    tasks: int
    sent_again: int
    compared: int
    differing: tuple[str, ...]
    seconds: float
    seconds_undisturbed: float

    def __str__(self) -> str:
        """The stage on one line."""
        return (
            f"{self.what}: {self.kills} workers killed, {self.sent_again} of {self.tasks} tasks sent again, "
            f"{self.finished} finished, {len(self.differing)} of {self.compared} files and rows differ; "
            f"{self.seconds:.0f} s, {self.seconds_undisturbed:.0f} s without a cluster"
        )


def main(words: Sequence[str] | None = None) -> None:
    """Kill, compare, print and write; exit with the result."""
    options = parse(words)
    stages = []
    with tempfile.TemporaryDirectory(prefix="kill_cluster_") as name:
        for stage in measure(options, Path(name)):
            print(stage, *(f"  {each}" for each in stage.differing[:10]), sep="\n", flush=True)
            stages.append(stage)
    known = {"workers": options.workers, "every": options.every, "stages": [*map(asdict, stages)]}
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(
        json.dumps({**evidence("dask", "distributed"), **known}, indent=1) + "\n", encoding="utf-8"
    )
    print(f"written to {options.result}")
    sys.exit(1 if any(stage.differing for stage in stages) else 0)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    counts = {"kills": 12, "workers": 3, "seed": 0, "samples": 20000, "views": 20, "block": 250}
    for name, default in {**counts, "students": 24, "epochs": 6}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--every", type=float, default=3.0, help="mean seconds between two kills")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/kill_cluster.json"))
    return parser.parse_args(words)


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Stage]:
    """Both commands, undisturbed and then by a cluster whose workers are killed."""
    jobs = jobs_of(write_recipe(folder, options), folder / "whole")
    whole = [undisturbed(job, folder / "whole") for job in jobs]
    with open_client(ClusterOptions(workers=options.workers)) as client:
        for job, expected in zip(jobs, whole, strict=True):
            yield killed(job, expected, client.cluster.scheduler, options)


def write_recipe(folder: Path, options: argparse.Namespace) -> Path:
    """A recipe with a teacher of random weights, and students in two objectives."""
    torch.manual_seed(0)
    checkpoint, recipe = folder / "small.safetensors", folder / "kill.toml"
    save_checkpoint(checkpoint, build_model(MODEL, CLASSES, SHAPE), MODEL, {})
    seeds = list(range(max(1, options.students // 2)))
    known = {"data": REPOSITORY / "data", "model": MODEL, "checkpoint": checkpoint, "seeds": seeds}
    text = RECIPE.format(**known, **vars(options))
    recipe.write_text(text, encoding="utf-8")
    return recipe


def jobs_of(recipe: Path, whole: Path) -> list[Job]:
    """Caching into a folder's store; training from a copy of the store in the folder ``whole``."""

    def take_store(out: Path) -> None:
        shutil.copytree(whole / "store.zarr", out / "store.zarr")

    return [
        Job("cache", recipe, Path.mkdir, lambda out: {**digests(out / "store.zarr")}),
        Job("distill", recipe, take_store, students_of),
    ]


def students_of(out: Path) -> dict[str, Any]:
    """What a sweep leaves: weights, test logits, curves, and rows of its table by run, all without seconds."""
    return {**left(out), **{f"results.csv {row['run_id']}": row for row in table(out)}}


def undisturbed(job: Job, out: Path) -> Whole:
    """What a command comes to without a cluster."""
    started = time.perf_counter()
    job.run(out)
    whole = Whole(job.left(out), time.perf_counter() - started)
    print(f"{job.name} undisturbed: {len(whole.left)} files and rows, {whole.seconds:.1f} s", flush=True)
    return whole


def killed(job: Job, whole: Whole, scheduler: Any, options: argparse.Namespace) -> Stage:
    """Run a command by a cluster, again and again, until enough of its workers were killed."""
    sent = Sent()
    scheduler.add_plugin(sent, name=job.name)
    kills = finished = 0
    differing: set[str] = set()
    started = time.perf_counter()
    while kills < options.kills:
        out = job.recipe.parent / f"{job.name}_{finished}"
        job.prepare(out)
        with Killer(scheduler, options.every, options.kills - kills, f"{options.seed} {finished}") as killer:
            job.run(out, "--scheduler", scheduler.address)
        if not killer.kills:
            sys.exit(f"the {job.name} command ended before a worker was killed; give it more to do, or a lower --every")
        kills, finished = kills + killer.kills, finished + 1
        differing |= {*differences(whole.left, job.left(out))}
        shutil.rmtree(out)
    seconds = time.perf_counter() - started
    scheduler.remove_plugin(job.name)
    names = tuple(sorted(differing))
    return Stage(job.name, kills, finished, sent.tasks, sent.again, len(whole.left), names, seconds, whole.seconds)


def run_command(words: list[str]) -> None:
    """Run a ``logitcache`` command to its end, in a process of its own."""
    command = [sys.executable, "-m", "logitcache", *words]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the {words[0]} command failed with exit code {done.returncode}: {done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
