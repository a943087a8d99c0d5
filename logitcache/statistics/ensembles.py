"""How different the members of an ensemble are: the block's teacher, the other one, that one's other, and so on.

With M members, p_m their probabilities at a temperature and p their mean:

* JS = H(p) - mean H(p_m), the mutual information of answer and member (Lin 1991), from 0 to log M;
* pairs of members (Kuncheva and Whitaker 2003): disagreement of first answers; double fault, the share of rows that
  both get wrong; Yule's Q = (ad - bc) / (ad + bc) with a rows that both get right, d both wrong, b and c only one;
* accuracy of each member, of the mean of logits, of the mean of probabilities at tau = 1, and of an oracle that picks
  a right member where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from logitcache.errors import InputError
from logitcache.statistics.block import Block
from logitcache.statistics.divergence import probabilities
from logitcache.statistics.measure import About, Tally, variable
from logitcache.statistics.sums import add, by_parts, checked_taus, count, percent, ratio

__all__ = ["Ensemble"]


@dataclass(frozen=True)
class Ensemble:
    """The measure ``ensemble``. Rows whose class nobody knows count for disagreement and JS alone."""

    taus: tuple[float, ...] = (1.0, 4.0)
    name: str = "ensemble"
    needs: frozenset[str] = frozenset({"other"})

    def __post_init__(self) -> None:
        checked_taus(self.taus)

    def tally(self, block: Block) -> Tally:
        """Sums over the rows of a block, in parts that stay in a core's cache."""
        return by_parts(block, self._part, self.merge)

    def merge(self, a: Tally, b: Tally) -> Tally:
        """Sums over the rows of both."""
        return add(a, b)

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """By member, pair of members and temperature."""
        rows, known = total["rows"], total["known"]
        right, both = total["right"], total["both_right"]
        neither = known - right[:, None] - right[None, :] + both
        one = np.multiply(right[:, None] - both, right[None, :] - both, dtype=np.float64)
        alike = np.multiply(both, neither, dtype=np.float64)
        pairs = ("member", "with")
        scalars = {
            "accuracy_mean_logits": ("logits_right", "Accuracy of the mean of the logits"),
            "accuracy_mean_probabilities": ("probabilities_right", "Accuracy of the mean of the probabilities, tau 1"),
            "accuracy_oracle": ("any_right", "Rows that at least one member gets right"),
        }
        tau = ("tau",)
        variables = {
            "rows": variable((), rows, "1", "Rows that were measured"),
            "accuracy": variable(("member",), percent(right, known), "percent", "Accuracy of the member"),
            "disagreement": variable(
                pairs, 100 - percent(total["agreed"], rows), "percent", "First answers that differ"
            ),
            "double_fault": variable(pairs, percent(neither, known), "percent", "Rows that both get wrong"),
            "q_statistic": variable(pairs, ratio(alike - one, alike + one), "1", "Yule's Q of right answers"),
            "unanimous": variable(
                (), percent(total["unanimous"], rows), "percent", "Rows with one first answer of all"
            ),
            **{
                name: variable((), percent(total[key], known), "percent", text) for name, (key, text) in scalars.items()
            },
            "js": variable(tau, ratio(total["js"], rows), "nats", "Mean Jensen-Shannon divergence of all members"),
            "entropy_mean": variable(tau, ratio(total["entropy_mean"], rows), "nats", "Entropy of the mean"),
            "entropy_members": variable(tau, ratio(total["entropy"], rows), "nats", "Mean entropy of the members"),
        }
        names = _names(len(right))
        return xr.Dataset(
            variables, coords={"tau": list(self.taus), "member": names, "with": names}, attrs={"this": about.teacher}
        )

    def _part(self, part: Block) -> dict[str, NDArray[Any]]:
        """The sums of few rows."""
        members = list(_members(part))
        if len(members) < 2:
            raise InputError("measure ensemble needs two teachers at least; name others by --against")
        tops = np.stack([member.top for member in members])
        truth, known = part.labels[part.known], part.known
        right = (tops[:, known] == truth).astype(np.int64)
        mean = np.stack([member.logits for member in members]).mean(axis=0, dtype=np.float64)
        probabilities = np.stack([member.p(1.0) for member in members]).mean(axis=0, dtype=np.float64)
        return {
            "rows": count(part.rows),
            "known": count(known.sum()),
            "right": right.sum(axis=1),
            "both_right": right @ right.T,
            "agreed": (tops[:, None] == tops[None, :]).sum(axis=2, dtype=np.int64),
            "unanimous": count((tops == tops[0]).all(axis=0).sum()),
            "any_right": count(right.any(axis=0).sum()),
            "logits_right": _right(mean[known], truth),
            "probabilities_right": _right(probabilities[known], truth),
            **_information(members, self.taus),
        }


def _members(block: Block) -> Iterator[Block]:
    """The block, and one after another what each is compared with."""
    member: Block | None = block
    while member is not None:
        yield member
        member = member.other


def _information(members: list[Block], taus: tuple[float, ...]) -> dict[str, NDArray[np.float64]]:
    """Sums over rows of JS, of the entropy of the mean and of the mean entropy, each (taus,).

    Float64 throughout, so that JS, their difference, is right to about 1e-14 nats.
    """
    mixed, alone = (np.zeros(len(taus)) for _ in range(2))
    for place, tau in enumerate(taus):
        mean = np.zeros(members[0].logits.shape)
        for member in members:
            p, log_p = probabilities(member.logits, tau)
            alone[place] -= np.einsum("rc,rc->", p, log_p) / len(members)
            mean += p
        mean /= len(members)
        mixed[place] = -np.einsum("rc,rc->", mean, np.log(np.maximum(mean, np.finfo(np.float64).tiny)))
    return {"js": np.maximum(mixed - alone, 0.0), "entropy_mean": mixed, "entropy": alone}


def _right(values: NDArray[Any], truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many rows have their largest value in the true class."""
    return count((values.argmax(axis=1) == truth).sum())


def _names(members: int) -> list[str]:
    """What members are called, alike whichever teacher is measured: this, other 1 in the order given, and so on."""
    return ["this", *(f"other {place}" for place in range(1, members))]
