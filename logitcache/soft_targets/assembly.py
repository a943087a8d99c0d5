"""Rows put together from parts: blocks of a view, or what one batch takes from several blocks."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Assembly", "Rows"]

Rows = dict[str, Tensor]
"""Rows of one teacher in their row form, by name of the part."""


class Assembly:
    """Rows put together from parts whose codes differ in width: zeros are added where a part has fewer."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._parts: dict[str, npt.NDArray[Any]] = {}
        self._lock = Lock()

    def put(self, place: slice | npt.NDArray[np.int64], rows: Mapping[str, npt.NDArray[Any]]) -> None:
        """Put some rows in their place; safe in threads."""
        for name, part in rows.items():
            width = tuple(slice(n) for n in part.shape[1:])
            with self._lock:
                self._room(name, part)[(place, *width)] = part

    def tensors(self, device: torch.device) -> Rows:
        """All rows on the device."""
        return {name: torch.from_numpy(part).to(device) for name, part in self._parts.items()}

    def _room(self, name: str, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Where a part goes, made wide enough for it."""
        have = self._parts.get(name)
        if have is None:
            self._parts[name] = np.zeros((self._rows, *part.shape[1:]), part.dtype)
        elif have.shape[1:] != part.shape[1:] or have.dtype != part.dtype:
            sides = tuple(max(a, b) for a, b in zip(have.shape[1:], part.shape[1:], strict=True))
            if have.shape[1:] != sides or np.promote_types(have.dtype, part.dtype) != have.dtype:
                wide = np.zeros((self._rows, *sides), np.promote_types(have.dtype, part.dtype))
                wide[(slice(None), *(slice(n) for n in have.shape[1:]))] = have
                self._parts[name] = wide
        return self._parts[name]
