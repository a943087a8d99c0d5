"""What a user asks of a teacher: its network and weights, and the arithmetic that it is run in.

Apart from ``teacher``, so that recipes can be read without the code that loads and runs teachers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from logitcache.models import ModelName
from logitcache.records import Options

__all__ = ["InferenceOptions", "TeacherOptions"]

_TORCHVISION = "torchvision/"


class TeacherOptions(Options):
    """A named network and where its weights come from: a checkpoint, torchvision, or a recipe's teach step."""

    name: str = Field(description="the teacher's name in the store: letters, digits, - _ .")
    model: ModelName = Field(description="a network by name, for example wrn-28-4")
    checkpoint: Path | None = Field(default=None, description="weights: .safetensors, or .pt/.pth with tensors only")
    weights: str | None = Field(
        default=None, description="torchvision's name of pretrained weights, for example DEFAULT"
    )

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        """Refuse names that could not be a group of a store and a file."""
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
            raise ValueError("a teacher's name has letters, digits, - _ . (at most 100, first no - or .)")
        return name

    @field_validator("weights")
    @classmethod
    def _one_source(cls, weights: str | None, info: ValidationInfo) -> str | None:
        """Refuse two sources of weights, and torchvision's weights for other networks."""
        if weights is not None and info.data.get("checkpoint") is not None:
            raise ValueError("give either checkpoint or weights, not both")
        if weights is not None and not info.data.get("model", _TORCHVISION).startswith(_TORCHVISION):
            raise ValueError("weights are torchvision's, for models named torchvision/NAME; give a checkpoint instead")
        return weights


class InferenceOptions(Options):
    """How a teacher is run."""

    precision: Literal["float32", "bf16"] = Field(default="float32", description="the arithmetic of the forward pass")
    batch: int = Field(default=512, gt=0, description="samples in a forward pass, cut from each block's start")
    compile: bool = Field(default=False, description="run the network through torch.compile")
