"""The whole state of a training in one safetensors file: weights, optimizer, and what happened so far.

Tensors are named ``network/<key>`` and ``optimizer/<parameter>/<key>``; the metadata's ``state`` is a JSON
object. The file is replaced in one step, so an interrupted write leaves the one before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from logitcache.errors import InputError
from logitcache.files import plain_tensors, write_atomically
from logitcache.records import canonical_json

__all__ = ["load", "save"]

_FORMAT = "logitcache training 1"


def save(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write weights, optimizer tensors and a JSON-able state.

    Args:
        path: the file to replace.
        network: its whole state dict is stored.
        optimizer: over parameters of ``network``.
        state: anything else; finite numbers, strings, lists and mappings.
    """
    tensors = {f"network/{key}": value for key, value in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{name}/{key}"] = value
    metadata = {"format": _FORMAT, "state": canonical_json(state).decode()}
    write_atomically(path, safetensors.torch.save(plain_tensors(tensors), metadata))


def load(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore what :func:`save` wrote and return its state.

    Raises:
        InputError: the file is damaged, is no checkpoint of a training, or is that of another network.
    """
    try:
        with safetensors.safe_open(str(path), framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  # no mapping
    except safetensors.SafetensorError as error:
        raise InputError(f"{path} is damaged ({error}); delete it to train from the start") from error
    if metadata.get("format") != _FORMAT:
        raise InputError(f"{path} is no checkpoint of a training; delete it or choose another folder")
    _restore_network(path, network, tensors)
    _restore_optimizer(network, optimizer, tensors)
    state: dict[str, Any] = json.loads(metadata["state"])
    return state


def _restore_network(path: Path, network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put the stored weights into the network, in its own memory format."""
    stored = {key.removeprefix("network/"): value for key, value in tensors.items() if key.startswith("network/")}
    own = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    if own != {key: tuple(value.shape) for key, value in stored.items()}:
        raise InputError(f"{path} is the checkpoint of another network; delete it or choose another folder")
    network.load_state_dict(stored)


def _restore_optimizer(network: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the stored optimizer tensors beside their parameters, in the same memory format."""
    parameters = dict(network.named_parameters())
    for place, value in tensors.items():
        kind, _, rest = place.partition("/")
        if kind == "optimizer":
            name, _, key = rest.rpartition("/")
            optimizer.state[parameters[name]][key] = _beside(parameters[name], value, optimizer)


def _beside(parameter: Tensor, value: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
    """An optimizer tensor where and how its optimizer keeps it; step counts stay on the CPU unless it is fused."""
    if value.dim() == 0:
        return value.to(parameter.device) if optimizer.defaults.get("fused") else value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
