"""The plans of all variants of a recipe: what variants share is made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from logitcache.address import Address
from logitcache.pipeline.context import RunContext
from logitcache.pipeline.plan import Plan, PlannedStep, make_plan, print_plan
from logitcache.pipeline.walking import walk

__all__ = ["print_plans"]

_IN_STORE = ("cache", "verify")
_IN_TEACHERS = ("teach", "snapshot")


def print_plans(contexts: Sequence[RunContext]) -> None:
    """Print the plan of each variant; what an earlier one does, in folders that both share, is not counted again.

    Raises:
        InputError, MismatchError: see :func:`logitcache.pipeline.plan.make_plan`.
    """
    made: set[tuple[Address, str]] = set()
    walk(contexts, lambda context: _print(context, made))


def _print(context: RunContext, made: set[tuple[Address, str]]) -> None:
    """Print one variant's plan, and remember what it does."""
    plan = make_plan(context)
    if context.recipe.share.store is not None:
        context.screen.say(f"store: {context.store_path}, shared")
    print_plan(_without(plan, context, made), context.screen)
    made |= {(_folder(context, step), step.name) for step in plan.steps}
    made |= {(context.store_path, array.name) for array in plan.arrays}


def _without(plan: Plan, context: RunContext, made: set[tuple[Address, str]]) -> Plan:
    """The plan without the costs of what is made before."""
    steps = [
        replace(step, detail=f"{step.detail}, by the variant before", forward_passes=0, seconds=None)
        if not step.done and (_folder(context, step), step.name) in made
        else step
        for step in plan.steps
    ]
    arrays = [array for array in plan.arrays if (context.store_path, array.name) not in made]
    return replace(plan, steps=tuple(steps), arrays=tuple(arrays))


def _folder(context: RunContext, step: PlannedStep) -> Address:
    """Where what a step makes is."""
    kind = step.name.split()[0]
    if kind in _IN_STORE:
        return context.store_path
    return context.teachers_path if kind in _IN_TEACHERS else context.out
