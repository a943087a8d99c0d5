"""Teachers: a named network with its weights, their fingerprint, and the arithmetic that it is run in.

On CPU and GPU alike bf16 means autocast over channels_last weights: as fast as converted weights (measured),
and normalisation and softmax keep float32, which networks of other packages count on. float32 is what torch
makes of it: convolutions on CUDA use TF32 unless ``torch.backends.cudnn.allow_tf32`` is switched off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from logitcache.errors import InputError
from logitcache.models import Network, build_model, pretrained
from logitcache.models.weights import (
    load_checkpoint,
    load_state,
    read_checkpoint_metadata,
    save_checkpoint,
    weight_fingerprint,
)
from logitcache.teacher_options import InferenceOptions, TeacherOptions

__all__ = [
    "InferenceOptions",
    "Teacher",
    "TeacherOptions",
    "load_teacher",
    "read_checkpoint_metadata",
    "save_checkpoint",
    "weight_fingerprint",
]

_TORCHVISION = "torchvision/"


@dataclass(frozen=True)
class Teacher:
    """A teacher ready to run.

    Attributes:
        name: its name in the store.
        model: its network's name.
        network: on its device, in eval mode, weights in channels_last.
        fingerprint: of its weights, 16 hexadecimal digits.
        precision: ``float32`` or ``bf16``.
        run: from inputs to logits; compiled where that was asked for.
        run_with_features: from inputs to logits and features; likewise.
    """

    name: str
    model: str
    network: Network
    fingerprint: str
    precision: Literal["float32", "bf16"]
    run: Callable[[Tensor], Tensor]
    run_with_features: Callable[[Tensor], tuple[Tensor, Tensor]]

    @property
    def head(self) -> nn.Linear | None:
        """The layer that makes the logits from the features, or None."""
        return self.network.head

    def __call__(self, inputs: Tensor, *, features: bool = False) -> tuple[Tensor, Tensor | None]:
        """Logits and, where asked for, penultimate features.

        Args:
            inputs: float32 ``(B, C, H, W)``, normalised, on the teacher's device.
            features: whether to return what the head is given.

        Returns:
            float32 ``(B, K)`` and float32 ``(B, F)`` or None.

        Raises:
            InputError: features of a network without a linear head.
        """
        bf16 = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(inputs.device.type, torch.bfloat16, enabled=bf16):
            if features:
                logits, penultimate = self.run_with_features(inputs)
                return logits.float(), penultimate.float()
            return self.run(inputs).float(), None


def load_teacher(
    options: TeacherOptions,
    classes: int,
    shape: tuple[int, int, int],
    inference: InferenceOptions,
    device: torch.device | str,
) -> Teacher:
    """Build a teacher's network, load its weights and make it ready to run.

    Args:
        options: its name, network and source of weights.
        classes: the data set's number of classes.
        shape: ``(C, H, W)`` of one input.
        inference: precision and compilation.
        device: where it is to run.

    Raises:
        InputError: no source of weights, weights that do not fit, or a network that does not take such inputs.
    """
    with torch.random.fork_rng(devices=[]):
        network = build_model(options.model, classes, shape)
    _load_weights(options, network)
    fingerprint = weight_fingerprint(network.core.state_dict())
    network = network.eval().requires_grad_(requires_grad=False).to(device).to(memory_format=torch.channels_last)
    return Teacher(
        name=options.name,
        model=options.model,
        network=network,
        fingerprint=fingerprint,
        precision=inference.precision,
        run=torch.compile(network.forward) if inference.compile else network,
        run_with_features=torch.compile(network.with_features) if inference.compile else network.with_features,
    )


def _load_weights(options: TeacherOptions, network: Network) -> None:
    """Fill a network from the options' one source of weights."""
    if options.checkpoint is not None:
        load_checkpoint(options.checkpoint, network, options.model)
    elif options.weights is not None:
        state = pretrained(options.model.removeprefix(_TORCHVISION), options.weights)
        load_state(network, state, f"weights {options.weights!r}", options.model)
    else:
        raise InputError(
            f"teacher {options.name!r} has no weights: name a checkpoint, torchvision's weights, or add a teach step"
        )
