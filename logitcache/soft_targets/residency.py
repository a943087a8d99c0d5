"""Decoded rows of one or several sources in one memory, and the order in which they are cheap to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from logitcache.errors import InputError
from logitcache.soft_targets.ahead import StagedBlocks, blocks_in_order
from logitcache.soft_targets.assembly import Rows
from logitcache.soft_targets.forms import KeptForm
from logitcache.soft_targets.order import epoch_rows, windowed_rows
from logitcache.soft_targets.resident import BlockSource, ResidentBlocks, ResidentViews

__all__ = ["Coming", "Residency", "Window"]

Window = tuple[int, int]
"""Rows of a block, and how many blocks fit in memory together."""

Coming = tuple[int, Tensor | None]
"""A view that is read next, and its rows in the order in which they are; None for all of them."""

Source = tuple[BlockSource, KeptForm]
Combine = Callable[[list[Rows]], Tensor]


class Residency:
    """Keeps what sources of the same samples decode: whole views where all fit in ``memory`` bytes, else blocks.

    Attributes:
        views: how many views all sources have.
        samples: rows of the split.
        staged: whether a source has a stage, so that there is sense in :meth:`fetch_ahead`.
        window: None where whole views fit; else in which pieces :meth:`order` walks.
    """

    def __init__(self, sources: Sequence[Source], device: torch.device, memory: int) -> None:
        self.views = min(source.views for source, _ in sources)
        self.samples = sources[0][0].samples
        sizes = [source.samples * form.row_bytes for source, form in sources]
        self.window: Window | None = None
        share = memory // len(sources)
        if sum(sizes) > memory:
            one_block = sum(size // max(1, source.blocks) for (source, _), size in zip(sources, sizes, strict=True))
            fitting = max(1, memory // max(1, one_block))
            self.window = sources[0][0].block_rows, fitting
            self._kept: list[ResidentViews | ResidentBlocks] = [
                ResidentBlocks(source, form, fitting, device) for source, form in sources
            ]
        else:
            self._kept = [
                ResidentViews(source, form, share // max(1, size), device)
                for (source, form), size in zip(sources, sizes, strict=True)
            ]
        pairs = zip(sources, self._kept, strict=True)
        self._staged = [(source, kept) for (source, _), kept in pairs if isinstance(source, StagedBlocks)]
        self.staged = bool(self._staged)

    def gather(self, rows: Tensor, view: int | Tensor, combine: Combine, *, axis: int = 0) -> Tensor:
        """What ``combine`` makes of the gathered rows of all sources.

        Args:
            rows: positions in the split, int64 (B,).
            view: a view's index, or one index a row, int64 (B,).
            combine: from the row form of each source to one tensor.
            axis: where that tensor has the rows.

        Raises:
            InputError: a row or view is out of range.
            MissingError, DamageError: a block is not there or not what was committed.
        """
        self._check_view(view)
        try:
            if isinstance(view, int):
                return combine(self._rows(rows, view))
            return self._of_views(rows, view, combine, axis)
        except IndexError as error:  # looking at all rows beforehand would cost a third of a small gather
            span = f"rows {int(rows.min())}..{int(rows.max())}"
            raise InputError(f"{span} asked; the split has 0..{self.samples - 1}") from error

    def prefetch(self, view: int) -> None:
        """Start to decode a view in the background."""
        for kept in self._kept:
            kept.prefetch(view)

    def fetch_ahead(self, coming: Sequence[Coming]) -> None:
        """Start to bring what is read next to the stage, in the background and in order; nothing without a stage.

        Args:
            coming: views and the rows that are read of them, int64 (N,) in order; None for all rows.
        """
        for source, kept in self._staged:
            places = ((view, block) for view, rows in coming for block in _blocks(source, rows))
            source.fetch_ahead([place for place in places if kept.lacks(*place)])

    def order(self, seed: int, epoch: int) -> Tensor:
        """All rows in the order of an epoch, int64 (samples,): a function of (seed, epoch), cheap to read in."""
        if self.window is None:
            return epoch_rows(self.samples, seed, epoch)
        return windowed_rows(self.samples, *self.window, seed, epoch)

    def _rows(self, rows: Tensor, view: int) -> list[Rows]:
        """Rows of one view, of each source."""
        return [kept.gather(rows, view) for kept in self._kept]

    def _of_views(self, rows: Tensor, view: Tensor, combine: Combine, axis: int) -> Tensor:
        """Rows that are each in a view of their own."""
        places = [torch.nonzero(view == one).flatten() for one in view.unique()]
        parts = [combine(self._rows(rows[here], int(view[here[0]]))) for here in places]
        back = torch.argsort(torch.cat(places))
        joined = torch.cat(parts, dim=axis)
        return joined.index_select(axis, back.to(joined.device))

    def _check_view(self, view: int | Tensor) -> None:
        """Refuse views that are not there."""
        low, high = (view, view) if isinstance(view, int) else (int(view.min()), int(view.max()))
        if low < 0 or high >= self.views:
            raise InputError(f"view {low if low < 0 else high} asked; the store has views 0..{self.views - 1}")


def _blocks(source: StagedBlocks, rows: Tensor | None) -> Sequence[int]:
    """The blocks that rows are in, in order."""
    return range(source.blocks) if rows is None else blocks_in_order(rows, source.block_rows)
