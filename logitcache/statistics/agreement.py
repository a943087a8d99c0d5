"""Agreement of the largest logit with the true class: accuracy, confusion, margins, and what each class looks like.

Counts are exact. Sums of a class's logits over one block are float32 where the block has few rows of each class, else
float64, as over blocks: class means have an error below 1e-6 of the logits' size.
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from logitcache.statistics.block import Block
from logitcache.statistics.central import Central, central_of
from logitcache.statistics.measure import About, Need, Tally, variable
from logitcache.statistics.moments import described

__all__ = ["Agreement"]

_FIVE = 5
_FEW_ROWS = 256


class Agreement:
    """Rows whose true class is known.

    Variables: ``accuracy`` and ``top5_accuracy`` (percent), ``samples``; by class ``class_samples``, ``class_accuracy``
    (percent), moments of the class's own logit ``own_<moment>`` and of its margin above the largest other logit
    ``margin_<moment>``; ``confusion`` (class, predicted), counts; ``class_mean`` (class, logit), the mean logits of the
    rows of each class. <moment> as in ``moments``.
    """

    name = "agreement"
    needs: frozenset[Need] = frozenset({"labels"})

    def tally(self, block: Block) -> Tally:
        """Counts, sums, and moments by class."""
        known, classes = block.known, block.classes
        labels = block.labels[known]
        place = min(_FIVE, classes) - 1
        reached = block.own[known] >= block.softmax.leading[known, place]
        confusion = np.bincount(labels * classes + block.top[known], minlength=classes**2)
        return {
            "confusion": confusion.reshape(classes, classes),
            "within_five": np.array(np.count_nonzero(reached)),
            "logits": _sum_by_class(block),
            **central_of(block.own[known], labels, classes).to_tally("own"),
            **central_of(block.margin[known], labels, classes).to_tally("margin"),
        }

    def merge(self, a: Tally, b: Tally) -> Tally:
        """Counts and sums add, moments merge."""
        merged = {name: a[name] + b[name] for name in ("confusion", "within_five", "logits")}
        for name in ("own", "margin"):
            merged |= Central.from_tally(a, name).merge(Central.from_tally(b, name)).to_tally(name)
        return merged

    def dataset(self, total: Tally, about: About) -> xr.Dataset:
        """See the class."""
        confusion = total["confusion"]
        samples, right = confusion.sum(axis=1), np.diagonal(confusion)
        with np.errstate(invalid="ignore", divide="ignore"):
            by_class, means = 100 * right / samples, total["logits"] / samples[:, None]
            accuracy, within = (np.float64(100 * part) / samples.sum() for part in (right.sum(), total["within_five"]))
        variables = {
            "samples": variable((), samples.sum(), "1", "rows whose true class is known"),
            "accuracy": variable((), accuracy, "percent", "rows whose largest logit is that of the true class"),
            "top5_accuracy": variable((), within, "percent", "rows where the true class is among the 5 largest"),
            "class_samples": variable(("class",), samples, "1", "rows of a true class"),
            "class_accuracy": variable(("class",), by_class, "percent", "accuracy by true class"),
            "confusion": variable(("class", "predicted"), confusion, "1", "rows by true and by predicted class"),
            "class_mean": variable(("class", "logit"), means, "logits", "mean logits of the rows of a true class"),
        }
        own, margin = (Central.from_tally(total, name) for name in ("own", "margin"))
        variables |= described(own, ("class",), "own_", "of the true class's logit")
        variables |= described(margin, ("class",), "margin_", "of the true class's logit above the largest other")
        names = list(about.classes)
        return xr.Dataset(variables, coords={"class": names, "predicted": names, "logit": names})


def _sum_by_class(block: Block) -> NDArray[np.float64]:
    """Sums of the logits of each class's rows, float64 (class, logit); rows of no known class fall out."""
    labels = np.where(block.known, block.labels, block.classes)
    few = np.bincount(labels).max() <= _FEW_ROWS  # whose sums float32 holds
    sums = torch.zeros(block.classes + 1, block.classes, dtype=torch.float32 if few else torch.float64)
    where = torch.from_numpy(labels)
    for part in block.parts():
        place = slice(part.first - block.first, part.first - block.first + part.rows)
        sums.index_add_(0, where[place], torch.from_numpy(part.logits).to(sums.dtype))
    return sums[:-1].double().numpy()
