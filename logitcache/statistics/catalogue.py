"""The measures by the names that they have on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from logitcache.errors import InputError
from logitcache.factories import nearest
from logitcache.statistics.agreement import Agreement
from logitcache.statistics.covariance import Covariance
from logitcache.statistics.ensembles import Ensemble
from logitcache.statistics.fidelity import EncodingFidelity
from logitcache.statistics.histogram import Histogram
from logitcache.statistics.label_quality import LabelQuality
from logitcache.statistics.measure import Measure, ViewsMeasure
from logitcache.statistics.moments import Moments
from logitcache.statistics.pairs import Pair
from logitcache.statistics.penultimate import Penultimate
from logitcache.statistics.plane import Plane
from logitcache.statistics.similarity import Similarity
from logitcache.statistics.softness import Softness
from logitcache.statistics.topk import TopK
from logitcache.statistics.view_information import Views

__all__ = ["CATALOGUE", "LOGIT_MEASURES", "AnyMeasure", "Entry", "Settings", "make_measures"]

AnyMeasure: TypeAlias = Measure | ViewsMeasure


@dataclass(frozen=True)
class Settings:
    """What measures that are made by name are told."""

    taus: tuple[float, ...]
    """The temperatures asked for, which other measures find in their blocks."""
    plane: tuple[int, int, int] | None = None
    """Three classes by number; None for a choice of the measure's own."""


@dataclass(frozen=True)
class Entry:
    """A measure that can be asked for by name."""

    make: Callable[[Settings], AnyMeasure]
    default: bool = True
    """Whether it is made where its needs are met when no measure is named; else it must be named."""


CATALOGUE: Mapping[str, Entry] = {
    "moments": Entry(lambda _: Moments()),
    "histogram": Entry(lambda _: Histogram()),
    "agreement": Entry(lambda _: Agreement()),
    "tau": Entry(lambda _: Softness()),
    "topk": Entry(lambda _: TopK()),
    "covariance": Entry(lambda _: Covariance()),
    "labels": Entry(lambda _: LabelQuality()),
    "penultimate": Entry(lambda _: Penultimate(head=False)),  # with NaN for what needs a last layer that is not known
    "plane": Entry(lambda settings: Plane(settings.plane)),
    "pair": Entry(lambda settings: Pair(settings.taus)),
    "similarity": Entry(lambda _: Similarity()),
    "ensemble": Entry(lambda settings: Ensemble(settings.taus), default=False),
    "fidelity": Entry(lambda settings: EncodingFidelity(settings.taus), default=False),
    "views": Entry(lambda settings: Views(settings.taus), default=False),  # reads every view
}

LOGIT_MEASURES = ("moments", "histogram", "agreement", "tau", "topk")
"""All measures of one teacher's logits but the covariance, whose work grows with the square of the classes."""


def make_measures(
    asked: Sequence[str | AnyMeasure] | None, taus: tuple[float, ...], plane: tuple[int, int, int] | None = None
) -> tuple[AnyMeasure, ...]:
    """Measures by name, or as they are; None for those of the catalogue that need not be asked for.

    Args:
        asked: names, or measures.
        taus: the temperatures asked for.
        plane: classes of the measure ``plane``, which is then made whether it was named or not.

    Raises:
        InputError: a name is not in the catalogue, or two measures have one name.
    """
    wanted = [name for name, entry in CATALOGUE.items() if entry.default] if asked is None else list(asked)
    if plane is not None and "plane" not in wanted:
        wanted.append("plane")
    unknown = [each for each in wanted if isinstance(each, str) and each not in CATALOGUE]
    if unknown:
        raise InputError(
            f"measure {unknown[0]!r} is not known{nearest(unknown[0], CATALOGUE)}; there are {', '.join(CATALOGUE)}"
        )
    settings = Settings(taus, plane)
    made = tuple(CATALOGUE[each].make(settings) if isinstance(each, str) else each for each in wanted)
    names = [measure.name for measure in made]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"measure {twice[0]!r} was asked for twice; ask once")
    if not made:
        raise InputError(f"no measure was asked for; there are {', '.join(CATALOGUE)}")
    return made
