"""Two teachers on the same rows, or a student and its teacher: how far apart, and where it matters.

"This" is the teacher that is measured, "other" the one that it is compared with; a student is measured against its
teacher by ``--against``. With z the logits of this one, z' those of the other, and K classes:

* KL(other || this), which a student minimises, KL(this || other), and JS, at each temperature (Lin 1991);
* ``||z - z'||``; the mean shift d of a row is the mean over classes of z - z', and ``sum K d**2 / sum ||z - z'||**2``
  the share of the squared distance that a constant takes, which no softmax sees (Kim et al. 2021);
* agreement of their first answers, Spearman's rho of each row's logits;
* answers right or wrong, T/F for this one right and the other wrong, by true class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from logitcache.errors import InputError
from logitcache.statistics.block import Block
from logitcache.statistics.divergence import divergences
from logitcache.statistics.measure import About, Tally, variable
from logitcache.statistics.rank_correlation import spearman_rows
from logitcache.statistics.sums import add, by_parts, checked_taus, count, percent, ratio, total_of

__all__ = ["OUTCOMES", "Pair"]

OUTCOMES = ("T/T", "T/F", "F/T", "F/F")
"""Whether this one and the other are right."""

_SAME_ERROR = len(OUTCOMES)
_CELLS = len(OUTCOMES) + 1


@dataclass(frozen=True)
class Pair:
    """The measure ``pair``. Rows whose class nobody knows count for all but the outcomes."""

    taus: tuple[float, ...] = (1.0, 4.0)
    name: str = "pair"
    needs: frozenset[str] = frozenset({"other"})

    def __post_init__(self) -> None:
        checked_taus(self.taus)

    def tally(self, block: Block) -> Tally:
        """Sums over the rows of a block and of the other teacher's."""
        return by_parts(block, self._part, self.merge)

    def merge(self, a: Tally, b: Tally) -> Tally:
        """Sums over the rows of both."""
        return add(a, b)

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """Means over rows, by temperature and by true class."""
        rows, known = int(total["rows"]), int(total["outcomes"].sum())
        outcomes = total["outcomes"][:, : len(OUTCOMES)].copy()
        outcomes[:, OUTCOMES.index("F/F")] += total["outcomes"][:, _SAME_ERROR]
        both = f"{about.teacher} and {about.other or 'the other'}"
        tau, scalar = ("tau",), ()
        variables: dict[str, xr.Variable] = {
            "rows": variable(scalar, rows, "1", "Rows that were compared"),
            "kl_other_this": variable(tau, ratio(total["kl_other_this"], rows), "nats", "Mean KL(other || this)"),
            "kl_this_other": variable(tau, ratio(total["kl_this_other"], rows), "nats", "Mean KL(this || other)"),
            "js": variable(tau, ratio(total["js"], rows), "nats", "Mean Jensen-Shannon divergence"),
            **_distances(total, rows),
            "agreement": variable(scalar, percent(total["agreed"], rows), "percent", "Rows with the same first answer"),
            "rank_correlation": variable(
                scalar, ratio(total["rho"], total["ranked"]), "1", "Mean of Spearman's rho of a row's logits"
            ),
            "outcome_rows": variable(("class", "outcome"), outcomes, "1", "Rows by who is right, this/other"),
            "outcome_share": variable(
                ("outcome",), percent(outcomes.sum(0), known), "percent", "Rows by who is right, this/other"
            ),
            "same_error_share": variable(
                scalar, percent(total["outcomes"][:, _SAME_ERROR].sum(), known), "percent", "Rows with one wrong answer"
            ),
        }
        labels = {"tau": list(self.taus), "class": list(about.classes), "outcome": list(OUTCOMES)}
        return xr.Dataset(variables, coords=labels, attrs={"compared": both, "other": about.other})

    def _part(self, part: Block) -> dict[str, NDArray[Any]]:
        """The sums of few rows, whose temporaries stay in a core's cache."""
        other = part.other
        if other is None:
            raise InputError("measure pair compares two teachers, and there is only one; name the other by --against")
        forward, reverse, js = np.array(
            [[each.sum() for each in divergences(part.logits, other.logits, tau)] for tau in self.taus]
        ).T
        apart = part.logits - other.logits
        squares = np.einsum("rc,rc->r", apart, apart).astype(np.float64)
        shift = apart.mean(axis=1, dtype=np.float64)
        rho = spearman_rows(part.logits, other.logits)
        return {
            "rows": count(part.rows),
            "kl_other_this": forward,
            "kl_this_other": reverse,
            "js": js,
            "distance": total_of(np.sqrt(squares).sum()),
            "squares": total_of(squares.sum()),
            "shift": total_of(shift.sum()),
            "shift_squares": total_of((part.classes * np.square(shift)).sum()),
            "agreed": count((part.top == other.top).sum()),
            "rho": total_of(np.nansum(rho)),
            "ranked": count(np.isfinite(rho).sum()),
            "outcomes": _outcomes(part, other),
        }


def _distances(total: Tally, rows: int) -> Mapping[str, xr.Variable]:
    """What is said of the logits themselves."""
    return {
        "distance": variable((), ratio(total["distance"], rows), "logits", "Mean distance of the rows of logits"),
        "distance_rms": variable(
            (), np.sqrt(ratio(total["squares"], rows)), "logits", "Root mean square distance of the rows of logits"
        ),
        "mean_shift": variable((), ratio(total["shift"], rows), "logits", "Mean over rows and classes of this - other"),
        "shift_share": variable(
            (), ratio(total["shift_squares"], total["squares"]), "1", "Share of the squared distance that shifts take"
        ),
    }


def _outcomes(this: Block, other: Block) -> NDArray[np.int64]:
    """Rows by true class and outcome, int64 (classes, 5): T/T, T/F, F/T, F/F with two answers, F/F with one."""
    truth = this.labels[this.known]
    ours, theirs = this.top[this.known], other.top[this.known]
    cell = 2 * (ours != truth).astype(np.int64) + (theirs != truth)
    cell[(ours == theirs) & (ours != truth)] = _SAME_ERROR
    counts = np.bincount(truth * _CELLS + cell, minlength=this.classes * _CELLS)
    return counts.reshape(this.classes, _CELLS).astype(np.int64)
