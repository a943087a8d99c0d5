"""Measure ``plane``: samples of three classes on the plane through the last layer's rows of these classes.

Müller, Kornblith and Hinton 2019, "When does label smoothing help?", section 2; the arithmetic is
:func:`logitcache.statistics.templates.project`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from logitcache.errors import InputError
from logitcache.factories import nearest
from logitcache.statistics.block import Block
from logitcache.statistics.feature_sample import (
    merge_samples,
    per_class_limit,
    sample_of,
    sample_variables,
    take_classes,
)
from logitcache.statistics.measure import About, Tally, variable
from logitcache.statistics.templates import project

__all__ = ["Plane", "choose_three", "classes_named"]

_LISTED = 40
"""Class names that an error lists; of more, the first ones."""


@dataclass(frozen=True)
class Plane:
    """Müller's projection of three classes.

    Variables of the dataset: ``plane_x``, ``plane_y``, ``plane_row``, ``plane_index``, ``plane_class``,
    ``plane_predicted`` (sample): coordinates in units of features, rows of the split, indices in the full data set,
    classes by number; ``plane_template_x``, ``plane_template_y`` (class): the three templates, NaN for other classes.
    Without three classes that have rows, or where the three templates lie on a line, there are no samples.

    Raises:
        InputError: the classes are not three different ones of those that there are.
    """

    classes: tuple[int, int, int] | None = None
    """Three different classes by number; None for two that the last layer finds alike and one that it does not."""
    points: int = 100
    """Samples of each class; fewer where classes and features are many and no three classes are named."""

    name = "plane"
    needs = frozenset({"labels", "features", "head"})

    def __post_init__(self) -> None:
        if self.classes is not None and len(set(self.classes)) != 3:
            raise InputError(f"measure plane: classes {self.classes} were given; name three different ones")

    def _limit(self, classes: int, width: int) -> int:
        """Rows kept of each class."""
        return per_class_limit(self.points, len(self.classes or range(classes)), width)

    def tally(self, block: Block) -> Tally:
        """Rows by class, and the sample of the classes in question."""
        if block.features is None:
            raise ValueError("measure plane needs a block with features")
        wrong = [each for each in self.classes or () if not 0 <= each < block.classes]
        if wrong:
            raise InputError(f"measure plane: there is no class {wrong[0]}; allowed is 0..{block.classes - 1}")
        wanted = block.known if self.classes is None else np.isin(block.labels, self.classes)
        limit = self._limit(block.classes, block.features.shape[1])
        rows = np.bincount(block.labels[block.known], minlength=block.classes).astype(np.int64)
        return {"class_rows": rows, **sample_of(block, np.flatnonzero(wanted), limit)}

    def merge(self, a: Tally, b: Tally) -> Tally:
        """The tally of the rows of both."""
        limit = self._limit(len(a["class_rows"]), a["sample_features"].shape[1])
        return {"class_rows": a["class_rows"] + b["class_rows"], **merge_samples(a, b, limit)}

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """See the class."""
        places, corners = np.empty((0, 2)), np.full((len(about.classes), 2), np.nan)
        classes = self._three(total["class_rows"], about)
        shown = take_classes(total, classes)
        if classes and about.weight is not None:
            templates = about.weight[list(classes)].astype(np.float64)
            try:
                corners[list(classes)] = project(templates, templates)
                places = project(shown["sample_features"], templates)
            except InputError:  # on a line; what other measures found in the same pass is not to be lost
                shown = take_classes(total, ())
        found = sample_variables(shown, about, "plane")
        for axis, letter in enumerate("xy"):
            text = f"{letter} on the plane through three classes' rows of the last layer"
            found[f"plane_{letter}"] = variable(("sample",), places[:, axis], "features", text)
            corner = variable(("class",), corners[:, axis], "features", f"{text}, of these rows")
            found[f"plane_template_{letter}"] = corner
        return xr.Dataset(found, coords={"class": np.array(about.classes), "sample": np.arange(len(places))})

    def _three(self, rows: NDArray[np.int64], about: About) -> tuple[int, ...]:
        """The classes asked for, or three that have rows; none where there are none such."""
        present = np.flatnonzero(rows)
        if about.weight is None or (self.classes is None and len(present) < 3):
            return ()
        return self.classes or tuple(int(present[k]) for k in choose_three(about.weight[present].astype(np.float64)))


def choose_three(weight: NDArray[np.float64]) -> tuple[int, int, int]:
    """The two classes whose rows of the last layer have the largest cosine, and the one farthest from both.

    Rows are centred first, as adding one vector to all of them changes no probability.

    Args:
        weight: (classes, features), three classes at least.
    """
    centred = weight - weight.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    first, second = sorted(int(each) for each in np.unravel_index(cosines.argmax(), cosines.shape))
    nearer = np.maximum(cosines[first], cosines[second])
    nearer[[first, second]] = np.inf
    return first, second, int(nearer.argmin())


def classes_named(words: Sequence[str | int], names: Sequence[str]) -> tuple[int, int, int]:
    """Three classes by number, from their names or numbers; a name that is also a number counts as a name.

    Args:
        words: what was given.
        names: names of the classes in the order of the logits; empty where nobody named them.

    Raises:
        InputError: a class is not there, or they are not three different ones.
    """
    if len(words) != 3:
        raise InputError(f"measure plane: {len(words)} classes were given; name three")
    first, second, third = (_number(word, names) for word in words)
    if len({first, second, third}) != 3:
        raise InputError(f"measure plane: {', '.join(map(str, words))} were given; name three different classes")
    return first, second, third


def _number(word: str | int, names: Sequence[str]) -> int:
    """The number of a class."""
    if word in names:
        return names.index(str(word))
    number = word if isinstance(word, int) else int(word) if word.isdecimal() else -1
    if number < 0 or (names and number >= len(names)):
        listed = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
        known = f"there are {listed}; or give numbers, 0..{len(names) - 1}" if names else "give numbers, 0 or more"
        raise InputError(f"measure plane: there is no class {word!r}{nearest(str(word), names)}; {known}")
    return number
