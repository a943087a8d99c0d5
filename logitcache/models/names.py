"""Networks by name.

=====================  ================================================================================
``wrn-D-K``            Wide ResNet of depth D = 6n + 4 and widening factor K
``cnn-W-W-...``        3x3 convolutions of these widths with stride 2, for small images
``res-W-W-...``        a stem of the first width and a residual block for each further, all stride 2
``torchvision/NAME``   torchvision's classifiers
``timm/NAME``          timm's networks (extra ``timm``)
``module:factory``     a user's own, called with ``classes`` and ``shape``
=====================  ================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator

from logitcache.errors import InputError
from logitcache.factories import is_factory_name, load_factory, nearest
from logitcache.models import families, foreign
from logitcache.models.network import Network

__all__ = ["ModelName", "build_model", "check_model_name", "model_names"]

Shape = tuple[int, int, int]

# families are endless: these members stand for them in messages and lists
_EXAMPLES = ("cnn-16-32-32", "res-32-64-128", "wrn-16-2", "wrn-16-4", "wrn-28-2", "wrn-28-4", "wrn-40-2", "wrn-40-6")
_FORMS = "wrn-D-K, cnn-W-W-..., res-W-W-..., torchvision/NAME, timm/NAME, module:factory"


def model_names() -> tuple[str, ...]:
    """Names that work with what comes with the package: members of its families, and the forms of the others."""
    return (*_EXAMPLES, "torchvision/NAME", "timm/NAME", "module:factory")


def check_model_name(name: str) -> None:
    """Refuse a name that stands for no network, without building one.

    Raises:
        InputError: an unknown name (the message has the nearest known one), numbers that a family does not
            allow, or a package or module that is not there.
    """
    prefix, slash, rest = name.partition("/")
    if slash and prefix == "torchvision":
        foreign.check_torchvision_name(rest)
    elif slash and prefix == "timm":
        foreign.check_timm_name(rest)
    elif is_factory_name(name):
        load_factory(name)
    else:
        _own(name)


def build_model(name: str, classes: int, shape: Shape) -> Network:
    """The network of the given name, on the CPU, with weights drawn from torch's current random state.

    Args:
        name: see the module's table.
        classes: the number of logits.
        shape: ``(C, H, W)`` of one input.

    Raises:
        InputError: as :func:`check_model_name`, or a network that does not take such inputs.
    """
    prefix, slash, rest = name.partition("/")
    if slash and prefix == "torchvision":
        return foreign.from_torchvision(rest, classes, shape)
    if slash and prefix == "timm":
        return foreign.from_timm(rest, classes, shape)
    if is_factory_name(name):
        return foreign.from_factory(name, classes, shape)
    return _own(name)(classes, shape)


def _known(name: str) -> str:
    """The name, for pydantic, which collects ValueError."""
    try:
        check_model_name(name)
    except InputError as error:
        raise ValueError(str(error)) from error
    return name


ModelName = Annotated[str, AfterValidator(_known)]
"""A network's name in option records."""


def _own(name: str) -> Callable[[int, Shape], Network]:
    """The maker of one of the package's own networks.

    Raises:
        InputError: the name is in no family.
    """
    if not re.fullmatch(r"(wrn|cnn|res)(-[1-9][0-9]{0,4})+", name):
        raise InputError(f"unknown model {name!r}{nearest(name, _EXAMPLES)}; known are {_FORMS}")
    family, *numbers = name.split("-")
    widths = tuple(int(number) for number in numbers)
    if family == "wrn":
        return _wrn(name, widths)
    if family == "res":
        if len(widths) < 2:
            raise InputError(
                f"model {name!r}: res-W-W-... needs a stem and at least one block, for example res-32-64-128"
            )
        return lambda classes, shape: families.res(widths, classes, shape)
    return lambda classes, shape: families.cnn(widths, classes, shape)


def _wrn(name: str, numbers: tuple[int, ...]) -> Callable[[int, Shape], Network]:
    """The maker of a Wide ResNet, its numbers checked."""
    if len(numbers) != 2:
        raise InputError(f"model {name!r}: wrn-D-K has a depth and a widening factor, for example wrn-16-2")
    depth, widen = numbers
    if depth < 10 or depth % 6 != 4:
        below = max(10, depth - (depth - 4) % 6)
        raise InputError(
            f"model {name!r}: the depth of wrn-D-K is 6n + 4 (10, 16, 22, 28, 34, 40, ...); "
            f"did you mean 'wrn-{below}-{widen}'?"
        )
    return lambda classes, shape: families.wrn(depth, widen, classes, shape)
