"""What is measured of a student on the samples that it is trained on, beside its test accuracy."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from logitcache.data import Split
from logitcache.soft_targets import SoftTargets
from logitcache.student.evaluation import BATCH, Evaluator, forward
from logitcache.student.loop import Evaluate
from logitcache.student.records import Measured, TrainMeasures
from logitcache.views import Renderer, ViewOptions

__all__ = ["TrainSamples", "measured_on"]


class TrainSamples:
    """The samples that a network is trained on, in their clean view, with its labels and its teacher's logits.

    Inputs are rendered and logits decoded anew each time, batch by batch, so that nothing of a split's size is kept.

    Args:
        split: the train split.
        rows: positions in it, int64; None for all of them.
        device: where the networks are.
        labels: int64 (samples of the split,), instead of the split's own.
        soft: the cached logits of the teacher that the network learns from. Networks are compared with whole logits
            alone: not with those of a ``topk`` store, nor with averages of probabilities.
        precision: ``float32`` or ``bf16``, as the network is trained.
        workers: loader processes for images that are opened one by one.
    """

    def __init__(
        self,
        split: Split,
        rows: Tensor | None,
        device: torch.device,
        *,
        labels: Tensor | None = None,
        soft: SoftTargets | None = None,
        precision: str = "float32",
        workers: int = 0,
    ) -> None:
        # in the order of the split: so they are read from few blocks at a time
        self._rows = torch.arange(len(split)) if rows is None else rows.sort().values
        self._labels = (split.labels if labels is None else labels).to(device)
        self._renderer = Renderer(split, ViewOptions(), device, workers)
        self._device, self._precision = device, precision
        self._soft = soft if soft is not None and soft.whole and soft.options.combine == "mean_logits" else None

    def measure(self, network: nn.Module) -> TrainMeasures:
        """One pass of a network over the samples; sums are float64."""
        sums, classes = torch.zeros(6, dtype=torch.float64, device=self._device), 0
        for shown in self._renderer.stream([(self._rows, 0)], BATCH):
            logits = forward(network, shown.inputs, self._precision)
            teacher = None if self._soft is None else self._soft.gather(shown.rows, 0)
            sums += _sums(logits, self._labels[shown.rows.to(self._device)], teacher)
            classes = logits.shape[1]
        return _measures(sums.tolist(), len(self._rows), classes, compared=self._soft is not None)


def measured_on(test: Evaluator, train: TrainSamples) -> Evaluate:
    """What trainings evaluate their networks by: test accuracy, and the measures on train samples."""
    return lambda network: Measured(test.accuracy(network), train.measure(network))


def _sums(logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
    """Of a batch, float64: right answers, logits, teacher's logits, distances, squared shifts, squared distances."""
    ours = logits.double()
    theirs = torch.zeros_like(ours) if teacher is None else teacher.double()
    apart = ours - theirs
    squares = apart.square().sum(dim=1)
    shifts = apart.mean(dim=1).square() * apart.shape[1]
    right = logits.argmax(dim=1) == labels
    return torch.stack([part.sum() for part in (right, ours, theirs, squares.sqrt(), shifts, squares)])


def _measures(sums: list[float], samples: int, classes: int, *, compared: bool) -> TrainMeasures:
    """Means from the sums of all batches; what needs a teacher only where logits were ``compared`` with one."""
    right, ours, theirs, distance, shifts, squares = sums
    return TrainMeasures(
        train_accuracy=100.0 * right / samples,
        logit_mean=_finite(ours / (samples * classes)),
        teacher_logit_mean=_finite(theirs / (samples * classes)) if compared else None,
        logit_distance=_finite(distance / samples) if compared else None,
        mean_share=_finite(shifts / squares) if compared and squares > 0 else None,
    )


def _finite(value: float) -> float | None:
    """A number that JSON has, or None."""
    return value if math.isfinite(value) else None
