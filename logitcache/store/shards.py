"""A shard on its way into a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.records import sha256
from logitcache.store.commits import ArrayDigest

__all__ = ["Shard", "same_values"]


@dataclass(frozen=True)
class Shard:
    """A shard as it is stored: its bytes, the values they hold, and whether another writer put them there."""

    data: bytes
    values: npt.NDArray[Any]
    adopted: bool

    def digest(self) -> ArrayDigest:
        """What the commit says of it."""
        return ArrayDigest(len(self.data), sha256(self.data), sha256(np.ascontiguousarray(self.values).data))


def same_values(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> bool:
    """Whether two arrays hold the same values; what is missing equals what is missing."""
    return np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
