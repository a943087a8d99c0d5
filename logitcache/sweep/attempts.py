"""One attempt at training a unit: it succeeds, or there is a failure to tell of; a sweep goes on either way."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from logitcache.errors import LogitcacheError
from logitcache.sweep.events import Listener, ListenerError, one_line
from logitcache.sweep.trainers import train_unit
from logitcache.sweep.units import Unit
from logitcache.sweep.workshop import Workshop

__all__ = ["RUN_ERRORS", "Failure", "attempt", "tell_of_stage"]

RUN_ERRORS = (LogitcacheError, RuntimeError, OSError, ValueError, ArithmeticError, MemoryError)
"""What a damaged block, a full disk, a lack of memory or a user's own network raise: errors of one run."""


@dataclass(frozen=True)
class Failure:
    """Why a unit was not trained to its end.

    Attributes:
        reason: one line.
        died: whether its process died, so that it had no part in saying so.
    """

    reason: str
    died: bool = False


def attempt(workshop: Workshop, unit: Unit, tell: Listener) -> Failure | None:
    """Train a unit; None where it came to its end.

    Errors of listeners, and mistakes of this program such as a wrong name, are no failures of a unit: they are raised.
    """
    try:
        try:
            train_unit(workshop, unit, tell)
        finally:
            tell_of_stage(workshop, tell)
    except ListenerError:
        raise
    except RUN_ERRORS as error:
        failure = Failure(one_line(error))
    else:
        return None
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # what the failed attempt held, for the next one
    return failure


def tell_of_stage(workshop: Workshop, tell: Listener) -> None:
    """Tell what the workshop's stage was good for, where it has one."""
    staged = workshop.staged()
    if staged is not None:
        tell(staged)
