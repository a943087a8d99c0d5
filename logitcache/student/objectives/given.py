"""What a loss is given: a student's outputs and a batch, with the parameters of one term of an objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from logitcache.errors import InputError
from logitcache.student import losses
from logitcache.student.batches import Batch, Outputs

__all__ = ["Given"]


@dataclass(frozen=True)
class Given:
    """One step of one term. Its properties are what losses read, refused in plain words where they are not there.

    Attributes:
        label: the term's name in messages.
        outputs: what the student says.
        batch: the batch.
        epoch: epochs done so far, fractional.
        tau: the temperature.
        values: the parameters of this loss alone, by name.
        standardize: whether logits are standardised row-wise before the loss.
        learned: what the loss learns along with the student, or None.
    """

    label: str
    outputs: Outputs
    batch: Batch
    epoch: float
    tau: float
    values: Mapping[str, float]
    standardize: bool
    learned: nn.Module | None = None

    @property
    def student(self) -> Tensor:
        """The student's logits ``(B, K)``."""
        return self._standard(self.outputs.logits)

    @property
    def teacher(self) -> Tensor:
        """The teacher's logits ``(B, K)``."""
        return self._standard(self._need(self.batch.teacher, "teacher logits", "give the feed a teacher"))

    @property
    def members(self) -> Tensor:
        """The logits of each teacher ``(M, B, K)``."""
        members = self._need(self.batch.members, "each teacher's logits", "give the feed members = True")
        return self._standard(members.flatten(0, 1)).view_as(members)

    @property
    def labels(self) -> Tensor:
        """Labels ``(B,)``; refused where samples are mixed, which have no single one, and where some are hidden."""
        if self.batch.labelled is not None:
            raise InputError(
                f"objective {self.label} parts the classes by the sample's label, and some labels are hidden; "
                "show all of them, or use another loss"
            )
        if self.batch.partner_labels is not None:
            raise InputError(
                f"objective {self.label} parts the classes by the sample's label, and a mixed sample has two; "
                "train it without mixup and CutMix, or use another loss"
            )
        return self.batch.labels

    @property
    def student_features(self) -> Tensor:
        """The student's penultimate features ``(B, F_s)``."""
        return self._need(self.outputs.features, "the student's features", "call the network's with_features")

    @property
    def features(self) -> Tensor:
        """The teacher's penultimate features ``(B, F)``."""
        return self._need(self.batch.features, "the teacher's features", "give the feed features")

    def learn(self, *inputs: Tensor | float) -> Tensor:
        """What the learned part makes of some inputs."""
        if self.learned is None:
            raise InputError(f"objective {self.label} learns something of its own; make it by objective(options)")
        made: Tensor = self.learned(*inputs)
        return made

    def _standard(self, logits: Tensor) -> Tensor:
        """Logits as the loss sees them."""
        return losses.standardize(logits, 1.0) if self.standardize else logits

    def _need(self, value: Tensor | None, what: str, advice: str) -> Tensor:
        """The value, which must be there."""
        if value is None:
            raise InputError(f"objective {self.label} needs {what}, and the batch has none: {advice}")
        return value
