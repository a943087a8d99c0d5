"""Cross-entropy with hard labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from logitcache.student.losses.arguments import check_labels

__all__ = ["ce", "ce_rows"]


def ce(student: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with hard labels, the mean of :func:`ce_rows`: a float32 scalar in nats.

    Args:
        student: logits ``(B, K)``.
        labels: int64 ``(B,)``.
        label_smoothing: as in :func:`ce_rows`.
    """
    check_labels(student, labels)
    return functional.cross_entropy(student.float(), labels, label_smoothing=label_smoothing)


def ce_rows(student: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """``- sum_k y_k log softmax(z)_k`` for each row, with ``y = (1 - e) onehot(label) + e / K``.

    Source: Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision", section 7.

    Args:
        student: logits z, ``(B, K)``.
        labels: int64 ``(B,)``, in [0, K), or -100 for a row that has none.
        label_smoothing: e, the share of the target that is spread evenly over all classes, in [0, 1).

    Returns:
        float32 ``(B,)``, in nats, >= 0; 0 in rows without a label.

    Raises:
        InputError: labels are not one a row.
    """
    check_labels(student, labels)
    return functional.cross_entropy(student.float(), labels, reduction="none", label_smoothing=label_smoothing)
