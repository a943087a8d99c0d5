"""What measure ``penultimate`` says, from its tally: variables by name, described in the class ``Penultimate``."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from logitcache.statistics.feature_sample import drawn, sample_variables
from logitcache.statistics.measure import About, Tally, variable
from logitcache.statistics.neural_collapse import class_span, collapse_of_means, variability
from logitcache.statistics.principal import components
from logitcache.statistics.scatter import between, pooled
from logitcache.statistics.sums import percent, ratio

__all__ = ["collapse_variables", "component_variables", "norm_variables", "scatter_variables"]

Floats = NDArray[np.float64]
Variables = dict[str, xr.Variable]

_SQUARED = "features^2"
_COLLAPSE = {
    "nc2_norms_means": "NC2, equal norms: spread of the class means' lengths over their mean",
    "nc2_angles_means": "NC2, equal angles: standard deviation of the class means' cosines",
    "nc2_maximal_angles_means": "NC2, maximal angles: mean |cos + 1 / (C - 1)| of the class means",
    "nc2_norms_weights": "NC2, equal norms: spread of the last layer's rows' lengths over their mean",
    "nc2_angles_weights": "NC2, equal angles: standard deviation of the last layer's rows' cosines",
    "nc2_maximal_angles_weights": "NC2, maximal angles: mean |cos + 1 / (C - 1)| of the last layer's rows",
    "nc3": "NC3, self-duality: squared distance of the normalised last layer from the normalised class means",
}


def norm_variables(total: Tally) -> Variables:
    """Lengths of feature vectors, of all and by class."""
    rows = np.append(total["group_rows"], total["unknown_group_rows"])
    mean = total["norm_sum"].sum() / rows.sum()
    spread = np.sqrt(max(0.0, total["norm_squares"].sum() / rows.sum() - mean**2))
    by_class = ratio(total["norm_sum"][:-1], rows[:-1])
    return {
        "feature_rows": variable((), rows.sum(), "1", "rows"),
        "feature_norm": variable((), mean, "features", "mean length of the feature vectors"),
        "feature_norm_std": variable((), spread, "features", "standard deviation of their lengths"),
        "feature_class_rows": variable(("class",), rows[:-1], "1", "rows of the class"),
        "feature_class_norm": variable(("class",), by_class, "features", "mean length of the feature vectors"),
    }


def scatter_variables(total: Tally) -> Variables:
    """Class means, and scatter around and between them, of the rows whose class is known."""
    rows = total["group_rows"]
    within, apart = ratio(total["group_scatter"].sum(), rows.sum()), between(total)
    present = rows > 0
    means = np.where(present[:, None], total["group_mean"], np.nan)
    lengths = np.full(len(rows), np.nan)
    if present.any():
        lengths[present] = np.linalg.norm(means[present] - means[present].mean(axis=0), axis=1)
    by_class = ratio(total["group_scatter"], rows)
    from_mean = "mean squared distance from the class's mean"
    return {
        "feature_within": variable((), within, _SQUARED, from_mean),
        "feature_between": variable((), apart, _SQUARED, "mean squared distance of the class's mean from that of all"),
        "feature_scatter_ratio": variable((), ratio(within, apart), "1", "scatter within over between classes"),
        "feature_class_within": variable(("class",), by_class, _SQUARED, from_mean),
        "feature_mean_norm": variable(
            ("class",), lengths, "features", "distance of the class's mean from the mean of class means"
        ),
        "feature_class_mean": variable(("class", "feature"), means, "features", "mean features of the class"),
    }


def collapse_variables(total: Tally, weight: NDArray[np.float32] | None, basis: Floats | None) -> Variables:
    """NC1 to NC4 over the classes that have rows; NaN for fewer than two."""
    present = np.flatnonzero(total["group_rows"])
    means = total["group_mean"][present]
    found = dict.fromkeys(("nc1", *_COLLAPSE, "nc4", "nc4_error"), np.nan)
    if len(present) > 1:
        rows = weight[present].astype(np.float64) if weight is not None else None
        found |= collapse_of_means(means, rows)
        share, error = _nearest_disagrees(total, present)
        found |= {"nc1": _variability(total, present, basis), "nc4": 100 * share, "nc4_error": 100 * error}
    how = "" if basis is None else ", estimated on a sample"
    texts = {"nc1": f"NC1, variability: trace(Sigma_W Sigma_B^+) / C{how}", **_COLLAPSE}
    nearest = "NC4, nearest class mean: share of rows whose most probable class is another one"
    return {name: variable((), found[name], "1", text) for name, text in texts.items()} | {
        "nc4": variable((), found["nc4"], "percent", nearest),
        "nc4_error": variable((), found["nc4_error"], "percent", "standard error of nc4, 0 where all rows were seen"),
    }


def component_variables(total: Tally, about: About, basis: Floats | None, count: int, points: int) -> Variables:
    """Principal components of all rows; class means and some samples on them."""
    mean, covariance, trace = pooled(total, basis)
    axes, variances = components(covariance, basis, count)
    groups = max(1, int((total["group_rows"] > 0).sum()))
    shown = drawn(total, max(1, points // groups))
    classes = len(about.classes)
    present = (total["group_rows"][:classes] > 0)[:, None]
    placed = np.where(present, (total["group_mean"][:classes] - mean) @ axes, np.nan)
    point = (shown["sample_features"] - mean) @ axes
    text = "coordinate on the principal component"
    return {
        "pca_variance": variable(("component",), variances, _SQUARED, "variance along the component"),
        "pca_share": variable(("component",), percent(variances, trace), "percent", "share of the variance"),
        "pca_class_mean": variable(("class", "component"), placed, "features", f"{text}, of the class's mean"),
        "pca_point": variable(("sample", "component"), point, "features", text),
        "pca_x": variable(("sample",), point[:, 0], "features", "the first of them"),
        "pca_y": variable(
            ("sample",), point[:, 1] if point.shape[1] > 1 else 0 * point[:, 0], "features", "the second"
        ),
        **sample_variables(shown, about, "pca"),
    }


def _variability(total: Tally, present: NDArray[np.int64], basis: Floats | None) -> float:
    """NC1, from the whole scatter or from the sample."""
    means = total["group_mean"][present]
    if basis is None:
        return variability(total["scatter"] / total["group_rows"].sum(), means)
    axes, variances = class_span(means)
    where, weights = _weights(total)
    if not len(variances):
        return float("nan")
    steps = (total["sample_features"][where] - total["group_mean"][total["sample_class"][where]]) @ axes
    return float(weights @ (np.square(steps) / variances).sum(axis=1) / len(means))


def _nearest_disagrees(total: Tally, present: NDArray[np.int64]) -> tuple[float, float]:
    """NC4 and its standard error: the sample is stratified by class, its variance bounded by that of the whole."""
    where, weights = _weights(total)
    means = total["group_mean"][present]
    sample = total["sample_features"][where].astype(np.float64) - means.mean(axis=0)
    centred = means - means.mean(axis=0)
    nearest = present[(np.square(centred).sum(axis=1) - 2 * sample @ centred.T).argmin(axis=1)]
    share = float(weights @ (nearest != total["sample_top"][where]))
    taken = np.bincount(total["sample_class"][where], minlength=len(total["group_rows"]))[present]
    rows = total["group_rows"][present]
    strata = np.square(rows / rows.sum()) * (1 - taken / rows) / taken
    return share, float(np.sqrt(max(0.0, share * (1 - share) * strata.sum())))


def _weights(total: Tally) -> tuple[NDArray[np.int64], Floats]:
    """The sample's rows of known class, and what each stands for: shares of the rows, their sum 1."""
    where = np.flatnonzero(total["sample_class"] >= 0)
    classes = total["sample_class"][where]
    rows = total["group_rows"]
    taken = np.bincount(classes, minlength=len(rows))
    return where, (rows / np.maximum(taken, 1) / rows.sum())[classes]
