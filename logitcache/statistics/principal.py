"""Principal components of a covariance: from the whole of it, or from a few random products with it.

The randomised way is the Nyström approximation of Tropp, Yurtsever, Udell and Cevher 2017, "Fixed-rank approximation
of a positive-semidefinite matrix from streaming data", algorithm 3: from ``Y = A Omega`` with a Gaussian ``Omega`` that
has somewhat more columns than components are wanted. Its eigenvalues are never above the true ones but by rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["components", "random_basis"]

Floats = NDArray[np.float64]

_SEED = 0x9CA0


def random_basis(width: int, columns: int) -> Floats:
    """A Gaussian matrix (width, columns), always the same one, with orthonormal columns: a stable Omega."""
    gaussian = np.random.default_rng((_SEED, width, columns)).normal(size=(width, columns))
    basis: Floats = np.linalg.qr(gaussian)[0]
    return basis


def components(covariance: Floats, basis: Floats | None, count: int) -> tuple[Floats, Floats]:
    """The leading eigenvectors (features, count) and eigenvalues (count,), the largest first.

    Each vector's entry of largest magnitude is positive, so that figures do not flip.

    Args:
        covariance: (features, features), or its product with the basis (features, m).
        basis: (features, m); None for the whole covariance.
        count: how many; fewer where there are no more.
    """
    if basis is None:
        values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
        values, vectors = values[::-1], vectors[:, ::-1]
    else:
        vectors, values = _nystrom(covariance, basis)
    vectors, values = vectors[:, :count], np.maximum(values[:count], 0.0)
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    return vectors * signs, values


def _nystrom(product: Floats, basis: Floats) -> tuple[Floats, Floats]:
    """Eigenvectors and eigenvalues of ``Y (Omega^T Y)^+ Y^T``, shifted by a little so that the root exists."""
    shift = np.sqrt(len(product)) * np.finfo(np.float32).eps * np.linalg.norm(product)
    if not shift:
        return basis, np.zeros(basis.shape[1])
    shifted = product + shift * basis
    core = basis.T @ shifted
    root = np.linalg.cholesky((core + core.T) / 2)
    vectors, sizes, _ = np.linalg.svd(np.linalg.solve(root, shifted.T).T, full_matrices=False)
    return vectors, np.square(sizes) - shift
