"""Predictions and accuracy of a network on the clean view of a split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

import torch
from torch import Tensor, nn

from logitcache.data import Split
from logitcache.views import Renderer, ViewOptions

__all__ = ["BATCH", "Evaluator", "forward"]

BATCH = 1000
"""Samples that are shown at once."""

_KEEP_BYTES = 1 << 30


class Evaluator:
    """Runs networks over the clean view of a split; small splits stay rendered on the device."""

    def __init__(self, split: Split, device: torch.device, *, precision: str = "float32", workers: int = 0) -> None:
        self._split, self._device, self._precision = split, device, precision
        self._renderer = Renderer(split, ViewOptions(), device, workers)

    def accuracy(self, network: nn.Module) -> float:
        """Top-1 accuracy in percent."""
        right = self.logits(network).argmax(dim=1) == self._labels
        return 100.0 * int(right.sum()) / len(right)

    def logits(self, network: nn.Module) -> Tensor:
        """Logits of all samples, float32 (samples, classes) on the device."""
        return torch.cat([forward(network, inputs, self._precision) for inputs in self.batches()])

    def batches(self) -> Iterable[Tensor]:
        """The inputs of all samples in order, ``BATCH`` at once, float32 (B, C, H, W) on the device."""
        return self._render() if self._kept is None else self._kept

    @cached_property
    def _labels(self) -> Tensor:
        return self._split.labels.to(self._device)

    @cached_property
    def _kept(self) -> list[Tensor] | None:
        """All inputs, where they are small enough to keep."""
        channels, height, width = self._split.shape
        small = len(self._split) * channels * height * width * 4 <= _KEEP_BYTES
        return list(self._render()) if small else None

    def _render(self) -> Iterator[Tensor]:
        rows = torch.arange(len(self._split))
        for rendered in self._renderer.stream([(rows, 0)], BATCH):
            yield rendered.inputs


def forward(network: nn.Module, inputs: Tensor, precision: str) -> Tensor:
    """Logits of inputs in eval mode, float32 without gradient; ``bf16`` runs the network under autocast."""
    training = network.training
    network.eval()
    with torch.inference_mode(), torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits: Tensor = network(inputs).float()
    network.train(training)
    return logits
