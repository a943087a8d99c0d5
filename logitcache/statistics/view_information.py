"""What the views of a sample tell beyond each other.

With p_v the probabilities of view v at a temperature, m_n the mean of the first n views and V views in all:

* variance: ``mean_v ||p_v - m_V||**2``, updated from view to view (Welford 1962), by logit and by true class;
* agreement of first answers with the clean view, of two views picked at random, and of the most frequent answer;
  how often a view's first answer was that of none before;
* information I_n = H(m_n) - mean H(p_v) over the first n views: what an answer says about the view it came from, from
  0 where all are alike to log n (Lin 1991). View n adds ``n I_n - (n - 1) I_(n-1)``, which is what is summed, as
  ``sum_k m (phi(x) + (n - 1) phi(-x / (n - 1)))`` with x = p_n / m_n - 1 and phi(x) = (1 + x) log(1 + x) - x: terms
  that are never negative and keep their digits where views are alike;
* effective views: ``exp I_V``, the mean over samples: how many views that share nothing tell as much (Hill 1973);
* views that suffice: the smallest n whose I_n is 95 % of I_V.

Arithmetic of a row is float64, its mean is kept as float32: 4 bytes for each logit of a run of rows and temperature,
and 2 for its first answers, whatever the number of views. The pass cuts long blocks into runs of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from logitcache.errors import InputError
from logitcache.statistics.block import Block
from logitcache.statistics.measure import About, Tally, variable
from logitcache.statistics.running_views import Answers, RunningMean
from logitcache.statistics.sums import add, checked_taus, percent, ratio

__all__ = ["ENOUGH", "Views"]

ENOUGH = 0.95
"""The share of the information of all views with which fewer of them suffice."""


@dataclass(frozen=True)
class Views:
    """The measure ``views``."""

    taus: tuple[float, ...] = (1.0, 4.0)
    name: str = "views"
    needs: frozenset[str] = frozenset({"views"})

    def __post_init__(self) -> None:
        checked_taus(self.taus)

    def tally_views(self, blocks: Iterator[Block]) -> Tally:
        """Sums over rows, from one view after another of the same rows."""
        means: list[RunningMean] = []
        answers: Answers | None = None
        for block in blocks:
            if answers is None:
                answers = Answers(block)
                means = [RunningMean(block, tau) for tau in self.taus]
                continue
            answers.add(block)
            for mean in means:
                mean.add(block)
        if answers is None:
            raise InputError("there are no views to compare")
        found = [mean.sums(answers.labels) for mean in means]
        return {**answers.sums(), **{name: np.stack([each[name] for each in found]) for name in found[0]}}

    def merge(self, a: Tally, b: Tally) -> Tally:
        """Sums over the rows of both."""
        return add(a, b)

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """By temperature, view, logit and true class; the first view is the clean one."""
        rows = total["rows"]
        views = total["gain"].shape[1]
        gain = ratio(total["gain"], rows)
        information = gain.cumsum(axis=1) / np.arange(1, views + 1)
        tau, view = ("tau",), ("tau", "view")
        by_class = ratio(total["variance_class"], total["class_rows"])
        variables = {
            "rows": variable((), rows, "1", "Samples that were measured"),
            "variance": variable(
                tau, ratio(total["variance_logit"].sum(1), rows), "1", "Variance of a sample's probabilities over views"
            ),
            "variance_logit": variable(
                ("tau", "logit"), ratio(total["variance_logit"], rows), "1", "The same of each class's probability"
            ),
            "variance_class": variable(("tau", "class"), by_class, "1", "The same by true class"),
            "information": variable(view, information, "nats", "Information of the views up to this one"),
            "gain": variable(view, gain, "nats", "Information that this view adds to those before"),
            "effective_views": variable(tau, ratio(total["effective"], rows), "1", "Effective number of views"),
            "views_enough": variable(tau, _enough(information), "1", "Views with 95 % of the information of all"),
            **_answers(total, views),
        }
        labels = {"tau": list(self.taus), "view": range(views)}
        return xr.Dataset(variables, {**labels, "logit": list(about.classes), "class": list(about.classes)})


def _answers(total: Tally, views: int) -> dict[str, xr.Variable]:
    """What is said of first answers."""
    rows, known, view = total["rows"], total["known"], ("view",)
    return {
        "agreement": variable(
            view, percent(total["agreed"], rows), "percent", "First answers that are the clean view's"
        ),
        "new_answer": variable(view, percent(total["fresh"], rows), "percent", "First answers that no view before had"),
        "accuracy": variable(view, percent(total["right"], known), "percent", "Accuracy of the view"),
        "accuracy_vote": variable(
            (), percent(total["vote_right"], known), "percent", "Accuracy of the most frequent answer"
        ),
        "agreement_pairs": variable(
            (), percent(total["pairs"], rows * views * (views - 1)), "percent", "First answers of two views that agree"
        ),
        "consensus": variable(
            (), percent(total["votes"], rows * views), "percent", "Views with the most frequent answer"
        ),
        "answers": variable((), ratio(total["answers"], rows), "1", "Different first answers of a sample"),
    }


def _enough(information: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest number of views with ``ENOUGH`` of the information, (taus,); 1 where there is none at all."""
    reached = information >= ENOUGH * information[:, -1:]
    # without rows nothing is reached
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.nan)
