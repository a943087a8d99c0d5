"""Kill the cache step with SIGKILL at random moments, resume each time, and compare with an uninterrupted store.

    python benchmarks/kill_cache.py [--kills 20] [--seed 0] [--samples 3000] [--views 20] [--block 100]

One store is written in one go. The other one by processes that are killed: the first while it creates the store, the
last while it folds commits, the others when they have come to a random share of the blocks, one in each of equal parts
of the run, plus a random part of a block's time. One more may finish. Both stores must have the same files with the
same SHA-256; else the exit code is 1. A kill is a hit where it met a writer at work: a store that was unfinished.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from forks import Fork  # first: it says how many threads torch may start

import torch  # isort: skip

from logitcache.models import build_model
from logitcache.models.weights import save_checkpoint

REPOSITORY = Path(__file__).parents[1]
MODEL, CLASSES, SHAPE = "cnn-8-16", 10, (1, 28, 28)
TEACHER = "train/teachers/small/logits"
BLOCK_SECONDS = 0.02
TEACHER_OF_VIEWS = """
[data]
name = "fashion_mnist"
root = "{data}"
samples = {samples}
[views]
kind = "crop_flip"
padding = 2
count = {views}
[[teachers]]
name = "small"
model = "{model}"
checkpoint = "{checkpoint}"
"""
RECIPE = (
    TEACHER_OF_VIEWS
    + """[cache]
splits = ["train"]
block = {block}
inference = {{ batch = 50 }}
"""
)


@dataclass(frozen=True)
class Kill:
    """One kill: blocks committed when it came, and shards that stood without a commit, its writer's last traces."""

    committed: int
    uncommitted_shards: int
    hit: bool


def main() -> None:
    """Run the comparison and exit with its result."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="kill_cache_") as name:
        folder = Path(name)
        recipe = write_recipe(folder, options)
        started = time.perf_counter()
        finish(recipe, folder / "whole")
        whole = digests(folder / "whole/store.zarr")
        blocks = count_shards(folder / "whole/store.zarr")
        print(f"uninterrupted: {blocks} blocks, {len(whole)} files, {time.perf_counter() - started:.1f} s", flush=True)
        kills = [kill(recipe, folder / "killed", moment) for moment in moments(options.kills, blocks, options.seed)]
        finish(recipe, folder / "killed")
        differing = differences(whole, digests(folder / "killed/store.zarr"))
    hits = sum(each.hit for each in kills)
    torn = sum(each.uncommitted_shards > 0 for each in kills[:-1])
    print(f"{hits} of {len(kills)} kills hit a running writer; {torn} left a shard without its commit")
    seconds = time.perf_counter() - started
    print(f"{len(differing)} of {len(whole)} files differ from the uninterrupted store's; {seconds:.0f} s in all")
    for path in differing[:10]:
        print(f"  {path}")
    sys.exit(1 if differing or 2 * hits < len(kills) else 0)


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 20), ("seed", 0), ("samples", 3000), ("views", 20), ("block", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def write_recipe(folder: Path, options: argparse.Namespace) -> Path:
    """A recipe with a teacher of random weights, made once."""
    torch.manual_seed(0)
    checkpoint = folder / "small.safetensors"
    save_checkpoint(checkpoint, build_model(MODEL, CLASSES, SHAPE), MODEL, {})
    recipe = folder / "kill.toml"
    text = RECIPE.format(data=REPOSITORY / "data", model=MODEL, checkpoint=checkpoint, **vars(options))
    recipe.write_text(text, encoding="utf-8")
    return recipe


def moments(kills: int, blocks: int, seed: int) -> list[float]:
    """Commits to wait for before each kill; what is after the point is the part of a block's time to wait then."""
    chance = random.Random(seed)  # noqa: S311  # moments of kills need no secrecy
    between = [1 + (blocks - 1) * (part + chance.random()) / (kills - 2) for part in range(kills - 2)]
    return [chance.random(), *between, blocks + chance.random()][:kills]


def start(recipe: Path, out: Path) -> Fork:
    """The cache command in a process of its own."""
    return Fork(["cache", str(recipe), "--out", str(out), "--device", "cpu"], out.with_suffix(".log"))


def finish(recipe: Path, out: Path) -> None:
    """Run the command to its end."""
    ended = start(recipe, out).wait()
    if ended.code:
        sys.exit(f"the cache command failed with exit code {ended.code}: {ended.text}")


def kill(recipe: Path, out: Path, moment: float) -> Kill:
    """Start the command, kill it when about ``moment`` blocks are committed, and look at what is there."""
    store, before = out / "store.zarr", count_commits(out / "store.zarr")
    wanted = int(moment) and max(int(moment), before + 1)  # at the very least it has begun
    process = start(recipe, out)
    while process.is_running() and not (store.exists() and count_commits(store) >= wanted):
        time.sleep(0.001)
    time.sleep(moment % 1 * BLOCK_SECONDS)
    process.kill(signal.SIGKILL)
    code = process.wait().code
    committed, shards = count_commits(store), count_shards(store)
    hit = code == -signal.SIGKILL and store.exists() and not is_finished(store)
    return Kill(committed, max(0, shards - committed), hit)


def is_finished(store: Path) -> bool:
    """Whether all commits have been folded into one a view, which is the writer's last deed."""
    commits = store / TEACHER / "commits"
    return commits.is_dir() and not any(path.is_dir() for path in commits.iterdir())


def count_commits(store: Path) -> int:
    """Blocks with a commit of their own."""
    return sum(len(names) for folder, _, names in os.walk(store / TEACHER / "commits") if folder[-1].isdecimal())


def count_shards(store: Path) -> int:
    """Shards of logits, committed or not."""
    return sum(len(names) for _, _, names in os.walk(store / TEACHER / "c"))


def digests(store: Path) -> dict[str, str]:
    """SHA-256 of every file of a store, by relative name."""
    files = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {str(path.relative_to(store)): sha256(path.read_bytes()).hexdigest() for path in files}


def differences(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """Names of files that only one of two stores has, or that differ."""
    return sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))


if __name__ == "__main__":
    main()
