"""The errors that logitcache raises, each with the exit code of the command line.

::

    LogitcacheError
    ├── InputError           wrong usage or input                      exit code 2
    │   ├── RecipeError      faults of a recipe, all of them at once
    │   └── MismatchError    a store meets another data set, teacher, view policy or encoding
    ├── RemoteError          an object store fails or refuses          exit code 2
    └── CheckError           a check failed                            exit code 1
        ├── DamageError      stored bytes are not those that were committed
        ├── MissingError     a block that was never committed was asked for
        └── DivergedError    training left the finite numbers

Every message says what was given, what is allowed and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "CheckError",
    "DamageError",
    "DivergedError",
    "Fault",
    "InputError",
    "LogitcacheError",
    "MismatchError",
    "MissingError",
    "RecipeError",
    "RemoteError",
    "StageWarning",
    "UnknownOriginWarning",
]


class LogitcacheError(Exception):
    """Base of all errors that are meant for people; its text is the whole message."""

    exit_code = 2


class InputError(LogitcacheError):
    """Wrong usage or input: a missing file, a count that differs, a number out of range."""


@dataclass(frozen=True)
class Fault:
    """One fault of a recipe: where it is, what stands there, and what is allowed."""

    key: str
    value: str
    allowed: str

    def __str__(self) -> str:
        """The fault on one line."""
        return f"{self.key} = {self.value}: {self.allowed}"


class RecipeError(InputError):
    """All faults of one recipe, reported together."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.source, self.faults = source, tuple(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__(f"{source}: {count}\n" + "\n".join(f"  {fault}" for fault in self.faults))

    def __reduce__(self) -> tuple[type[RecipeError], tuple[str, tuple[Fault, ...]]]:
        """Pickles with its parts, so that worker processes can raise it."""
        return RecipeError, (self.source, self.faults)


class MismatchError(InputError):
    """A store was made from something else than what is at hand now."""

    def __init__(self, what: str, stored: str, given: str, advice: str) -> None:
        self.what, self.stored, self.given, self.advice = what, stored, given, advice
        super().__init__(f"{what} differs: the store has {stored}, given was {given}; {advice}")

    def __reduce__(self) -> tuple[type[MismatchError], tuple[str, str, str, str]]:
        """Pickles with its parts, so that worker processes can raise it."""
        return MismatchError, (self.what, self.stored, self.given, self.advice)


class RemoteError(LogitcacheError):
    """An object store cannot be reached, or refuses what is asked of it."""


class CheckError(LogitcacheError):
    """A check failed: the request was right, what it met is not."""

    exit_code = 1


class DamageError(CheckError):
    """Stored bytes are not those that were committed."""


class MissingError(CheckError):
    """A block that was never committed was asked for."""


class DivergedError(CheckError):
    """Training left the finite numbers."""


class UnknownOriginWarning(UserWarning):
    """A store meets a data set, and what would tell whether they belong together was never known."""


class StageWarning(UserWarning):
    """A stage keeps no more shards, because its disk is full or fails; they are read from the store."""
