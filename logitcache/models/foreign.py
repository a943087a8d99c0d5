"""Networks of other packages: torchvision, timm, and a user's own factory. Each is imported when first asked for."""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor, nn

from logitcache.errors import InputError
from logitcache.factories import load_factory, nearest
from logitcache.models.network import ForeignNetwork, Network

__all__ = ["check_timm_name", "check_torchvision_name", "from_factory", "from_timm", "from_torchvision", "pretrained"]


def check_torchvision_name(name: str) -> None:
    """Refuse a name that is none of torchvision's classifiers.

    Args:
        name: without the prefix, for example ``resnet18``.

    Raises:
        InputError: an unknown name; the message has the nearest known one.
    """
    models = importlib.import_module("torchvision.models")
    known = models.list_models(module=models)
    if name not in known:
        raise InputError(f"torchvision has no classifier {name!r}{nearest(name, known)}")


def from_torchvision(name: str, classes: int, shape: tuple[int, int, int]) -> Network:
    """Torchvision's classifier of the given name, with random weights."""
    check_torchvision_name(name)
    models = importlib.import_module("torchvision.models")
    return ForeignNetwork(
        f"torchvision/{name}", models.get_model(name, weights=None, num_classes=classes), shape, classes
    )


def pretrained(name: str, weights: str) -> dict[str, Tensor]:
    """The state dict of torchvision's pretrained weights; downloaded on first use, and its hash checked.

    Args:
        name: without the prefix, for example ``resnet18``.
        weights: an entry of torchvision's enumeration, for example ``DEFAULT`` or ``IMAGENET1K_V1``.

    Raises:
        InputError: an unknown name, or a network that has no such weights, or a download that failed.
    """
    check_torchvision_name(name)
    known = importlib.import_module("torchvision.models").get_model_weights(name)
    names = list(known.__members__)
    if weights not in names:
        raise InputError(
            f"torchvision/{name} has no weights {weights!r}; known are {', '.join(names)}{nearest(weights, names)}"
        )
    try:
        state: dict[str, Tensor] = known[weights].get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise InputError(
            f"weights {weights!r} of torchvision/{name} could not be fetched: {error}; try again, or name a checkpoint"
        ) from error
    return state


def check_timm_name(name: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        InputError: an unknown name, or timm is not installed.
    """
    timm = _timm()
    if not timm.is_model(name):
        raise InputError(f"timm has no model {name!r}{nearest(name, timm.list_models())}")


def from_timm(name: str, classes: int, shape: tuple[int, int, int]) -> Network:
    """Timm's network of the given name, with random weights."""
    check_timm_name(name)
    network = _timm().create_model(name, pretrained=False, num_classes=classes, in_chans=shape[0])
    return ForeignNetwork(f"timm/{name}", network, shape, classes)


def from_factory(name: str, classes: int, shape: tuple[int, int, int]) -> Network:
    """The network that ``module:factory`` makes when called with ``classes`` and ``shape``.

    Raises:
        InputError: the factory is not found, does not take these arguments, or returns no ``torch.nn.Module``.
    """
    factory = load_factory(name)
    try:
        network = factory(classes=classes, shape=shape)
    except TypeError as error:
        raise InputError(f"{name!r} could not be called with classes={classes}, shape={shape}: {error}") from error
    if isinstance(network, Network):
        return network
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{name!r} returned a {type(network).__name__}; a factory of networks must return a torch.nn.Module"
        )
    return ForeignNetwork(name, network, shape, classes)


def _timm() -> Any:
    """The timm package."""
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise InputError("models named timm/NAME need timm: pip install 'logitcache[timm]'") from error
