"""Which samples of a split are used: a count, a fraction or a file of indices."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from logitcache import keyed
from logitcache.data.arrays import load_npy
from logitcache.errors import InputError

__all__ = ["choose_rows", "count_rows"]

# a counter of its own: other keyed choices with the same seed have nothing to do with this one
_SUBSET = 0x5AB5E7
_INTEGER = re.compile(r"-?[0-9]{1,18}")  # always an int64


def choose_rows(samples: int | float | Path | None, size: int, seed: int) -> Tensor:
    """Rows in ascending order, int64, out of ``size``; with one seed a larger count only adds rows.

    Args:
        samples: a count, a fraction in (0, 1] (at least one row), a ``.npy`` or ``.txt`` file of rows, or None for all.
        size: the number of rows there are.
        seed: the key of the choice.

    Raises:
        InputError: a count beyond ``size``, or a file with other than distinct integers in [0, size).
    """
    if samples is None or (isinstance(samples, float) and samples == 1.0):
        return torch.arange(size)
    if isinstance(samples, Path):
        return _read_rows(samples, size)
    return keyed.choose(size, count_rows(samples, size), seed, _SUBSET)


def count_rows(samples: int | float, size: int) -> int:
    """How many rows a count or a fraction means out of ``size``.

    Raises:
        InputError: a count beyond ``size``.
    """
    count = samples if isinstance(samples, int) else max(1, round(samples * size))
    if not 1 <= count <= size:
        raise InputError(f"samples = {samples}: the split has {size} samples; choose 1..{size} of them")
    return count


def _read_rows(path: Path, size: int) -> Tensor:
    """Distinct rows from a file, sorted."""
    rows = load_npy(path) if path.suffix == ".npy" else _read_text(path)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or not rows.size:
        raise InputError(f"{path} is {rows.dtype} of shape {rows.shape}; it must list one or more integers")
    distinct = np.unique(rows.astype(np.int64))
    if distinct[0] < 0 or distinct[-1] >= size:
        bad = distinct[0] if distinct[0] < 0 else distinct[-1]
        raise InputError(f"{path} has index {bad}; the split has {size} samples, indices are 0..{size - 1}")
    if len(distinct) != len(rows):
        raise InputError(f"{path} has {len(rows) - len(distinct)} indices twice; each may come once")
    return torch.from_numpy(distinct)


def _read_text(path: Path) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """One integer a line; empty lines do not count."""
    try:
        lines = path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; it must list one index a line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from None
    wrong = next((line for line in lines if not _INTEGER.fullmatch(line)), None)
    if wrong is not None:
        raise InputError(f"{path} has {wrong!r}; it must list one index a line")
    return np.array([int(line) for line in lines], dtype=np.int64)
