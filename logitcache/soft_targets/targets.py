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
from logitcache.soft_targets.ahead import staged
from logitcache.soft_targets.assembly import Rows
from logitcache.soft_targets.forms import row_form
from logitcache.soft_targets.residency import Coming, Residency, Window
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
        self._forms = [row_form(reader, self.device, memory // len(self.readers)) for reader in self.readers]
        sources = [staged(reader, reader, reader.logit_arrays) for reader in self.readers]
        self._kept = Residency(list(zip(sources, self._forms, strict=True)), self.device, memory)
        self.views = self._kept.views

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
        return self._kept.gather(rows, view, self._combined)

    def gather_members(self, rows: Tensor, view: int | Tensor = 0) -> Tensor:
        """Logits of each teacher apart, float32 (teachers, B, classes); arguments and errors as in :meth:`gather`."""
        return self._kept.gather(rows, view, lambda gathered: torch.stack(self._decoded(gathered)), axis=1)

    def combine(self, members: Sequence[Tensor] | Tensor) -> Tensor:
        """One row of logits (B, classes) from those of each teacher, as :meth:`gather` makes it."""
        return members[0] if len(members) == 1 else combine_logits(list(members), self._weights, self.options.tau)

    def prefetch(self, view: int) -> None:
        """Start to decode a view in the background."""
        self._kept.prefetch(view)

    @property
    def staged(self) -> bool:
        """Whether a store was opened with a stage."""
        return self._kept.staged

    def fetch_ahead(self, coming: Sequence[Coming]) -> None:
        """Start to bring what is read next to the stage, in the background; nothing without a stage.

        Args:
            coming: views and the rows that are read of them, int64 (N,) in order; None for all rows.
        """
        self._kept.fetch_ahead(coming)

    @property
    def window(self) -> Window | None:
        """None where whole views fit in memory; else rows of a block and how many blocks fit."""
        return self._kept.window

    def order(self, seed: int, epoch: int) -> Tensor:
        """All rows in the order of an epoch, int64 (samples,): a function of (seed, epoch), cheap to read in."""
        return self._kept.order(seed, epoch)

    def _combined(self, gathered: list[Rows]) -> Tensor:
        """Combined logits of gathered rows."""
        return self.combine(self._decoded(gathered))

    def _decoded(self, gathered: list[Rows]) -> list[Tensor]:
        """The logits of each teacher."""
        return [form.logits(rows) for form, rows in zip(self._forms, gathered, strict=True)]


def combine_logits(logits: Sequence[Tensor], weights: Sequence[float], tau: float | None) -> Tensor:
    """The weighted mean of logits (B, classes); or, given ``tau``, ``tau * log`` of the mean of softmax(z / tau)."""
    if tau is None:
        return sum((w * z for w, z in zip(weights, logits, strict=True)), start=torch.zeros_like(logits[0]))
    logs = [torch.log_softmax(z / tau, dim=1) + _log(w) for w, z in zip(weights, logits, strict=True)]
    return tau * torch.logsumexp(torch.stack(logs), dim=0)


def _log(weight: float) -> float:
    return math.log(weight) if weight > 0 else -math.inf
