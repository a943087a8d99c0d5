"""Measure ``labels``: samples whose soft targets contradict their label, and how much label noise that makes likely.

**Suspects.** A row whose most probable class is not its label is a suspect. Suspects are ranked by the normalised
margin ``p_label - p_predicted`` (Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in
dataset labels", section 3.2), the most negative first; equal margins, as where both are saturated, by the difference
of log-probabilities, then by row. Kept are the first ``count`` of all and the first ``per_class`` of each label.

**Noise rate**, by the confident joint of the same article, section 3.1: the threshold ``t_j`` is the mean of ``p_j``
over the rows labelled j; a row labelled i counts in ``C[i, j]`` where j is its most probable class and
``p_j >= t_j``. Each row of C is scaled to the number of rows with that label, and the noise rate is the share off the
diagonal. A label with no confident row is taken as right.

What differs from the article, so that one pass suffices. (1) Only the most probable class is a candidate: the same
wherever the threshold of that class is passed, as it must be where all thresholds are above 1/2; a row whose most
probable class fails its threshold is left out although a less probable one may pass. (2) Confidences are kept in
bins of log-odds ``log(p / (1 - p))`` of width 1/8 within [-8, 16], and ``t_j`` is rounded down to its bin's edge.

Labels are those that may be wrong, ``Block.given``: the noisy ones where a store has such. True classes that are known
beside them count for what is said of the labels, not for what is estimated.

Probabilities should be of a teacher that was not trained on these very labels: one that has memorised a wrong label
does not contradict it, so that on its own training split the estimate is too low.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from logitcache.statistics.block import Block
from logitcache.statistics.measure import About, Tally, variable
from logitcache.statistics.ranked import first_of_groups, join_lists, places, take
from logitcache.statistics.sums import percent, ratio

__all__ = ["LabelQuality", "calibrated_joint", "confident_joint"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

LOWEST, HIGHEST, WIDTH = -8.0, 16.0, 0.125
BINS = round((HIGHEST - LOWEST) / WIDTH)

_LIST = ("row", "view", "label", "true", "predicted", "p_label", "p_predicted", "margin", "log_margin")
_SUMS = ("class_rows", "class_doubt", "checked", "wrong")


def exponential_sums(block: Block, tau: float) -> Floats:
    """Sum of exp((z - max z) / tau) of each row, float64 (rows,): what is above 1 is exact however little it is."""
    sums = []
    for part in block.parts():
        below = torch.from_numpy(part.logits - part.largest[:, None])
        below *= 1.0 / tau
        sums.append(below.exp_().sum(dim=1, dtype=torch.float64).numpy())
    return np.concatenate(sums)


def odds_bin(p: NDArray[Any], doubt: NDArray[Any]) -> Counts:
    """The bin of log(p / doubt), ``doubt`` being 1 - p; beyond the ends, the bins at the ends; int64."""
    with np.errstate(divide="ignore"):
        odds = np.log(p) - np.log(doubt)
    bins: Counts = np.clip(np.floor((odds - LOWEST) / WIDTH), 0, BINS - 1).astype(np.int64)
    return bins


@dataclass(frozen=True)
class LabelQuality:
    """Suspicious labels and the estimated noise rate.

    The tally holds, beside the lists of suspects, one count for each triple (label, predicted class, bin of
    confidence) that occurs: at most as many as there are rows, for most teachers far fewer.

    Variables of the dataset, K classes:

    * ``label_rows``, ``label_contradicted``, ``label_noise_rate``: rows with a label, shares of them in percent;
      ``label_wrong``: the true share of wrong labels, NaN where no true classes are known beside them;
    * ``label_class_rows``, ``label_class_contradicted``, ``label_class_noise_rate``, ``label_threshold`` (class);
    * ``label_joint`` (class, predicted): share of the rows, in percent, that have this label and that true class;
    * ``suspect_row``, ``suspect_index``, ``suspect_view``, ``suspect_label``, ``suspect_true``, ``suspect_predicted``,
      ``suspect_p_label``, ``suspect_p_predicted``, ``suspect_margin``, ``suspect_class_rank`` (rank): rows of the
      split, their indices in the full data set (-1 where unknown), classes by number (the true one -1 where it is not
      known beside the label), and the place among the suspects of the same label, from 0. Ranks below ``count`` are
      ranks among all suspects; what follows are further ones of their classes.
    """

    tau: float = 1.0
    """Temperature of the probabilities."""
    count: int = 200
    """Suspects listed of all."""
    per_class: int = 20
    """Suspects listed of each label."""

    name = "labels"
    needs = frozenset({"given"})

    def tally(self, block: Block) -> Tally:
        """Sums by label, confident counts and suspects of one block."""
        known = np.flatnonzero(block.given >= 0)
        labels, top = block.given[known], block.top[known]
        true = np.full(len(known), -1) if block.given is block.labels else block.labels[known]
        total = exponential_sums(block, self.tau)[known]
        log_margin = (block.logits[known, labels].astype(np.float64) - block.largest[known]) / self.tau
        of_label, of_top = np.exp(log_margin) / total, 1 / total
        top_doubt = (total - 1) / total
        doubt = np.where(labels == top, top_doubt, 1 - of_label)
        bins = odds_bin(of_top, top_doubt)
        keys, counts = np.unique((labels * block.classes + top) * BINS + bins, return_counts=True)
        rows = {
            "row": block.first + known,
            "view": np.full(len(known), block.view, np.int64),
            "label": labels,
            "true": true,
            "predicted": top,
            "p_label": of_label,
            "p_predicted": of_top,
            "margin": of_label - of_top,
            "log_margin": log_margin,
        }
        return {
            "class_rows": np.bincount(labels, minlength=block.classes).astype(np.int64),
            "class_doubt": np.bincount(labels, weights=doubt, minlength=block.classes).astype(np.float64),
            "checked": np.array((true >= 0).sum()),
            "wrong": np.array(((true >= 0) & (true != labels)).sum()),
            "keys": keys.astype(np.int64),
            "counts": counts.astype(np.int64),
            **self._worst(take(rows, np.flatnonzero(labels != top))),
        }

    def merge(self, a: Tally, b: Tally) -> Tally:
        """Sums added, counts added by triple, the worst of both lists."""
        keys, places = np.unique(np.concatenate((a["keys"], b["keys"])), return_inverse=True)
        counts = np.zeros(len(keys), np.int64)
        np.add.at(counts, places, np.concatenate((a["counts"], b["counts"])))
        return {
            **{name: a[name] + b[name] for name in _SUMS},
            "keys": keys,
            "counts": counts,
            **self._worst(join_lists(a, b, _LIST)),
        }

    def _worst(self, rows: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The first ``count`` of all and the first ``per_class`` of each label, the most contradicted first."""
        order = tuple(rows[name] for name in ("margin", "log_margin", "row", "view"))
        of_all = first_of_groups(np.zeros(len(rows["row"]), np.int64), order, self.count)
        of_class = first_of_groups(rows["label"], order, self.per_class)
        return take(rows, np.concatenate((of_all, np.setdiff1d(of_class, of_all))))

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """See the class."""
        joint, threshold = confident_joint(total, len(about.classes))
        rows = total["class_rows"]
        shares = calibrated_joint(joint, rows)
        rate = 100 * (1 - np.trace(shares)) if rows.any() else np.nan
        wrong = percent(total["wrong"], total["checked"])
        noise = 100 * (1 - ratio(np.diag(shares), ratio(rows, rows.sum())))
        found = {
            "label_rows": variable((), rows.sum(), "1", "rows whose label is known"),
            "label_noise_rate": variable((), rate, "percent", "estimated share of wrong labels"),
            "label_wrong": variable((), wrong, "percent", "true share of wrong labels, where it is known"),
            "label_class_rows": variable(("class",), rows, "1", "rows with this label"),
            "label_class_noise_rate": variable(
                ("class",), noise, "percent", "estimated share of wrong ones among the rows with this label"
            ),
            "label_threshold": variable(
                ("class",), threshold, "1", f"mean probability of the label at tau = {self.tau:g}"
            ),
            "label_joint": variable(
                ("class", "predicted"), 100 * shares, "percent", "estimated share of rows by label and true class"
            ),
        }
        found |= self._contradicted(total, len(about.classes)) | self._suspects(total, about)
        names = np.array(about.classes)
        ranks = np.arange(len(found["suspect_row"]))
        return xr.Dataset(found, coords={"class": names, "predicted": names, "rank": ranks})

    def _contradicted(self, total: Tally, classes: int) -> dict[str, xr.Variable]:
        """Shares of rows whose most probable class is another than their label."""
        rows = total["class_rows"]
        pair = total["keys"] // BINS
        other = pair // classes != pair % classes
        wrong = np.bincount(pair[other] // classes, weights=total["counts"][other], minlength=classes)
        by_class, overall = percent(wrong, rows), percent(wrong.sum(), rows.sum())
        text = "share of rows whose most probable class is another than the label"
        return {
            "label_contradicted": variable((), overall, "percent", text),
            "label_class_contradicted": variable(("class",), by_class, "percent", f"{text}, of this label"),
        }

    def _suspects(self, total: Tally, about: About) -> dict[str, xr.Variable]:
        """The lists, the worst first."""
        order = tuple(total[name] for name in ("margin", "log_margin", "row", "view"))
        sorted_rows = first_of_groups(np.zeros(len(total["row"]), np.int64), order, max(1, len(total["row"])))
        listed = take({name: total[name] for name in _LIST}, sorted_rows)
        index = np.full(len(sorted_rows), -1) if about.index is None else about.index[listed["row"]]
        columns = {
            "row": (listed["row"], "row of the split"),
            "index": (index, "index of the sample in the full data set, -1 where unknown"),
            "view": (listed["view"], "view of the sample, 0 is the clean one"),
            "label": (listed["label"], "number of the labelled class"),
            "true": (listed["true"], "number of the true class, -1 where it is not known beside the label"),
            "predicted": (listed["predicted"], "number of the most probable class"),
            "p_label": (listed["p_label"], f"probability of the label at tau = {self.tau:g}"),
            "p_predicted": (listed["p_predicted"], f"probability of the most probable class at tau = {self.tau:g}"),
            "margin": (listed["margin"], "normalised margin p_label - p_predicted"),
            "class_rank": (places(listed["label"]), "place among the suspects of the same label"),
        }
        return {f"suspect_{name}": variable(("rank",), values, "1", text) for name, (values, text) in columns.items()}


def confident_joint(total: Tally, classes: int) -> tuple[Counts, Floats]:
    """The confident counts, int64 (label, true class), and the thresholds, float64 (class,), NaN without rows."""
    rows = total["class_rows"]
    doubt = ratio(total["class_doubt"], rows)
    edge = np.full(classes, BINS, np.int64)
    edge[rows > 0] = odds_bin(1 - doubt[rows > 0], doubt[rows > 0])
    pair, bins = total["keys"] // BINS, total["keys"] % BINS
    confident = bins >= edge[pair % classes]
    joint = np.bincount(pair[confident], weights=total["counts"][confident], minlength=classes**2)
    return joint.reshape(classes, classes).astype(np.int64), 1 - doubt


def calibrated_joint(joint: Counts, rows: Counts) -> Floats:
    """Shares of all rows by (label, true class), their sum 1: each row of the joint scaled to its label's rows."""
    sure = joint.sum(axis=1)
    shares: Floats = joint / np.maximum(sure, 1)[:, None]
    silent = np.flatnonzero(sure == 0)
    shares[silent, silent] = 1.0
    shares *= (rows / max(1, rows.sum()))[:, None]
    return shares
