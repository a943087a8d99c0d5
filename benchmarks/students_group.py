"""Many students of one network: one after another, side by side in processes, and stacked in one step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from pairs import Ratio, compare, interleave

from logitcache.pipeline.context import RunContext
from logitcache.student.training import TrainingOptions
from logitcache.sweep import RunSpec, StudentGroup, SweepOptions, expand, run_sweep
from logitcache.threads import cores, default_threads

__all__ = ["STUDENTS", "group_ratios", "seeds"]

STUDENTS = 8
"""How many there are, unless a command says otherwise."""


def group_ratios(context: RunContext, folder: Path, rounds: int, specs: list[RunSpec]) -> Iterator[Ratio]:
    """Whole sweeps of these students, from the start of the command's work to the last file."""
    target = ">= 1.2" if context.device.type == "cpu" else ">= 4"
    kinds = {
        "one after another": lambda: sweep(context, folder, specs, SweepOptions(stack="never", processes=1)),
        "as the program chooses": lambda: sweep(context, folder, specs, SweepOptions()),
        "stacked": lambda: sweep(context, folder, specs, SweepOptions(stack="always", members=len(specs), processes=1)),
    }
    if context.device.type == "cpu":
        kinds["one after another, all threads"] = lambda: threaded(context, folder, specs)
    seconds = interleave(kinds, rounds, warm=False)
    for kind in list(kinds)[1:]:
        aim = target if kind == "as the program chooses" else ""
        yield compare(f"{len(specs)} students", seconds, "one after another", kind, aim)


def seeds(context: RunContext, students: int, samples: int, epochs: int) -> list[RunSpec]:
    """So many seeds of the recipe's student, distilled from its first teacher."""
    recipe = context.recipe
    training = recipe.timing.training if recipe.timing else TrainingOptions(epochs=epochs)
    group = StudentGroup(
        model=recipe.timing.model if recipe.timing else recipe.students[0].model,
        objectives=({"loss": "kl", "tau": 4},),
        seeds=tuple(range(students)),
        samples=min(samples, len(context.splits["train"])),
        training=training.model_copy(update={"epochs": epochs, "evaluate_every": epochs}),
    )
    teacher = recipe.teachers[0].name
    return expand(
        group,
        samples=len(context.splits["train"]),
        views=recipe.views.count,
        teachers=[teacher],
        sources={"": "", teacher: ""},
    )


def sweep(context: RunContext, folder: Path, specs: list[RunSpec], options: SweepOptions) -> None:
    """Train all of them into an empty folder."""
    out = folder / "group"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    run_sweep(replace(context.sweep(), out=out), specs, options)


def threaded(context: RunContext, folder: Path, specs: list[RunSpec]) -> None:
    """One process with as many torch threads as there are cores."""
    torch.set_num_threads(cores())
    sweep(context, folder, specs, SweepOptions(stack="never", processes=1))
    torch.set_num_threads(default_threads())
