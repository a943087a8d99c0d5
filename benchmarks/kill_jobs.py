"""What is killed: the import, cache and copy commands on small spectral stores, and what each comes to undisturbed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forks import Fork  # first: it says how many threads torch may start

import numpy as np  # isort: skip
import torch
from kill_cache import CLASSES, MODEL, REPOSITORY, SHAPE, TEACHER_OF_VIEWS, digests

from logitcache.models import build_model
from logitcache.models.weights import save_checkpoint

COMMANDS = ("import", "cache", "copy")
SAMPLES, VIEWS, BLOCK, WIDE = 960, 3, 80, 40
PAGE = 4096
RECIPE = (
    TEACHER_OF_VIEWS
    + """[cache]
splits = ["train"]
block = {block}
features = true
encoding = {{ kind = "spectral", max_kl = 0.01 }}
inference = {{ batch = 80 }}
"""
)


@dataclass(frozen=True)
class Job:
    """A command: its words by the folder it writes in, the files it must come to, their bytes on disk, its seconds."""

    name: str
    words: Callable[[Path], list[str]]
    whole: dict[str, str]
    size: int
    seconds: float

    def start(self, folder: Path) -> Fork:
        """Run it in a process of its own."""
        return Fork(self.words(folder), folder.with_suffix(".log"))


def store_of(folder: Path) -> Path:
    """The store in a command's folder."""
    return folder / "store.zarr"


def prepare(folder: Path, command: str) -> Job:
    """Write what a command reads, and run it once undisturbed."""
    words, out, started = words_of(folder, command), folder / f"whole_{command}", time.perf_counter()
    ended = Fork(words(out), folder / f"{command}.log").wait()
    if ended.code:
        sys.exit(f"the {command} command failed with exit code {ended.code}: {ended.text}")
    seconds, files = time.perf_counter() - started, [path for path in out.rglob("*") if path.is_file()]
    size = sum(-(-path.stat().st_size // PAGE) * PAGE for path in files)
    return Job(command, words, digests(store_of(out)), size, seconds)


def words_of(folder: Path, command: str) -> Callable[[Path], list[str]]:
    """The words of a command by the folder it writes in, after making what it reads."""
    if command == "import":
        logits, options = folder / "logits.npy", ["--teacher", "small", "--block", str(BLOCK), "--max-kl", "0.01"]
        np.save(logits, realistic(VIEWS + 1, SAMPLES, WIDE))
        return lambda out: ["import", str(logits), str(store_of(out)), *options, "--encoding", "spectral"]
    if command == "cache":
        recipe = write_recipe(folder)
        return lambda out: ["cache", str(recipe), "--out", str(out), "--device", "cpu"]
    source = store_of(folder / "whole_cache")  # COMMANDS are in order
    return lambda out: ["copy", str(source), str(store_of(out))]


def realistic(views: int, samples: int, classes: int) -> np.ndarray:
    """Logits whose spectrum falls, float32 (views, samples, classes)."""
    rng = np.random.default_rng(0)
    spread = 6 / np.arange(1, classes // 2 + 1) ** 0.7
    mixed = rng.normal(size=(views, samples, len(spread))) * spread @ rng.normal(size=(len(spread), classes))
    return mixed.astype(np.float32)


def write_recipe(folder: Path) -> Path:
    """A recipe with a teacher of random weights."""
    torch.manual_seed(0)
    checkpoint, recipe = folder / "small.safetensors", folder / "kill.toml"
    save_checkpoint(checkpoint, build_model(MODEL, CLASSES, SHAPE), MODEL, {})
    text = RECIPE.format(
        data=REPOSITORY / "data", samples=SAMPLES, views=VIEWS, block=BLOCK, model=MODEL, checkpoint=checkpoint
    )
    recipe.write_text(text, encoding="utf-8")
    return recipe
