"""The plans of all variants of a recipe: what variants share is made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from logitcache.address import Address
from logitcache.cache_job import split_views
from logitcache.pipeline.context import RunContext
from logitcache.pipeline.plan import Plan, PlannedStep, make_plan, print_plan, with_known_size
from logitcache.pipeline.plan_sample import Calibration, load_sample
from logitcache.pipeline.scale_text import scale_lines
from logitcache.pipeline.scaling import make_scale
from logitcache.pipeline.walking import walk
from logitcache.planning.sizes import weigh

__all__ = ["PlanOptions", "print_plans"]

_IN_STORE = ("cache", "verify")
_IN_TEACHERS = ("teach", "snapshot")


@dataclass(frozen=True)
class PlanOptions:
    """What is planned beside steps and bytes.

    Attributes:
        sample: a file or store of logits that encodings are weighed on; None to estimate.
        scale: also say encodings side by side, objects, requests, hours and costs; recipes with a budget always do.
    """

    sample: Address | None = None
    scale: bool = False


def print_plans(contexts: Sequence[RunContext], options: PlanOptions | None = None) -> None:
    """Print the plan of each variant; what an earlier one does, in folders that both share, is not counted again.

    Raises:
        InputError, MismatchError: see :func:`logitcache.pipeline.plan.make_plan`; or a sample that does not fit.
    """
    made: set[tuple[Address, str]] = set()
    walk(contexts, lambda context: _print(context, made, options or PlanOptions()))


def _print(context: RunContext, made: set[tuple[Address, str]], options: PlanOptions) -> None:
    """Print one variant's plan, and remember what it does."""
    context = with_known_size(context)
    sample = _sample(context, options.sample)
    weighed = None if sample is None else weigh(context.recipe.cache.encoding, sample.sample)
    plan = make_plan(context, weighed)
    if context.recipe.share.store is not None:
        context.screen.say(f"store: {context.store_path}, shared")
    fresh = _without(plan, context, made)
    print_plan(fresh, context.screen)
    asked = options.scale or sample is not None or context.recipe.budget is not None
    if asked and fresh.arrays:  # a store that an earlier variant makes has been told
        for line in scale_lines(make_scale(context, plan, sample, weighed)):
            context.screen.say(line)
    made |= {(_folder(context, step), step.name) for step in plan.steps}
    made |= {(context.store_path, array.name) for array in plan.arrays}


def _sample(context: RunContext, place: Address | None) -> Calibration | None:
    """The sample of logits, None where none is given or nothing is cached."""
    if place is None or not context.recipe.teachers:
        return None
    split = next(iter(context.job.chosen().values()))
    rows = len(split) * split_views(split.name, context.recipe.views)
    return load_sample(place, len(split.classes), rows, [teacher.name for teacher in context.recipe.teachers])


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
