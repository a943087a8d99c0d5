"""The top entries of each row, kept beside its principal components: they decide low temperatures and the argmax.

Classes and values of a row's ``m`` largest logits are stored in descending order, the values as a first code and the
gaps below it. A shift of rank * step / 64 keeps equal codes in their order. Decoding clamps every logit to what would
be next with the last code, and then sets the entries themselves, so the top class survives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Head", "apply_head", "head_of"]

_TIE = 64


@dataclass(frozen=True)
class Head:
    """Classes int64 (rows, m) in descending order of value, and the codes of their values int32 (rows, m)."""

    classes: Tensor
    codes: Tensor

    @property
    def gaps(self) -> Tensor:
        """The first code and how far each is below the one before: int32 (rows, m)."""
        return torch.cat([self.codes[:, :1], self.codes[:, :-1] - self.codes[:, 1:]], dim=1)

    @staticmethod
    def from_gaps(classes: Tensor, gaps: Tensor) -> Head:
        """The head whose :attr:`gaps` were stored."""
        return Head(classes.long(), 2 * gaps[:, :1].int() - gaps.int().cumsum(1, dtype=torch.int32))

    def values(self, step: float, level: Tensor | None) -> Tensor:
        """Decoded values, float32 (rows, m + 1); equal codes differ by their rank, the last is the others' limit."""
        codes = torch.cat([self.codes, self.codes[:, -1:]], dim=1)
        values = (codes - torch.arange(codes.shape[1], device=codes.device) / _TIE) * step
        return values if level is None else torch.ldexp(values, -level[:, None].int())


def head_of(logits: Tensor, entries: int, step: float, level: Tensor | None = None) -> Head:
    """The head of each row of logits (rows, classes), its step halved ``level`` (rows,) times.

    Of equal logits at the top the lowest class comes first, as argmax has it; topk leaves that open.
    """
    values, classes = torch.topk(logits, entries, dim=1)
    top = logits.argmax(1, keepdim=True)
    classes = torch.cat([top, torch.where(classes == top, classes[:, :1], classes)[:, 1:]], dim=1)
    scaled = values if level is None else torch.ldexp(values, level[:, None].int())
    return Head(classes, torch.round(scaled / step).int())


def apply_head(decoded: Tensor, classes: Tensor, values: Tensor) -> Tensor:
    """Clamp decoded logits (rows, classes) to the limit of each row, set its head's entries; changes in place."""
    torch.minimum(decoded, values[:, -1:], out=decoded)
    return decoded.scatter_(1, classes, values[:, :-1])
