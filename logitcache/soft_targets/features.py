"""The teacher's penultimate features of cached views, kept in memory and gathered as its logits are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from logitcache.errors import InputError
from logitcache.soft_targets.ahead import staged
from logitcache.soft_targets.assembly import Rows
from logitcache.soft_targets.residency import Coming, Residency, Window
from logitcache.soft_targets.targets import MEMORY
from logitcache.store import LogitsReader

__all__ = ["FeatureTargets"]

_NAME = "features"


class FeatureTargets:
    """The cached penultimate features of one teacher in one split.

    Args:
        reader: the teacher's reader.
        device: where gathered features are wanted.
        memory: bytes that they may take there as codes; where not even one view fits, blocks are kept.

    Raises:
        InputError: the teacher was cached without features.
    """

    def __init__(self, reader: LogitsReader, *, device: torch.device | str = "cpu", memory: int = MEMORY) -> None:
        if not reader.record.features:
            raise InputError(
                f"teacher {reader.teacher!r} was cached without features; run the cache step with "
                "cache.features = true (into another store)"
            )
        self.reader = reader
        self.device = torch.device(device)
        self._step = reader.record.feature_step
        source = staged(_FeatureBlocks(reader), reader, (_NAME,))
        self._kept = Residency([(source, _CodeForm(self.width))], self.device, memory)

    @property
    def width(self) -> int:
        """Features a row."""
        return self.reader.record.features

    @property
    def samples(self) -> int:
        """Samples of the split."""
        return self.reader.samples

    @property
    def views(self) -> int:
        """Views that are stored, the clean one included."""
        return self.reader.views

    @property
    def window(self) -> Window | None:
        """None where whole views fit in memory; else rows of a block and how many blocks fit."""
        return self._kept.window

    def gather(self, rows: Tensor, view: int | Tensor = 0) -> Tensor:
        """Features of any rows in any order, float32 (B, width) on the device; arguments and errors as for logits."""
        return self._kept.gather(rows, view, self._decode)

    def prefetch(self, view: int) -> None:
        """Start to decode a view in the background."""
        self._kept.prefetch(view)

    @property
    def staged(self) -> bool:
        """Whether the store was opened with a stage."""
        return self._kept.staged

    def fetch_ahead(self, coming: Sequence[Coming]) -> None:
        """Start to bring what is read next to the stage, in the background; as for logits."""
        self._kept.fetch_ahead(coming)

    def order(self, seed: int, epoch: int) -> Tensor:
        """All rows in the order of an epoch, int64 (samples,): a function of (seed, epoch), cheap to read in."""
        return self._kept.order(seed, epoch)

    def _decode(self, gathered: list[Rows]) -> Tensor:
        """Float32 features of gathered codes, as :func:`logitcache.store.features.decode_features` makes them."""
        features = gathered[0][_NAME].float()
        return features * self._step if self._step else features


class _FeatureBlocks:
    """The stored codes of one teacher's features as a source of blocks."""

    def __init__(self, reader: LogitsReader) -> None:
        self._reader = reader
        self.views, self.samples = reader.views, reader.samples
        self.block_rows, self.blocks = reader.block_rows, reader.blocks

    def rows(self, block: int) -> range:
        return self._reader.rows(block)

    def values(self, view: int, block: int) -> dict[str, npt.NDArray[Any]]:
        return {_NAME: self._reader.feature_codes(view, block)}


class _CodeForm:
    """Codes of two bytes a feature, as they are stored: row-major already."""

    def __init__(self, width: int) -> None:
        self.row_bytes = 2 * width

    def rows(self, values: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        return dict(values)
