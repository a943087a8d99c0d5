"""How fast a network is on a device: rows a second of its bare forward pass, from as few rows as tell."""

from __future__ import annotations

import time
from functools import cache

import torch
from torch import Tensor

from logitcache.models import Network, build_model
from logitcache.teacher_options import InferenceOptions

__all__ = ["forward_rate", "random_network"]

_ENOUGH = 0.1
"""Seconds of a pass that is long enough to judge by."""


@cache
def forward_rate(
    model: str, classes: int, shape: tuple[int, int, int], inference: InferenceOptions, device: torch.device
) -> float:
    """Rows a second of a network with random weights; measured once a process.

    Batches double until a pass takes a tenth of a second or the batch is whole, so that a large network on a slow
    device is not run over a whole batch.

    Args:
        model: the network by name.
        classes: the number of logits.
        shape: ``(C, H, W)`` of one input.
        inference: precision and the largest batch; compilation is left out.
        device: where it runs.

    Raises:
        InputError: a network that does not take such inputs.
    """
    network = random_network(model, classes, shape).to(device).to(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=inference.precision == "bf16"):
        rows = 1
        _seconds(network, torch.zeros(rows, *shape, device=device))  # a device's first pass sets things up
        while True:
            inputs = torch.zeros(rows, *shape, device=device)
            seconds = min(_seconds(network, inputs), _seconds(network, inputs))
            if seconds >= _ENOUGH or rows == inference.batch:
                return rows / seconds
            rows = min(2 * rows, inference.batch)


def random_network(model: str, classes: int, shape: tuple[int, int, int]) -> Network:
    """A network with random weights, in eval mode: as fast and as wide as the trained one, and there without it."""
    with torch.random.fork_rng(devices=[]):
        return build_model(model, classes, shape).eval()


def _seconds(network: Network, inputs: Tensor) -> float:
    """Seconds of one forward pass, until its result is here."""
    started = time.perf_counter()
    float(network(inputs).sum())
    return time.perf_counter() - started
