"""Walk a recipe's steps from the first to the last."""

from __future__ import annotations

from logitcache.pipeline.context import RunContext
from logitcache.pipeline.stage_one import run_stage_one, time_sources
from logitcache.pipeline.stage_two import distill, make_report, make_statistics

__all__ = ["run_all"]


def run_all(context: RunContext) -> None:
    """All steps, in order; each does only what is not done yet."""
    run_stage_one(context)
    distill(context)
    make_statistics(context)
    time_sources(context)
    make_report(context)
