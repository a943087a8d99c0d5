"""What a view policy is: a kind, a count, a seed, and a record of it that the store keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torchvision
from pydantic import Field, field_validator, model_validator
from torchvision.transforms import v2

from logitcache.factories import is_factory_name, nearest
from logitcache.records import Options

__all__ = ["MixOptions", "ViewOptions", "policy"]

Transform = str | dict[str, Any]


class MixOptions(Options):
    """Mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019) over keyed pairs of samples, in augmented views."""

    kind: Literal["mixup", "cutmix"] = Field(description="mix whole images, or paste a box of the partner")
    alpha: float = Field(0.2, gt=0, le=100, description="the weights are drawn from Beta(alpha, alpha)")
    probability: float = Field(1.0, ge=0, le=1, description="share of samples that are mixed")


class ViewOptions(Options):
    """A view policy: how many augmented views there are and what makes them.

    ``kind`` is ``none`` (the clean view only), ``crop_flip`` (pad, crop, flip: a finite set that is walked without
    repetition), ``transforms`` (a list of torchvision v2 transforms) or ``module:factory`` (a callable without
    arguments that returns a transform of a PIL image or uint8 tensor).
    """

    kind: str = Field("none", description="none, crop_flip, transforms or module:factory")
    count: int = Field(0, ge=0, description="augmented views beside the clean one")
    seed: int = Field(0, description="key of all draws")
    padding: int = Field(4, ge=0, le=64, description="crop_flip: pixels of zero padding on each side")
    transforms: tuple[Transform, ...] = Field((), description="transforms: names, or tables with a name and arguments")
    mix: MixOptions | None = Field(None, description="mixup or cutmix over keyed pairs")

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        known = ("none", "crop_flip", "transforms")
        if kind not in known and not is_factory_name(kind):
            raise ValueError(f"must be one of {', '.join(known)}, or module:factory{nearest(kind, known)}")
        return kind

    @field_validator("transforms")
    @classmethod
    def _known_transforms(cls, transforms: tuple[Transform, ...]) -> tuple[Transform, ...]:
        for transform in transforms:
            _check_transform(transform)
        return transforms

    @model_validator(mode="after")
    def _consistent(self) -> ViewOptions:
        if (self.kind == "transforms") != bool(self.transforms):
            raise ValueError('transforms and kind = "transforms" go together')
        if self.kind == "none" and self.count:
            raise ValueError("kind none has the clean view only; set count to 0 or choose another kind")
        return self

    @property
    def distinct(self) -> int | None:
        """How many distinct views a sample has: (2p+1)**2 * 2 for crop_flip; None where there is no end."""
        if self.kind == "none":
            return 1
        if self.kind == "crop_flip" and self.mix is None:
            return 2 * (2 * self.padding + 1) ** 2
        return None


def policy(options: ViewOptions, preprocess: Mapping[str, Any]) -> dict[str, Any]:
    """The record that decides what each view looks like: equal policies render equal inputs.

    The count is left out, because view v is the same however many there are. Fields that the kind does not use
    are left out too; transforms depend on torchvision, so its version is in.
    """
    record: dict[str, Any] = {"kind": options.kind, "preprocess": dict(preprocess)}
    if options.kind != "none":
        record["seed"] = options.seed
    if options.kind == "crop_flip":
        record["padding"] = options.padding
    if options.kind == "transforms":
        record["transforms"] = [t if isinstance(t, str) else dict(t) for t in options.transforms]
    if options.kind not in ("none", "crop_flip"):
        record["torchvision"] = torchvision.__version__.split("+")[0]
    if options.mix is not None:
        record["mix"] = options.mix.model_dump()
    return record


def _check_transform(transform: Transform) -> None:
    """Refuse a transform that torchvision does not have, or whose arguments it does not take."""
    name = transform if isinstance(transform, str) else transform.get("name")
    arguments = {} if isinstance(transform, str) else {k: v for k, v in transform.items() if k != "name"}
    factory = getattr(v2, str(name), None)
    if not isinstance(factory, type):
        raise ValueError(f"torchvision.transforms.v2 has no transform {name!r}{nearest(str(name), v2.__dict__)}")
    try:
        factory(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
