"""A teacher on its way through a split: the logits of blocks, one after another.

Batches are cut from each block's start whatever was done before, so that a block's logits do not depend on where a
run began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import tee

import torch
from torch import Tensor

from logitcache.cache_job import CacheJob
from logitcache.records import rows_of_block
from logitcache.store.encodings.spectral import WIDE
from logitcache.store.layout import block_shape
from logitcache.teacher import Teacher
from logitcache.views import Renderer

__all__ = ["BlockOutput", "TeacherRun"]


@dataclass(frozen=True)
class BlockOutput:
    """Logits float32 (rows, classes) of one block, and features (rows, features) where they are kept, on the device."""

    view: int
    block: int
    logits: Tensor
    features: Tensor | None = None
    ready: torch.cuda.Event | None = field(default=None, repr=False)

    @contextmanager
    def handed_over(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The tensors, for another thread: on a GPU in a stream of its own, behind what computed them."""
        if self.ready is None:
            yield self.logits, self.features
            return
        stream = torch.cuda.Stream(self.logits.device)
        stream.wait_event(self.ready)
        for tensor in (self.logits, self.features):
            if tensor is not None:
                tensor.record_stream(stream)
        with torch.cuda.stream(stream):
            yield self.logits, self.features


@dataclass(frozen=True)
class TeacherRun:
    """One teacher over one split of a job; ``progress`` is called with the forward passes just finished."""

    job: CacheJob
    split: str
    teacher: Teacher
    device: torch.device
    progress: Callable[[int], None]

    @property
    def samples(self) -> int:
        """Samples of the split."""
        return len(self.job.splits[self.split])

    @property
    def classes(self) -> int:
        """Logits a row."""
        return len(self.job.splits[self.split].classes)

    @property
    def with_features(self) -> bool:
        """Whether features are computed: to be stored, or because a wide teacher's transform comes from them."""
        options, head = self.job.options, self.teacher.head
        wide = head is not None and self.classes > WIDE and self.classes > head.in_features
        return options.features or (options.encoding.calibrated and wide)

    def rows(self, block: int) -> Tensor:
        """The rows of a block, int64."""
        rows = self._range(block)
        return torch.arange(rows.start, rows.stop)

    def outputs(
        self, blocks: Iterable[tuple[int, int]], held: Mapping[int, BlockOutput] | None = None
    ) -> Iterator[BlockOutput]:
        """The outputs of (view, block) in order; those of the clean view in ``held`` are not computed again.

        Blocks are taken a little ahead of their outputs: there may be more of them than memory should hold.
        """
        known = held or {}
        asked, again = tee(blocks)
        computed = self._compute((view, block) for view, block in again if view or block not in known)
        for view, block in asked:
            yield known[block] if not view and block in known else next(computed)

    def some_rows(self, rows: Tensor, view: int = 0) -> BlockOutput:
        """The outputs of any rows in a view, int64 (rows,), as one block without a place."""
        size = self.job.options.inference.batch
        return self._join(view, -1, self._batches([(rows, view)], size), len(rows))

    def _range(self, block: int) -> range:
        """The rows of a block."""
        return rows_of_block(block, block_shape(self.samples, self.classes, self.job.options.block)[0], self.samples)

    def _compute(self, blocks: Iterable[tuple[int, int]]) -> Iterator[BlockOutput]:
        """Outputs of blocks from the network."""
        asked, again = tee(blocks)
        jobs = ((self.rows(block), view) for view, block in again)
        batches = self._batches(jobs, self.job.options.inference.batch)
        for view, block in asked:
            yield self._join(view, block, batches, len(self._range(block)))

    def _batches(self, jobs: Iterable[tuple[Tensor, int]], batch: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Logits and features of one batch after another."""
        renderer = Renderer(self.job.splits[self.split], self.job.views, self.device, self.job.options.workers)
        for rendered in renderer.stream(jobs, batch):
            with torch.inference_mode():
                output = self.teacher(rendered.inputs, features=self.with_features)
            self.progress(len(rendered.rows))
            yield output

    def _join(self, view: int, block: int, batches: Iterator[tuple[Tensor, Tensor | None]], rows: int) -> BlockOutput:
        """As many batches as make a block."""
        logits: list[Tensor] = []
        features: list[Tensor] = []
        while rows:
            output, penultimate = next(batches)
            logits.append(output)
            if penultimate is not None:
                features.append(penultimate)
            rows -= len(output)
        with torch.inference_mode():
            joined = torch.cat(logits)
            kept = torch.cat(features) if features else None
        ready = None
        if joined.device.type == "cuda":
            ready = torch.cuda.Event()
            ready.record()
        return BlockOutput(view, block, joined, kept, ready)
