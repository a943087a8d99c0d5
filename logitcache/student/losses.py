"""Losses between student and teacher logits: functions of tensors, each the mean over the batch.

The formulas are those of Kim et al. 2021, "Comparing Kullback-Leibler divergence and mean squared error
loss in knowledge distillation" (section 2), after Hinton et al. 2015. Logits come in any floating type and
are taken to float32 here, where autocast leaves them: bf16's eight bits of precision would not do for a loss.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["ce", "ce_rows", "kl", "mse"]


def ce_rows(student: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with hard labels for each row.

    Args:
        student: logits ``(B, K)``.
        labels: int64 ``(B,)``.
        label_smoothing: the share of the target that is spread evenly over all classes, in [0, 1).

    Returns:
        float32 ``(B,)``, in nats.
    """
    return functional.cross_entropy(student.float(), labels, reduction="none", label_smoothing=label_smoothing)


def ce(student: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with hard labels, the mean of :func:`ce_rows`: a float32 scalar in nats."""
    return functional.cross_entropy(student.float(), labels, label_smoothing=label_smoothing)


def kl(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    """``tau**2 * KL(softmax(teacher / tau) || softmax(student / tau))``, the mean over the batch.

    The factor keeps the gradient's size over temperatures: for one row it is ``tau * (p_student - p_teacher)``.

    Args:
        student: logits ``(B, K)``.
        teacher: logits ``(B, K)``; no gradient flows into them.
        tau: the temperature, > 0.

    Returns:
        float32 scalar in nats times ``tau**2``.
    """
    predicted = functional.log_softmax(student.float() / tau, dim=1)
    target = functional.log_softmax(teacher.detach().float() / tau, dim=1)
    return functional.kl_div(predicted, target, reduction="batchmean", log_target=True) * tau**2


def mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared difference of logits, the mean over batch and classes (as in Kim et al.'s code): a float32 scalar."""
    return functional.mse_loss(student.float(), teacher.detach().float())
