"""Which labels measures go by: the true classes, the noisy labels that a store has beside them, or the user's own.

A store of data with noise (``data.noise`` of a recipe, or annotators' labels beside the true ones) has both. Accuracy,
margins and whatever else goes by class are of the true classes; ``labels``, the measure of label quality, looks at the
noisy ones, which are those that somebody would have to find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from logitcache.errors import InputError
from logitcache.statistics.stores import MeasuredStore

__all__ = ["Choice", "Labels", "labels_of", "read_choice"]

Numbers = NDArray[np.int64]

Choice: TypeAlias = Literal["auto", "clean", "noisy"] | Mapping[str, Numbers]
"""``auto``, as the module says; ``clean`` or ``noisy`` for all measures; or by split, int64 (samples,), also for all:
what is no class says that nobody knows it, and splits that are not named keep ``auto``."""

_WORDS: tuple[Literal["auto", "clean", "noisy"], ...] = ("auto", "clean", "noisy")


@dataclass(frozen=True)
class Labels:
    """Of the samples of a split, int64 (samples,) each; what is no class says that nobody knows it."""

    true: Numbers
    """The class that counts as right."""
    given: Numbers | None = None
    """The label whose quality is in question; None where it is the same."""


def labels_of(store: MeasuredStore, split: str, choice: Choice) -> Labels:
    """The labels of a split.

    Raises:
        InputError: noisy ones are asked for that no split has, or a split is named that is not there, or given others
            than one a sample.
    """
    if not isinstance(choice, str):
        _check_given(store, choice)
        return Labels(choice[split]) if split in choice else labels_of(store, split, "auto")
    if choice not in _WORDS:
        raise InputError(f"labels = {choice!r}: allowed are {', '.join(_WORDS)}, and arrays by split")
    if choice == "noisy" and all(store.split(name).noise is None for name in store.splits):
        raise InputError(f"{store.url} has no noisy labels; leave out labels = 'noisy' (--labels noisy)")
    clean = store.labels(split)
    if choice == "clean" or store.split(split).noise is None:
        return Labels(clean)
    noisy = store.labels(split, "noisy")
    return Labels(noisy) if choice == "noisy" else Labels(clean, noisy)


def _check_given(store: MeasuredStore, choice: Mapping[str, Numbers]) -> None:
    """Refuse labels that are not integers, one a sample of a split that is there."""
    for split, labels in choice.items():
        if split not in store.splits:
            raise InputError(f"labels of split {split!r} were given; {store.url} has {', '.join(store.splits)}")
        samples = len(store.labels(split))
        if labels.shape != (samples,) or labels.dtype.kind not in "iu":
            raise InputError(
                f"labels of split {split!r} are {labels.dtype} of shape {labels.shape}; give integers ({samples},)"
            )


def read_choice(words: Sequence[str], store: MeasuredStore) -> Choice:
    """What ``--labels`` says: one of the words, or ``SPLIT=FILE.npy``, which can be repeated.

    Raises:
        InputError: a word is neither, or a file holds no integers.
    """
    for word in _WORDS:
        if list(words or ["auto"]) == [word]:
            return word
    found: dict[str, Numbers] = {}
    for given in words:
        split, mark, file = given.partition("=")
        if not mark or not file:
            raise InputError(f"--labels {given}: say auto, clean or noisy once, or SPLIT=FILE.npy for each split")
        found[split] = _load(Path(file))
    _check_given(store, found)
    return found


def _load(path: Path) -> Numbers:
    """The integers of a file."""
    try:
        labels: Any = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"--labels: {path} cannot be read as .npy ({error})") from error
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        raise InputError(f"--labels: {path} holds no array of integers; give one class number a sample")
    return labels.astype(np.int64)
