"""A data set, a recipe and a command line small enough to run a whole pipeline in a second or two."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from logitcache.cli import main
from logitcache.pipeline.context import RunContext, open_context

DATA = """
[data]
name = "arrays"
images = "{folder}/train.npy"
labels = "{folder}/train_labels.npy"
test_images = "{folder}/test.npy"
test_labels = "{folder}/test_labels.npy"
"""
"""What recipes on the files of :func:`write_data` begin with."""

RECIPE = (
    DATA
    + """
[views]
kind = "crop_flip"
padding = 1
count = 2

[[teachers]]
name = "big"
model = "cnn-4-8"
teach = {{ epochs = 2, batch = 20, learning_rate = 0.05 }}

[cache]
block = 50
inference = {{ batch = 30 }}

[[students]]
name = "few"
model = "cnn-4-4"
samples = 60
seeds = [0, 1]
objectives = ["ce", {{ loss = "kl", tau = 4 }}]
training = {{ epochs = 2, batch = 20 }}

[timing]
model = "cnn-4-4"
rounds = 1
training = {{ epochs = 1, batch = 30 }}
"""
)


def write_data(folder: Path, *, samples: int = 120, classes: int = 3, side: int = 12, seed: int = 0) -> Path:
    """Four ``.npy`` files: noise on which each class has a bright column of its own."""
    random = np.random.default_rng(seed)
    for name, count in (("train", samples), ("test", samples // 2)):
        labels = np.arange(count) % classes
        images = random.integers(0, 120, (count, side, side), dtype=np.uint8)
        images[np.arange(count), :, 2 + 3 * labels] += 100
        np.save(folder / f"{name}.npy", images)
        np.save(folder / f"{name}_labels.npy", labels)
    return folder


def write_recipe(folder: Path, text: str = RECIPE, name: str = "tiny.toml") -> Path:
    """A recipe on the data in the same folder."""
    path = folder / name
    path.write_text(text.format(folder=folder), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Answer:
    """What a command says: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def command(*words: object) -> Answer:
    """Run ``logitcache`` with these words, in this process and with one process for students."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["logitcache", *map(str, words)])
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        patch.setattr("logitcache.sweep.running.default_processes", lambda device, runs: 1)
        with pytest.raises(SystemExit) as ended:
            main()
    code = ended.value.code
    return Answer(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


def run_words(recipe: Path, out: Path, *overrides: str) -> Sequence[object]:
    """The words that commands on a recipe share."""
    return recipe, "--out", out, "--device", "cpu", *(word for each in overrides for word in ("--set", each))


@dataclass(frozen=True)
class Run:
    """A recipe and its run directory."""

    recipe: Path
    out: Path

    def __call__(self, name: str, *overrides: str) -> Answer:
        """Run a command on it."""
        return command(name, *run_words(self.recipe, self.out, *overrides))

    def context(self, *overrides: str) -> RunContext:
        """What the steps of the pipeline are given."""
        return open_context(self.recipe, overrides, self.out, "cpu")

    def copy(self, folder: Path) -> Run:
        """The same run in another folder, to be changed; recipe and data are shared."""
        shutil.copytree(self.out, folder / "out")
        return Run(self.recipe, folder / "out")


def make_run(folder: Path) -> Run:
    """Write data and recipe and run all steps."""
    made = Run(write_recipe(write_data(folder)), folder / "out")
    answer = made("run")
    if answer.code:
        raise RuntimeError(answer.err)
    return made
