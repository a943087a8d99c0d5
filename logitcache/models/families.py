"""The package's own families of networks, each a function of its numbers, the class count and the input's shape.

All take inputs of any height and width, and end in the mean over positions and a linear classifier.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from logitcache.models.network import OwnNetwork

__all__ = ["cnn", "res", "wrn"]


class MeanPool(nn.Module):
    """The mean over positions: ``(B, C, H, W)`` to ``(B, C)``."""

    def forward(self, inputs: Tensor) -> Tensor:
        """The pooled features."""
        return inputs.mean(dim=(2, 3))


class PreActivationBlock(nn.Module):
    """Batch norm, ReLU and 3x3 convolution, twice, beside an identity or 1x1 shortcut.

    Zagoruyko and Komodakis 2016, "Wide residual networks", without dropout. Where the width changes, the
    shortcut reads the activated input, as in their code and that of Kim et al. 2021.
    """

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(width_in)
        self.conv1 = _conv(width_in, width_out, stride)
        self.norm2 = nn.BatchNorm2d(width_out)
        self.conv2 = _conv(width_out, width_out)
        same = width_in == width_out and stride == 1
        self.shortcut = None if same else nn.Conv2d(width_in, width_out, 1, stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """The block's output."""
        active = torch.relu_(self.norm1(inputs))
        residual: Tensor = self.conv2(torch.relu_(self.norm2(self.conv1(active))))
        return residual + (inputs if self.shortcut is None else self.shortcut(active))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm beside a shortcut, then ReLU (He et al. 2016)."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(width_in, width_out, stride)
        self.norm1 = nn.BatchNorm2d(width_out)
        self.conv2 = _conv(width_out, width_out)
        self.norm2 = nn.BatchNorm2d(width_out)
        same = width_in == width_out and stride == 1
        self.shortcut = None if same else _projection(width_in, width_out, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """The block's output."""
        residual = self.norm2(self.conv2(torch.relu_(self.norm1(self.conv1(inputs)))))
        return torch.relu_(residual + (inputs if self.shortcut is None else self.shortcut(inputs)))


def wrn(depth: int, widen: int, classes: int, shape: tuple[int, int, int]) -> OwnNetwork:
    """The Wide ResNet of the given depth (6n + 4) and widening factor.

    Initialised as in Kim et al.'s code: convolutions normal with variance 2 / fan-out, classifier bias 0.
    """
    blocks_per_stage = (depth - 4) // 6
    layers: list[nn.Module] = [_conv(shape[0], 16)]
    widths = [16, 16 * widen, 32 * widen, 64 * widen]
    for stage, (width_in, width_out) in enumerate(pairwise(widths)):
        layers.append(PreActivationBlock(width_in, width_out, stride=1 if stage == 0 else 2))
        layers.extend(PreActivationBlock(width_out, width_out, stride=1) for _ in range(blocks_per_stage - 1))
    layers += [nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True), MeanPool()]
    return _initialised(OwnNetwork(nn.Sequential(*layers), nn.Linear(widths[-1], classes)))


def cnn(widths: tuple[int, ...], classes: int, shape: tuple[int, int, int]) -> OwnNetwork:
    """3x3 convolutions of the given widths, each with stride 2, batch norm and ReLU."""
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise((shape[0], *widths)):
        layers += [_conv(width_in, width_out, stride=2), nn.BatchNorm2d(width_out), nn.ReLU(inplace=True)]
    return _initialised(OwnNetwork(nn.Sequential(*layers, MeanPool()), nn.Linear(widths[-1], classes)))


def res(widths: tuple[int, ...], classes: int, shape: tuple[int, int, int]) -> OwnNetwork:
    """A stem of the first width and a residual block for each further one, each with stride 2."""
    stem, *stages = widths
    layers: list[nn.Module] = [_conv(shape[0], stem, stride=2), nn.BatchNorm2d(stem), nn.ReLU(inplace=True)]
    layers += [ResidualBlock(width_in, width_out, stride=2) for width_in, width_out in pairwise((stem, *stages))]
    return _initialised(OwnNetwork(nn.Sequential(*layers, MeanPool()), nn.Linear(widths[-1], classes)))


def _conv(width_in: int, width_out: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution without bias, since batch norm follows."""
    return nn.Conv2d(width_in, width_out, 3, stride, padding=1, bias=False)


def _projection(width_in: int, width_out: int, stride: int) -> nn.Module:
    """The shortcut where width or resolution change."""
    return nn.Sequential(nn.Conv2d(width_in, width_out, 1, stride, bias=False), nn.BatchNorm2d(width_out))


def _initialised(network: OwnNetwork) -> OwnNetwork:
    """The network with its convolutions and classifier drawn from torch's current random state."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
    nn.init.zeros_(network.classifier.bias)
    return network
