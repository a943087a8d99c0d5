"""What students read: dense float32 logits of any rows, of one teacher or of several combined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from logitcache.errors import InputError
from logitcache.records import Options
from logitcache.soft_targets.forms import RowForm, row_form
from logitcache.soft_targets.order import epoch_rows, windowed_rows
from logitcache.soft_targets.resident import ResidentBlocks, ResidentViews
from logitcache.store import LogitsReader, Store

__all__ = ["CombineOptions", "SoftTargets", "combine_logits"]

MEMORY = 4 << 30
"""Default memory for decoded logits, in bytes."""


class CombineOptions(Options):
    """How the logits of several teachers become one row.

    ``mean_logits`` averages logits and serves every temperature and loss. ``mean_probs`` averages probabilities at
    one ``tau`` and gives ``tau * log(mean p)``, whose softmax at that tau is the mean; losses of raw logits refuse it.
    """

    combine: Literal["mean_logits", "mean_probs"] = Field("mean_logits", description="what is averaged")
    tau: float | None = Field(None, gt=0, description="mean_probs: the temperature of the average")
    weights: tuple[float, ...] | None = Field(None, description="one weight a teacher, >= 0; equal without")

    @model_validator(mode="after")
    def _consistent(self) -> CombineOptions:
        if (self.combine == "mean_probs") != (self.tau is not None):
            raise ValueError("combine = mean_probs needs tau, mean_logits takes none")
        if self.weights is not None and (min(self.weights) < 0 or sum(self.weights) <= 0):
            raise ValueError("weights must be >= 0 and not all 0")
        return self

    def normalised(self, teachers: int) -> tuple[float, ...]:
        """Weights that sum to one.

        Raises:
            InputError: their number is not that of the teachers.
        """
        weights = self.weights or (1.0,) * teachers
        if len(weights) != teachers:
            raise InputError(f"{len(weights)} weights for {teachers} teachers; give one a teacher")
        return tuple(w / sum(weights) for w in weights)


class SoftTargets:
    """The cached logits of one split, from one teacher or several.

    A decoded view stays in memory as codes; where not even one fits in ``memory`` bytes, blocks do, and
    :meth:`order` shuffles so that each is decoded once an epoch.
    """

    def __init__(
        self,
        readers: Sequence[LogitsReader],
        options: CombineOptions | None = None,
        *,
        device: torch.device | str = "cpu",
        memory: int = MEMORY,
        store: Store | None = None,
    ) -> None:
        self.store = store
        self.options = options or CombineOptions()
        self.readers = tuple(readers)
        self.device = torch.device(device)
        self._weights = self.options.normalised(len(self.readers))
        self.views = min(reader.views for reader in self.readers)
        self._forms = [row_form(reader, self.device, memory // len(self.readers)) for reader in self.readers]
        self._sizes = [r.samples * form.row_bytes for r, form in zip(self.readers, self._forms, strict=True)]
        self._windowed = sum(self._sizes) > memory
        self._memory = memory
        each = zip(self.readers, self._forms, self._sizes, strict=True)
        self._residents = [self._resident(*parts) for parts in each]

    @property
    def samples(self) -> int:
        """Samples of the split."""
        return self.readers[0].samples

    @property
    def classes(self) -> int:
        """Logits a row."""
        return self.readers[0].classes

    @property
    def whole(self) -> bool:
        """Whether every logit is there; losses of whole logit vectors refuse soft targets from ``topk`` stores."""
        return all(reader.encoding.whole for reader in self.readers)

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names of the teachers."""
        return tuple(reader.teacher for reader in self.readers)

    def gather(self, rows: Tensor, view: int | Tensor = 0) -> Tensor:
        """Combined logits of any rows in any order.

        Args:
            rows: positions in the split, int64 (B,).
            view: a view's index, 0 for the clean one, or one index a row, int64 (B,).

        Returns:
            float32 (B, classes) on the device.

        Raises:
            InputError: a row or view is out of range.
            MissingError, DamageError: a block is not there or not what was committed.
        """
        self._check_view(view)
        try:
            return self._gather_view(rows, view) if isinstance(view, int) else self._gather_views(rows, view)
        except IndexError as error:  # looking at all rows beforehand would cost a third of a small gather
            raise InputError(f"{_span(rows)} asked; the split has 0..{self.samples - 1}") from error

    def _gather_views(self, rows: Tensor, view: Tensor) -> Tensor:
        """Combined logits of rows, each in its own view."""
        logits = torch.empty(len(rows), self.classes, device=self.device)
        for one in view.unique().tolist():
            here = torch.nonzero(view == one).flatten()
            logits[here.to(self.device)] = self._gather_view(rows[here], one)
        return logits

    def prefetch(self, view: int) -> None:
        """Start to decode a view in the background."""
        for resident in self._residents:
            resident.prefetch(view)

    def order(self, seed: int, epoch: int) -> Tensor:
        """All rows in the order of an epoch, int64 (samples,): a function of (seed, epoch), cheap to read in."""
        if not self._windowed:
            return epoch_rows(self.samples, seed, epoch)
        block_rows = self.readers[0].block_rows
        return windowed_rows(self.samples, block_rows, self._window(), seed, epoch)

    def _gather_view(self, rows: Tensor, view: int) -> Tensor:
        """Combined logits of rows in one view."""
        logits = [
            form.logits(resident.gather(rows, view))
            for resident, form in zip(self._residents, self._forms, strict=True)
        ]
        return logits[0] if len(logits) == 1 else combine_logits(logits, self._weights, self.options.tau)

    def _resident(self, reader: LogitsReader, form: RowForm, size: int) -> ResidentViews | ResidentBlocks:
        """Where a teacher's decoded logits stay: an equal share of the memory each."""
        share = self._memory // len(self.readers)
        if self._windowed:
            return ResidentBlocks(reader, form, self._window(), self.device)
        return ResidentViews(reader, form, share // max(1, size), self.device)

    def _window(self) -> int:
        """How many blocks of every teacher fit in memory together."""
        sizes = zip(self.readers, self._sizes, strict=True)
        one_block = sum(size // max(1, reader.blocks) for reader, size in sizes)
        return max(1, self._memory // max(1, one_block))

    def _check_view(self, view: int | Tensor) -> None:
        """Refuse views that are not there."""
        low, high = (view, view) if isinstance(view, int) else (int(view.min()), int(view.max()))
        if low < 0 or high >= self.views:
            raise InputError(f"view {low if low < 0 else high} asked; the store has views 0..{self.views - 1}")


def combine_logits(logits: Sequence[Tensor], weights: Sequence[float], tau: float | None) -> Tensor:
    """The weighted mean of logits (B, classes); or, given ``tau``, ``tau * log`` of the mean of softmax(z / tau)."""
    if tau is None:
        return sum((w * z for w, z in zip(weights, logits, strict=True)), start=torch.zeros_like(logits[0]))
    logs = [torch.log_softmax(z / tau, dim=1) + _log(w) for w, z in zip(weights, logits, strict=True)]
    return tau * torch.logsumexp(torch.stack(logs), dim=0)


def _log(weight: float) -> float:
    return math.log(weight) if weight > 0 else -math.inf


def _span(rows: Tensor) -> str:
    """The range of rows, for messages."""
    return f"rows {int(rows.min())}..{int(rows.max())}"
