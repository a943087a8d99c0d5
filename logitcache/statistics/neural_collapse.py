"""Neural collapse, NC1 to NC4: how far features have shrunk to their class means, and means to a simplex.

Source of all formulas: Papyan, Han and Donoho 2020, "Prevalence of neural collapse during the terminal phase of deep
learning training", PNAS 117(40), section "Neural collapse". Pure functions of arrays, in float64. The global mean is
the mean of the class means, the same as that of all rows where classes are balanced; only classes that have rows
count, and standard deviations are those of the population. 0 is full collapse for each of the measures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["class_span", "collapse_of_means", "equiangularity", "self_duality", "variability"]

Floats = NDArray[np.float64]


def class_span(means: Floats) -> tuple[Floats, Floats]:
    """The directions in which class means differ, and the between-class variances along them.

    Args:
        means: (classes, features), at least two classes.

    Returns:
        Orthonormal ``axes`` (features, r) and ``variances`` (r,), positive: the eigenvectors and eigenvalues of the
        between-class covariance ``mean_c (mu_c - mu_G)(mu_c - mu_G)^T``; r is its rank.
    """
    centred = means - means.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred / np.sqrt(len(means)), full_matrices=False)
    floor = np.finfo(np.float64).eps * max(means.shape) * (np.abs(means).max() if means.size else 0.0)
    kept = sizes > floor
    return axes[kept].T, np.square(sizes[kept])


def variability(within: Floats, means: Floats) -> float:
    """NC1, variability collapse: ``trace(Sigma_W Sigma_B^+) / C``.

    Args:
        within: (features, features) covariance within classes.
        means: (classes, features) class means.
    """
    if len(means) < 2:
        return float("nan")
    axes, variances = class_span(means)
    along = np.einsum("fr,fg,gr->r", axes, within, axes, optimize=True)
    return float((along / variances).sum() / len(means)) if len(variances) else float("nan")


def equiangularity(vectors: Floats) -> tuple[float, float, float]:
    """NC2, convergence to a simplex equiangular tight frame, of centred class means or of the classifier's rows.

    Args:
        vectors: (classes, features).

    Returns:
        ``std / mean`` of their lengths (equal norms); the standard deviation of the cosines between two of them (equal
        angles); the mean of ``|cos + 1 / (C - 1)|`` (angles as large as can be).
    """
    classes = len(vectors)
    lengths = np.linalg.norm(vectors, axis=1)
    if classes < 2 or not lengths.all():
        return (float("nan"),) * 3
    unit = vectors / lengths[:, None]
    cosines = (unit @ unit.T)[~np.eye(classes, dtype=bool)]
    return (
        float(lengths.std() / lengths.mean()),
        float(cosines.std()),
        float(np.abs(cosines + 1 / (classes - 1)).mean()),
    )


def self_duality(weight: Floats, centred: Floats) -> float:
    """NC3, self-duality: ``||W / ||W||_F - M / ||M||_F||_F^2`` of classifier rows and centred means, both (C, D)."""
    sizes = np.linalg.norm(weight), np.linalg.norm(centred)
    if not all(sizes):
        return float("nan")
    return float(np.square(weight / sizes[0] - centred / sizes[1]).sum())


def collapse_of_means(means: Floats, weight: Floats | None) -> dict[str, float]:
    """NC2 of the means, and NC2 and NC3 of the classifier where it is known; by name.

    Args:
        means: (classes, features), not centred.
        weight: (classes, features), the last layer's rows of the same classes.
    """
    centred = means - means.mean(axis=0)
    vectors = {"means": centred} | ({} if weight is None else {"weights": weight})
    found: dict[str, float] = {}
    for name, each in vectors.items():
        names = (f"nc2_norms_{name}", f"nc2_angles_{name}", f"nc2_maximal_angles_{name}")
        found |= dict(zip(names, equiangularity(each), strict=True))
    return found | ({} if weight is None else {"nc3": self_duality(weight, centred)})
