"""One interface to all encodings: logits into the arrays that are stored, and back.

``rows`` is the form in which decoded views stay in memory: row-major, the most compact one that gathers fast. From it
``logits`` makes dense float32 rows; :meth:`Codec.decode` is nothing but the two together, so what is gathered from
memory and what is read from a block are made by the same arithmetic.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from logitcache.store.encodings.fidelity import TAUS, Fidelity, combine, measure
from logitcache.store.encodings.kl import as_tensor
from logitcache.store.encodings.records import Encoding, kl_bound

__all__ = ["Arrays", "Codec", "Encoded", "Logits"]

Arrays = Mapping[str, npt.NDArray[Any]]
Logits = Tensor | npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]

ROWS = 256
"""Rows that are encoded or decoded together: what their temporaries take stays in a core's cache."""


@dataclass(frozen=True)
class Encoded:
    """A block as it is stored, by array, and its measured error; None where the logits themselves are not known."""

    values: dict[str, npt.NDArray[Any]]
    fidelity: Fidelity | None


class Codec(ABC):
    """An encoding with the arrays it needs beside the blocks."""

    def __init__(self, encoding: Encoding, classes: int) -> None:
        self.encoding, self.classes = encoding, classes

    @abstractmethod
    def encode(self, logits: Logits, index: Index | None = None, taus: Sequence[float] = TAUS) -> Encoded:
        """Encode finite float32 logits (rows, classes) and measure what became of them.

        Args:
            logits: what to encode, on any device.
            index: the samples' indices (rows,), for messages; row numbers without.
            taus: the temperatures at which the KL is recorded.

        Raises:
            InputError: a row does not fit the encoding; names the sample.
        """

    @abstractmethod
    def rows(self, values: Arrays) -> dict[str, npt.NDArray[Any]]:
        """A block's arrays in the form that stays in memory: rows first."""

    @abstractmethod
    def logits(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Float32 logits (rows, classes) of gathered rows, on their device."""

    @property
    @abstractmethod
    def row_bytes(self) -> int:
        """About how many bytes a row takes in memory."""

    def decode(self, values: Arrays) -> npt.NDArray[np.float32]:
        """Float32 logits (rows, classes) of a block's arrays."""
        rows = {name: torch.from_numpy(array) for name, array in self.rows(values).items()}
        count = len(next(iter(rows.values())))
        decoded = np.empty((count, self.classes), np.float32)
        for start in range(0, count, ROWS):
            part = {name: tensor[start : start + ROWS] for name, tensor in rows.items()}
            decoded[start : start + ROWS] = self.logits(part).numpy()
        return decoded

    def measure(self, logits: Logits, values: Arrays, taus: Sequence[float] = TAUS) -> Fidelity:
        """The error of a block's arrays as they are stored."""
        return measure(as_tensor(logits).cpu(), self.decode(values), taus)

    def keeps_promise(self, logits: Logits, values: Arrays) -> bool:
        """Whether a block's arrays, from wherever they come, keep the encoding's promise for these logits."""
        promise = self.encoding.bound(self.encoding.tau_min)
        if promise is None:
            return True
        error = self.decode(values) - as_tensor(logits).cpu().numpy()
        width = float((error.max(axis=1) - error.min(axis=1)).max())
        return kl_bound(width, self.encoding.tau_min) <= promise  # NaN is refused too


def joined(parts: Sequence[Encoded]) -> Encoded:
    """Parts of a block as one; samples are the last axis of every array."""
    values = {name: np.concatenate([part.values[name] for part in parts], axis=-1) for name in parts[0].values}
    known = [part.fidelity for part in parts if part.fidelity is not None]
    return Encoded(values, combine(known))
