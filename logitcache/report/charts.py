"""What a figure shows, apart from who draws it: small records that Bokeh draws for the page, matplotlib for papers.

Every axis has a label with its unit. Colours are numbers of a theme's series, so that an objective has the same
colour everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from logitcache.report.themes import MUTED

__all__ = ["Axis", "Bar", "Bars", "Chart", "Cloud", "DotRow", "Dots", "Heat", "Lines", "Points", "Series", "limits"]


@dataclass(frozen=True)
class Axis:
    """One axis."""

    label: str
    """What is on it, with the unit."""
    log: bool = False
    span: tuple[float, float] | None = None
    """Its ends; found from the values where None."""
    ticks: tuple[float, ...] = ()
    """The only values that are marked; chosen by whoever draws where empty."""
    whole: bool = False
    """Whether only whole numbers mean anything."""


@dataclass(frozen=True)
class Series:
    """One line; all tuples of the same length."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    colour: int = MUTED
    low: tuple[float, ...] = ()
    """Lower edge of a band around the line; none where empty."""
    high: tuple[float, ...] = ()
    dashed: bool = False
    marks: bool = False
    """Whether each value is marked."""


@dataclass(frozen=True)
class Lines:
    """Lines over a numeric axis."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]


@dataclass(frozen=True)
class DotRow:
    """A row of dots, one a seed, with their mean."""

    name: str
    values: tuple[float, ...]
    mean: float
    stderr: float
    """NaN of one value."""
    colour: int = MUTED
    hollow: bool = False
    seeds: tuple[str, ...] = ()
    """What each value is called."""


@dataclass(frozen=True)
class Dots:
    """Rows of dots over one axis, the first on top."""

    x: Axis
    y: str
    """What a row is."""
    rows: tuple[DotRow, ...]
    line: tuple[str, float] | None = None
    """A name and a value to compare with."""


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its length, and what is written at its end."""

    name: str
    value: float
    text: str
    highlight: bool = False


@dataclass(frozen=True)
class Bars:
    """Horizontal bars from zero, the first on top."""

    x: Axis
    y: str
    """What a bar is."""
    items: tuple[Bar, ...]


@dataclass(frozen=True)
class Heat:
    """A matrix of numbers as shades; NaN cells are empty."""

    x: str
    y: str
    value: str
    """What a number is, with its unit."""
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    """The first on top."""
    values: tuple[tuple[float, ...], ...]
    """A tuple a row."""
    digits: int = 2
    power: float = 1.0
    """Shades grow as this power of the number's place between the lowest and the highest; below 1 lifts small ones."""
    floor: float = -math.inf
    """Numbers below it are shaded but not written."""

    def shade(self, value: float) -> float:
        """How strong a cell is, from 0 to 1."""
        finite = [one for row in self.values for one in row if math.isfinite(one)]
        low, high = min(finite), max(finite)
        place: float = ((value - low) / (high - low)) ** self.power if high > low else 0.5
        return place


@dataclass(frozen=True)
class Points:
    """Points of one kind; all tuples of the same length, those of texts and pictures may be empty."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    colour: int = MUTED
    texts: tuple[str, ...] = ()
    """What is said of each point."""
    pictures: tuple[str, ...] = ()
    """A data URL of each; '' where there is none."""


@dataclass(frozen=True)
class Cloud:
    """Points in the plane, in the same unit on both axes, which are drawn alike."""

    x: Axis
    y: Axis
    groups: tuple[Points, ...]


Chart: TypeAlias = Lines | Dots | Bars | Heat | Cloud


def limits(values: Sequence[float], room: float) -> tuple[float, float]:
    """Ends of an axis around values in percent, with a share of their range left free on both sides."""
    low, high = min(values), max(values)
    free = max(room * (high - low), 0.3)
    return max(math.floor(low - free), 0.0), min(high + free, 100.0)
