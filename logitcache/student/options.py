"""How a network is trained: the options that a recipe names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field

from logitcache.student.schedule import ScheduleOptions

__all__ = ["TrainingOptions"]

_LATER = {"ema": None, "compile": False}
"""Options that came after the first release, with the value that changes nothing."""

_LOOKING = {"measure_train"}
"""Options that say what is looked at, and decide nothing else."""


class TrainingOptions(ScheduleOptions):
    """How a network is trained: length, optimizer, schedule, precision, and how often to look and to save."""

    epochs: int = Field(gt=0, description="passes over the feed")
    batch: int = Field(default=64, gt=0, description="samples in a step")
    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", description="SGD with momentum, or AdamW")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd: momentum")
    nesterov: bool = Field(default=True, description="sgd: Nesterov's form, where momentum is not 0")
    weight_decay: float = Field(
        default=5e-4, ge=0, description="weight decay of parameters with two or more dimensions"
    )
    decay_norm: bool = Field(default=False, description="decay biases and normalisation weights too")
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay per step of a moving average of the weights, which is what is evaluated and saved",
    )
    precision: Literal["float32", "bf16"] = Field(default="float32", description="bf16: autocast to bfloat16")
    compile: bool = Field(default=False, description="torch.compile for the network's forward pass; needs a compiler")
    """Pays on GPUs and for long trainings. torch keeps 8 compiled variants in a process (its ``recompile_limit``), two
    an architecture where the last batch is smaller; beyond them networks run uncompiled, and torch warns."""

    evaluate_every: int = Field(
        default=1, gt=0, description="epochs between test accuracies; the last epoch always has one"
    )
    measure_train: bool = Field(
        default=False,
        description="with each test accuracy, train accuracy and the logits' distance to the teacher's, on the clean "
        "view of the train samples seen: a forward pass over them; runs that are finished are not measured later",
    )
    checkpoint_seconds: float = Field(
        default=30.0, ge=0, description="least seconds between two checkpoints, within epochs too; 0: after every step"
    )

    def record(self, *, without: Collection[str] = ()) -> dict[str, Any]:
        """The options as JSON-able values for fingerprints and comparisons.

        Args:
            without: options to leave out.

        Later options are left out where they change nothing, so that fingerprints of older trainings stay; what only
        looks at a training is always left out.
        """
        record = self.model_dump(mode="json", exclude={*_LOOKING, *without})
        return {key: value for key, value in record.items() if key not in _LATER or value != _LATER[key]}
