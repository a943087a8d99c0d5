"""Views of whole batches on the device: crops and flips, mixup and cutmix. Functions of tensors and keys."""

from __future__ import annotations

import torch
from scipy.special import betaincinv
from torch import Tensor
from torch.nn.functional import pad

from logitcache.keyed import draw, permute, uniform

__all__ = ["CropFlip", "Mix", "crop_flip", "crop_flip_elements", "cutmix", "draw_mix", "mixup"]

_CROP, _PARTNER, _WEIGHT, _CHANCE, _CENTRE = range(5)
"""Streams of draws, so that no two uses share a random number."""


class CropFlip:
    """Where a batch's crops lie: tensors (B,) of top and left offsets in [0, 2 * padding], and flips."""

    def __init__(self, top: Tensor, left: Tensor, flip: Tensor) -> None:
        self.top, self.left, self.flip = top, left, flip

    def __getitem__(self, part: slice) -> CropFlip:
        """A slice of the batch."""
        return CropFlip(self.top[part], self.left[part], self.flip[part])


class Mix:
    """How a batch is mixed: partner rows (B,), the sample's own weight (B,), centres (B, 2) in [0, 1)."""

    def __init__(self, partner: Tensor, weight: Tensor, centre: Tensor) -> None:
        self.partner, self.weight, self.centre = partner, weight, centre


def crop_flip_elements(sample: Tensor, view: Tensor, padding: int, seed: int) -> CropFlip:
    """The crop and flip of each (sample, view), int64 tensors that broadcast; view 0 is the centre, unflipped.

    Views 1, 2, ... of a sample walk a keyed permutation of the (2p+1)**2 * 2 elements, so that none comes twice
    before all have come; every further cycle has a permutation of its own.
    """
    side = 2 * padding + 1
    size = 2 * side * side
    sample, view = torch.broadcast_tensors(sample, view)
    turn = (view - 1).clamp(min=0)
    element = permute(turn % size, size, seed, _CROP, sample, turn // size)
    clean = view == 0
    offset = element // 2
    return CropFlip(
        torch.where(clean, padding, offset // side),
        torch.where(clean, padding, offset % side),
        torch.where(clean, 0, element % 2).bool(),
    )


def crop_flip(images: Tensor, where: CropFlip, padding: int) -> Tensor:
    """Crop (B, C, H, W) images out of their zero-padded selves, then flip some left to right: one gather."""
    batch, channels, height, width = images.shape
    padded_width = width + 2 * padding
    padded = pad(images, (padding, padding, padding, padding)).flatten(2)
    columns = torch.arange(width, device=images.device)
    columns = torch.where(where.flip[:, None], width - 1 - columns, columns) + where.left[:, None]
    rows = torch.arange(height, device=images.device) + where.top[:, None]
    pixels = (rows[:, :, None] * padded_width + columns[:, None, :]).view(batch, 1, -1)
    return padded.gather(2, pixels.expand(-1, channels, -1)).view(images.shape)


def draw_mix(row: Tensor, view: Tensor, samples: int, *, alpha: float, probability: float, seed: int) -> Mix:
    """The partner and weight of each (row, view); in view 0, and where chance says so, a sample is its own.

    Args:
        row: positions in the split, int64 (B,).
        view: view indices, int64 (B,).
        samples: size of the split; partners are a keyed permutation of its rows.
        alpha: weights are Beta(alpha, alpha), by its quantile function.
        probability: share of samples that are mixed.
        seed: key of the draws.
    """
    row, view = torch.broadcast_tensors(row, view)
    partner = permute(row, samples, seed, _PARTNER, view)
    quantile = uniform(draw(seed, _WEIGHT, row, view)).cpu().numpy()
    weight = torch.from_numpy(betaincinv(alpha, alpha, quantile)).to(row.device)
    mixed = (view > 0) & (uniform(draw(seed, _CHANCE, row, view)) < probability)
    centre = torch.stack([uniform(draw(seed, _CENTRE, row, view, axis)) for axis in (0, 1)], dim=-1)
    return Mix(torch.where(mixed, partner, row), torch.where(mixed, weight, 1.0).float(), centre)


def mixup(images: Tensor, partners: Tensor, mix: Mix) -> tuple[Tensor, Tensor]:
    """``weight * image + (1 - weight) * partner`` for float (B, C, H, W); and the weights (B,)."""
    weight = mix.weight.to(images.dtype)
    return torch.lerp(partners, images, weight[:, None, None, None]), mix.weight


def cutmix(images: Tensor, partners: Tensor, mix: Mix) -> tuple[Tensor, Tensor]:
    """Paste a box of the partner, of area 1 - weight before clipping at the border; and the weights that remain."""
    height, width = images.shape[-2:]
    half = (1 - mix.weight).clamp(min=0).sqrt() / 2
    inside = _inside(mix.centre[:, 0], half, height)[:, :, None] & _inside(mix.centre[:, 1], half, width)[:, None, :]
    weight = 1 - inside.float().mean(dim=(1, 2))
    return torch.where(inside[:, None], partners, images), weight


def _inside(centre: Tensor, half: Tensor, size: int) -> Tensor:
    """Which of ``size`` pixels lie within ``half`` (share of the side) of the centre, (B, size)."""
    pixel = torch.arange(size, device=centre.device)
    low = ((centre - half) * size).round()
    high = ((centre + half) * size).round()
    return (pixel >= low[:, None]) & (pixel < high[:, None])
