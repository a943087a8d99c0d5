"""What an encoding is chosen from, what is chosen, and whether a store has it already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from logitcache.address import Address
from logitcache.store.backend import is_store
from logitcache.store.encodings import Encoding, EncodingOptions, resolve
from logitcache.store.encodings.spectral import WIDE
from logitcache.store.identity import TeacherRecord
from logitcache.store.read import open_store

__all__ = ["Choice", "Sample", "answers", "sample_rows", "stored_choice"]

_ROWS_A_CLASS = 5
_LEAST_ROWS = 4096


@dataclass(frozen=True)
class Sample:
    """Random rows of the clean view: what an encoding is chosen from.

    Attributes:
        logits: float32 (rows, classes).
        stored_rows: how many rows the store will have; they share the transform's bytes.
        features: what the teacher's head is given, float32 (rows, features), where it is known.
        weight: the head's weight, float32 (classes, features), likewise.
        index: the samples' indices (rows,), for messages; row numbers without.
    """

    logits: Tensor
    stored_rows: int
    features: Tensor | None = None
    weight: Tensor | None = None
    index: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Choice:
    """An encoding, and the arrays that it needs beside the blocks."""

    encoding: Encoding
    wholes: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


def stored_choice(
    url: Address, split: str, teacher: str, options: EncodingOptions
) -> tuple[Choice, TeacherRecord] | None:
    """What a store has for a teacher already, where that is what these options ask for; else None.

    Raises:
        DamageError: the store's metadata is not what was written.
    """
    if not is_store(url):
        return None
    store = open_store(url)
    if split not in store.splits or teacher not in store.teachers(split):
        return None
    record = store.logits(teacher, split).record
    if not answers(record.encoding, options):
        return None
    return Choice(record.encoding, store.transform(teacher, split)), record


def answers(encoding: Encoding, options: EncodingOptions) -> bool:
    """Whether a store's encoding is what these options ask for."""
    if encoding.asked:
        return dict(encoding.asked) == options.asked()
    plain = options.bytes_per_row is None and options.kind != "spectral"
    return plain and encoding == resolve(options)


def sample_rows(samples: int, classes: int) -> int:
    """How many rows an encoding is chosen from: five a class, and no more than there are.

    Of teachers with very many classes the rank is what counts, and the sample is the least one.
    """
    wanted = _LEAST_ROWS if classes > WIDE else _ROWS_A_CLASS * classes
    return min(samples, max(_LEAST_ROWS, wanted))
