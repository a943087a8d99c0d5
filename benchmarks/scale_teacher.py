"""The teacher of ``bench_scale``: rows of logits at the speed of memory, with the spectrum of a real network's.

A row is a mix of two rows of a bank, which a hash of the image's pixels chooses, so that it is a function of the image
alone, as a network's is, and views differ. The first is a row of the image's class, and has more weight in five of six
images: so often the teacher is right.

Rows of the bank are normal, and one class of each stands out. The spread of both together along the k-th of their
principal directions falls as that of MobileNetV2's logits of 1001 classes was measured to, and so do their surest rows.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from scale_options import Scale
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from logitcache.data import Preprocess, Split, memory_split
from logitcache.keyed import below, draw, uniform
from logitcache.models import build_model
from logitcache.models.weights import save_checkpoint

__all__ = ["MODEL", "PADDING", "SHAPE", "bank_network", "make_bank", "make_split", "spreads", "write_bank"]

MODEL = "scale_teacher:bank_network"
SHAPE = (3, 5, 5)
PADDING = 2
"""The centre pixel is inside the image at every crop of this padding."""

Spreads = np.ndarray[tuple[int], np.dtype[np.float64]]

ROWS_A_CLASS = 4
_DEVIATION = 1.53
_BEND = 0.359
_PEAK = 8.0
_WIDEST_ANGLE = 0.3 * math.pi
_SEED = 0
_OWN, _OTHER, _ANGLE, _PIXEL = range(4)


class BankTeacher(nn.Module):
    """From images of :func:`make_split` to logits (B, classes)."""

    bank: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("bank", torch.zeros(ROWS_A_CLASS * classes, classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits float32 (B, classes) of inputs float32 (B, 3, 5, 5), pixels over 255."""
        pixels = (inputs * 255).round().to(torch.int64)
        middle, classes = SHAPE[1] // 2, self.bank.shape[1]
        label = (pixels[:, 0, middle, middle] + 256 * pixels[:, 1, middle, middle]) % classes
        noise = pixels[:, 2].flatten(1)
        odd = draw(_SEED, _PIXEL, torch.arange(noise.shape[1], device=noise.device)) | 1
        key = draw(_SEED, (noise * odd).sum(1))
        own = label + classes * below(draw(_SEED, key, _OWN), ROWS_A_CLASS)
        other = below(draw(_SEED, key, _OTHER), len(self.bank))
        angle = _WIDEST_ANGLE * uniform(draw(_SEED, key, _ANGLE)).float()
        weights = torch.stack([angle.cos(), angle.sin()], dim=1)
        return embedding_bag(torch.stack([own, other], dim=1), self.bank, per_sample_weights=weights, mode="sum")


def bank_network(classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The network that ``MODEL`` names, its bank still empty; it takes images of one shape only."""
    if shape != SHAPE:
        raise ValueError(f"inputs of shape {shape}; these images have {SHAPE}")
    return BankTeacher(classes)


def spreads(classes: int) -> Spreads:
    """The standard deviation of rows along each of their principal directions, falling, (classes,)."""
    k = np.arange(1, classes + 1)
    falling = k**-0.45 / (1 + (k / (_BEND * classes)) ** 1.8)
    return falling * _DEVIATION * math.sqrt(classes) / float(np.linalg.norm(falling))


def make_bank(classes: int, seed: int = 0) -> Tensor:
    """The bank, float32 (4 * classes, classes); row r is of class r modulo the number of classes."""
    random = np.random.default_rng(seed)
    rest = np.sqrt(np.maximum(spreads(classes) ** 2 - _PEAK**2 / classes, 0))  # peaks spread alike along all directions
    directions, _ = np.linalg.qr(random.normal(size=(classes, classes)))
    normal = random.normal(size=(ROWS_A_CLASS * classes, classes)) * rest @ directions.T
    return torch.from_numpy((normal + np.tile(_PEAK * np.eye(classes), (ROWS_A_CLASS, 1))).astype(np.float32))


def write_bank(path: Path, classes: int) -> None:
    """The teacher's checkpoint."""
    network = build_model(MODEL, classes, SHAPE)
    network.core.load_state_dict({"bank": make_bank(classes)})
    save_checkpoint(path, network, MODEL, {})


def make_split(scale: Scale) -> Split:
    """Images in memory: two channels say the class, the third is noise; all classes come equally often."""
    labels = torch.arange(scale.samples) % scale.classes
    noise = torch.Generator().manual_seed(_SEED)
    images = torch.empty((scale.samples, *SHAPE), dtype=torch.uint8)
    images[:, 0] = (labels & 255).to(torch.uint8)[:, None, None]
    images[:, 1] = (labels >> 8).to(torch.uint8)[:, None, None]
    images[:, 2] = torch.randint(0, 256, (scale.samples, *SHAPE[1:]), generator=noise, dtype=torch.uint8)
    return memory_split(
        dataset="scale",
        name="train",
        images=images,
        labels=labels,
        classes=tuple(f"class {number}" for number in range(scale.classes)),
        preprocess=Preprocess((0.0,) * 3, (1.0,) * 3),
    )
