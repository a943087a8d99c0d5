"""Turn (rows, view) into normalised network inputs on the device, batch after batch."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from logitcache.data import Split
from logitcache.keyed import choose
from logitcache.records import canonical_json, fingerprint, sha256
from logitcache.views.batched import CropFlip, Mix, crop_flip, crop_flip_elements, cutmix, draw_mix, mixup
from logitcache.views.options import ViewOptions, policy
from logitcache.views.persample import Loader, PerSample, build_transform

__all__ = ["Rendered", "Renderer", "view_policy"]

Job = tuple[Tensor, int | Tensor]

_PIECE = 2048
_DRAWN = 1 << 16
"""Rows whose crops are drawn together: many small draws would cost more, one of millions of rows much memory."""

_PROBE_SAMPLES, _PROBE_VIEWS = 4, 4


@dataclass(frozen=True)
class Rendered:
    """One batch of views.

    Attributes:
        rows: positions in the split, int64 (B,), on the host.
        inputs: float32 (B, C, H, W), normalised, on the device.
        partner: rows mixed in, int64 (B,) on the host; None without mixing.
        weight: the sample's own share, float32 (B,) on the device; None without mixing.
    """

    rows: Tensor
    inputs: Tensor
    partner: Tensor | None = None
    weight: Tensor | None = None


class Renderer:
    """Renders the views of a split; the same (row, view) gives the same input in any batch, order or process.

    Clean and crop_flip views of images in memory are rendered in batches on the device; images that are not are
    opened, and transforms applied, one by one in ``workers`` processes.
    """

    def __init__(
        self, split: Split, options: ViewOptions, device: torch.device | str = "cpu", workers: int = 0
    ) -> None:
        self.split, self.options, self.device = split, options, torch.device(device)
        self._workers = workers
        self._batched = split.images is not None and options.kind in ("none", "crop_flip")
        self._per_sample = PerSample(split, build_transform(options), options.seed)

    def stream(self, jobs: Iterable[Job], batch: int) -> Iterator[Rendered]:
        """The views of each job (rows, view index or one index a row), cut into batches from the job's start."""
        if self._batched:
            for rows, view in jobs:
                yield from self._render_job(rows, _per_row(rows, view), batch)
        else:
            yield from self._stream_workers(jobs, batch)

    def probe(self) -> str:
        """A hash of a few keyed samples' views, to notice a library that renders otherwise than it did."""
        chosen = choose(len(self.split), _PROBE_SAMPLES, self.options.seed)
        shown = torch.arange(1 if self.options.kind == "none" else _PROBE_VIEWS)  # whatever the count of views
        rows, views = chosen.repeat_interleave(len(shown)), shown.repeat(len(chosen))
        apart = rows.split(1), views.split(1)  # transforms may tell a batch from a sample; crops and flips do not
        rendered = self.pixels(rows, views).split(1) if self._batched else [*map(self.pixels, *apart)]
        return fingerprint({"pixels": [sha256(p.cpu().contiguous().numpy().data) for p in rendered]})

    def pixels(self, rows: Tensor, views: Tensor) -> Tensor:
        """The pixels of (rows, views), both (B,), before mixing and normalising: mostly uint8 (B, C, H, W)."""
        if self._batched:
            return self._crop(rows, self._elements(rows, views))
        pixels = torch.stack([self._per_sample(int(r), int(v)) for r, v in zip(rows, views, strict=True)])
        return self._augment(pixels.to(self.device), rows, views)

    def _elements(self, rows: Tensor, views: Tensor) -> CropFlip | None:
        """Where the crops of (rows, views) lie; None for a policy without crops."""
        if self.options.kind != "crop_flip":
            return None
        sample = self.split.index[rows].to(self.device)
        return crop_flip_elements(sample, views.to(self.device), self.options.padding, self.options.seed)

    def _crop(self, rows: Tensor, where: CropFlip | None) -> Tensor:
        """The images of rows, cropped and flipped."""
        images = self._images.index_select(0, rows.to(self.device))
        return images if where is None else crop_flip(images, where, self.options.padding)

    def _augment(self, pixels: Tensor, rows: Tensor, views: Tensor) -> Tensor:
        """What is left to do in batches with pixels that were opened one by one: crops and flips."""
        where = self._elements(rows, views)
        return pixels if where is None else crop_flip(pixels, where, self.options.padding)

    @cached_property
    def _images(self) -> Tensor:
        """All images on the device."""
        if self.split.images is None:
            raise TypeError("batched rendering needs images in memory")
        return self.split.images.to(self.device)

    @cached_property
    def _scale(self) -> tuple[Tensor, Tensor]:
        """Factor and shift (C, 1, 1) that take pixels in [0, 1] to the network's input."""
        preprocess = self.split.preprocess
        std = torch.tensor(preprocess.std, device=self.device)[:, None, None]
        mean = torch.tensor(preprocess.mean, device=self.device)[:, None, None]
        return 1 / std, -mean / std

    def _render_job(self, rows: Tensor, views: Tensor, batch: int) -> Iterator[Rendered]:
        """Render whole batches together in larger pieces: small batches would cost more to prepare than to use."""
        piece = max(batch, _PIECE // batch * batch)
        drawn = max(piece, _DRAWN // piece * piece)
        for some, seen in zip(rows.split(drawn), views.split(drawn), strict=True):
            elements = self._elements(some, seen)
            for start in range(0, len(some), piece):
                part = slice(start, start + piece)
                whole = self._render_piece(some[part], seen[part], None if elements is None else elements[part])
                for first in range(0, len(whole.rows), batch):
                    yield _cut(whole, slice(first, first + batch))

    def _render_piece(self, rows: Tensor, views: Tensor, where: CropFlip | None) -> Rendered:
        """Render some batches together."""
        mix = self._draw_mix(rows, views)
        partners = None if mix is None else self.pixels(mix.partner, views)
        return self._finish(rows, self._crop(rows, where), partners, mix)

    def _stream_workers(self, jobs: Iterable[Job], batch: int) -> Iterator[Rendered]:
        """Batches out of worker processes; with mixing, the partners' pixels come in the same batch."""
        pending: deque[tuple[Tensor, Tensor, Mix | None]] = deque()

        def requests() -> Iterator[tuple[Tensor, Tensor]]:
            for rows, view in jobs:
                for r, v in zip(rows.split(batch), _per_row(rows, view).split(batch), strict=True):
                    mix = self._draw_mix(r, v)
                    asked = (r, v) if mix is None else (torch.cat([r, mix.partner]), torch.cat([v, v]))
                    pending.append((*asked, mix))
                    yield asked

        for loaded in Loader(self._per_sample, self._workers, pin=self.device.type == "cuda").stream(requests()):
            rows, views, mix = pending.popleft()
            pixels = self._augment(loaded.to(self.device, non_blocking=True), rows, views)
            size = len(rows) if mix is None else len(rows) // 2
            yield self._finish(rows[:size], pixels[:size], pixels[size:], mix)

    def _finish(self, rows: Tensor, pixels: Tensor, partners: Tensor | None, mix: Mix | None) -> Rendered:
        """Normalise, and mix with the partners' pixels where there is a mix."""
        inputs = self._normalise(pixels)
        if self.options.mix is None or mix is None or partners is None:
            return Rendered(rows, inputs)
        blend = mixup if self.options.mix.kind == "mixup" else cutmix
        moved = Mix(mix.partner, mix.weight.to(self.device), mix.centre.to(self.device))
        mixed, weight = blend(inputs, self._normalise(partners), moved)
        return Rendered(rows, mixed, mix.partner, weight)

    def _draw_mix(self, rows: Tensor, views: Tensor) -> Mix | None:
        """How a batch is mixed; None where it is not."""
        options = self.options.mix
        if options is None:
            return None
        return draw_mix(
            rows,
            views,
            len(self.split),
            alpha=options.alpha,
            probability=options.probability,
            seed=self.options.seed,
        )

    def _normalise(self, pixels: Tensor) -> Tensor:
        """(pixels - mean) / std of pixels in [0, 1]; uint8 is scaled to that first."""
        factor, shift = self._scale
        if pixels.dtype == torch.uint8:
            factor = factor / 255
        return pixels.to(torch.float32, copy=True).mul_(factor).add_(shift)


def view_policy(split: Split, options: ViewOptions) -> dict[str, Any]:
    """The record of a view policy over a split, as the store keeps it: plain JSON values."""
    record: dict[str, Any] = json.loads(canonical_json(policy(options, asdict(split.preprocess))))
    return record


def _per_row(rows: Tensor, view: int | Tensor) -> Tensor:
    """One view index a row."""
    return view if isinstance(view, Tensor) else torch.full_like(rows, view)


def _cut(whole: Rendered, part: slice) -> Rendered:
    """A slice of a batch."""
    partner = None if whole.partner is None else whole.partner[part]
    weight = None if whole.weight is None else whole.weight[part]
    return Rendered(whole.rows[part], whole.inputs[part], partner, weight)
