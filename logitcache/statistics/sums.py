"""Arithmetic that tallies share: sums of two tallies, and means that are NaN of nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logitcache.errors import InputError
from logitcache.statistics.block import Block
from logitcache.statistics.measure import Tally

__all__ = ["add", "by_parts", "checked_taus", "count", "percent", "ratio", "total_of"]


def add(a: Tally, b: Tally, largest: Collection[str] = ()) -> dict[str, NDArray[Any]]:
    """Two tallies of the same names and shapes as one: sums, and the larger of two where ``largest`` names them."""
    return {name: np.maximum(a[name], b[name]) if name in largest else a[name] + b[name] for name in a}


def by_parts(block: Block, tally: Callable[[Block], Tally], merge: Callable[[Tally, Tally], Tally]) -> Tally:
    """The tally of a block from those of its parts, which stay in a core's cache.

    Raises:
        InputError: the block has no rows.
    """
    if not block.rows:
        raise InputError("a block without rows cannot be measured")
    return reduce(merge, map(tally, block.parts()))


def count(number: Any) -> NDArray[np.int64]:
    """A count as an entry of a tally, int64 ()."""
    return np.array(number, dtype=np.int64)


def total_of(number: Any) -> NDArray[np.float64]:
    """A sum or an extreme as an entry of a tally, float64 ()."""
    return np.array(number, dtype=np.float64)


def ratio(part: Any, whole: Any) -> NDArray[np.float64]:
    """Part / whole in float64, broadcast; NaN where the whole is 0."""
    above, below = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    shares: NDArray[np.float64] = np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
    return shares


def percent(part: Any, whole: Any) -> NDArray[np.float64]:
    """The same in percent."""
    return 100.0 * ratio(part, whole)


def checked_taus(taus: Sequence[float]) -> None:
    """Refuse temperatures at which there is no softmax.

    Raises:
        InputError: a temperature is not a finite number above 0, or there is none.
    """
    wrong = [tau for tau in taus if not (np.isfinite(tau) and tau > 0)]
    if wrong or not taus:
        given = ", ".join(f"{tau:g}" for tau in taus) or "none"
        raise InputError(f"temperatures {given} were given; needed are finite numbers above 0")
