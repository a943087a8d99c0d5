"""A command on each variant of a recipe, one after another, saying which."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from logitcache.address import Address, same_place
from logitcache.errors import InputError, MismatchError
from logitcache.pipeline.context import RunContext
from logitcache.student.distributed import read_environment

__all__ = ["of_store", "walk"]


def walk(contexts: Sequence[RunContext], step: Callable[[RunContext], object]) -> None:
    """Do a step for every variant; under ``torchrun`` rank 0 alone says which.

    Raises:
        MismatchError: as the step raises it, with what to do where the store is shared.
    """
    leads = read_environment(os.environ)[0].leads
    for place, context in enumerate(contexts, 1):
        if context.recipe.variant is not None and leads:
            of_all = f" ({place} of {len(contexts)})" if len(contexts) > 1 else ""
            context.screen.say(f"variant {context.recipe.variant}{of_all}")
        with _advice_on_sharing(context):
            step(context)


def of_store(contexts: Sequence[RunContext], store: Address) -> tuple[RunContext, ...]:
    """The variants that a store is of, one where several have the same teachers in it.

    Raises:
        InputError: there are several variants, and it is the store of none.
    """
    if len(contexts) == 1:
        return tuple(contexts)
    found: list[RunContext] = []
    for context in contexts:
        stage_one = [(each.recipe.teachers, each.recipe.cache) for each in found]
        mine = same_place(context.store_path, store)
        if mine and (context.recipe.teachers, context.recipe.cache) not in stage_one:
            found.append(context)
    if not found:
        stores = ", ".join(f"{context.recipe.variant}: {context.store_path}" for context in contexts)
        raise InputError(
            f"{store} is the store of none of the recipe's variants; choose one by --set variant=NAME ({stores})"
        )
    return tuple(found)


@contextmanager
def _advice_on_sharing(context: RunContext) -> Iterator[None]:
    """Say what can be done about a shared store that a recipe does not fit."""
    try:
        yield
    except MismatchError as error:
        shared = context.recipe.share.store
        if shared is None:
            raise
        advice = (
            f"{context.store_path} is shared (share.store = {shared!r}): recipes that share a store must say the same "
            "of data, views, cache and of teachers of one name; give this teacher another name, or share.store another"
        )
        raise MismatchError(error.what, error.stored, error.given, advice) from error
