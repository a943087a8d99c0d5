"""What every network here can do: logits, penultimate features (the input of the last layer), and the last layer."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from logitcache.errors import InputError

__all__ = ["ForeignNetwork", "Network", "OwnNetwork"]


class Network(nn.Module):
    """A classifier from inputs ``(B, C, H, W)`` to logits ``(B, K)``."""

    @property
    @abstractmethod
    def head(self) -> nn.Linear | None:
        """The linear layer that makes the logits, or None where a network ends otherwise."""

    @property
    @abstractmethod
    def core(self) -> nn.Module:
        """The module whose state dict is the network's checkpoint."""

    @abstractmethod
    def with_features(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(B, K)`` and penultimate features ``(B, F)``: what the head is given.

        Raises:
            InputError: the network has no linear head.
        """


class OwnNetwork(Network):
    """A network of this package: a body that ends in features, and a linear classifier."""

    def __init__(self, body: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.classifier = classifier

    @property
    def head(self) -> nn.Linear:
        """The classifier."""
        return self.classifier

    @property
    def core(self) -> nn.Module:
        """The network itself."""
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``(B, K)``."""
        logits: Tensor = self.classifier(self.body(inputs))
        return logits

    def with_features(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(B, K)`` and features ``(B, F)``."""
        features: Tensor = self.body(inputs)
        return self.classifier(features), features


class ForeignNetwork(Network):
    """Someone else's network. Its head is found by watching one forward pass.

    Args:
        name: the network's name in messages.
        wrapped: a module from inputs to logits, or to a tuple that starts with them.
        shape: ``(C, H, W)`` of one input.
        classes: the number of logits it must give.

    Raises:
        InputError: the module refuses inputs of this shape, or gives another number of logits.
    """

    def __init__(self, name: str, wrapped: nn.Module, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.name = name
        self.wrapped = wrapped
        self._head_name = _find_head(name, wrapped, shape, classes)

    @property
    def head(self) -> nn.Linear | None:
        """The last linear layer, where its output is what the network returns."""
        module = None if self._head_name is None else self.wrapped.get_submodule(self._head_name)
        return module if isinstance(module, nn.Linear) else None

    @property
    def core(self) -> nn.Module:
        """The wrapped module: checkpoints have its own names."""
        return self.wrapped

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``(B, K)``."""
        return _logits(self.wrapped(inputs))

    def with_features(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(B, K)`` and features ``(B, F)``, caught on their way into the head."""
        head = self.head
        if head is None:
            raise InputError(f"model {self.name} does not end in a linear layer, so it has no penultimate features")
        caught: list[Tensor] = []
        hook = head.register_forward_pre_hook(lambda _, arguments: caught.append(arguments[0]))
        try:
            logits = self(inputs)
        finally:
            hook.remove()
        return logits, caught[-1]


def _logits(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The logits in what a network returned; GoogLeNet and Inception add auxiliary ones while training."""
    return output if isinstance(output, Tensor) else output[0]


def _find_head(name: str, module: nn.Module, shape: tuple[int, int, int], classes: int) -> str | None:
    """The name of the last linear layer that is given ``(1, F)`` and whose output the network returns."""
    outputs: dict[str, Tensor] = {}

    def watch(key: str, inputs: Tensor, output: Tensor) -> None:
        if inputs.dim() == 2:
            outputs[key] = output

    linears = [(key, part) for key, part in module.named_modules() if isinstance(part, nn.Linear)]
    hooks = [part.register_forward_hook(lambda _, i, o, key=key: watch(key, i[0], o)) for key, part in linears]
    try:
        logits = _probe(name, module, shape)
    finally:
        for hook in hooks:
            hook.remove()
    if tuple(logits.shape) != (1, classes):
        raise InputError(
            f"model {name} gives an output of shape {tuple(logits.shape)} for one input; needed is (1, {classes})"
        )
    makers = [key for key, output in outputs.items() if output is logits]
    return makers[-1] if makers else None


def _probe(name: str, module: nn.Module, shape: tuple[int, int, int]) -> Tensor:
    """The logits of one zero input, without a trace left in the module."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            output = module(torch.zeros(1, *shape))
    except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"model {name} refuses inputs of shape {shape}: {reason}") from error
    finally:
        module.train(training)
    return _logits(output)
