"""Walk a recipe's steps from the first to the last."""

from __future__ import annotations

import os
from collections.abc import Sequence

from logitcache.errors import InputError
from logitcache.pipeline.context import RunContext
from logitcache.pipeline.online import train_online
from logitcache.pipeline.stage_one import run_stage_one, time_sources
from logitcache.pipeline.stage_two import distill, make_report, make_statistics
from logitcache.pipeline.student_logits import keep_logits
from logitcache.pipeline.studying import make_study
from logitcache.pipeline.walking import walk
from logitcache.student.distributed import read_environment

__all__ = ["run_all"]


def run_all(contexts: Sequence[RunContext]) -> None:
    """All steps of every variant, in order, then the study of all of them; each does only what is not done yet.

    Raises:
        InputError: started by ``torchrun`` in several processes, which only the distill step is made for.
    """
    world, _ = read_environment(os.environ)
    if world.size > 1:
        raise InputError(
            f"{world.size} processes were started to run a whole recipe; torchrun is for `logitcache distill`: "
            "run the steps before it by `logitcache cache`, in one process"
        )
    walk(contexts, _run)
    make_study(contexts)


def _run(context: RunContext) -> None:
    """All steps of one variant."""
    run_stage_one(context)
    distill(context)
    train_online(context)
    keep_logits(context)
    make_statistics(context)
    time_sources(context)
    make_report(context)
