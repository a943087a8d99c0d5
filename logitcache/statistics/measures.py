"""What is counted in one block of logits, and how the counts of two blocks become one: pure functions on arrays.

Two records of sums, each with a function that makes one from a block and a ``merge`` that joins two:

* ``TeacherTally``: accuracy, entropy, and mean and variance of the logits, in all and by true class;
* ``StudentTally``: KL(teacher || student) at several temperatures, top-1 agreement and accuracy.

All sums are float64. Entropy and KL are in nats. With p = softmax(z / tau), entropy is ``-sum_k p_k log p_k`` at
tau = 1 and KL is ``sum_k p_k (log p_k - log q_k)`` without the factor tau**2 that losses carry (Hinton, Vinyals and
Dean 2015). Variances are merged as in Chan, Golub and LeVeque 1979, which keeps them exact where the mean is large.
A label outside [0, classes) means that nobody knows the class: such rows count for all but the accuracies and the
sums by class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "StudentTally",
    "TeacherTally",
    "log_softmax",
    "merge_students",
    "merge_teachers",
    "tally_student",
    "tally_teacher",
]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def log_softmax(logits: NDArray[Any], tau: float = 1.0) -> Floats:
    """The log of softmax(logits / tau) over the last axis in float64, stable for logits of any size."""
    scaled = logits.astype(np.float64) / tau
    scaled -= scaled.max(axis=-1, keepdims=True)
    scaled -= np.log(np.exp(scaled).sum(axis=-1, keepdims=True))
    return scaled


@dataclass(frozen=True)
class TeacherTally:
    """Sums over rows of one teacher's logits; K classes."""

    rows: int
    entropy: float
    """Sum of the rows' entropies at tau = 1, nats."""
    mean: Floats
    """(K,) mean of each logit over all rows."""
    scatter: Floats
    """(K,) sum of squared deviations of each logit from its mean."""
    class_rows: Counts
    """(K,) rows of each true class."""
    class_correct: Counts
    """(K,) those of them whose largest logit is the true class."""
    class_entropy: Floats
    """(K,) sum of their entropies, nats."""
    class_logits: Floats
    """(K, K) sum of their logits: true class by logit."""


def tally_teacher(logits: NDArray[Any], labels: Counts) -> TeacherTally:
    """The sums of one block.

    Args:
        logits: (rows, K), finite, at least one row.
        labels: (rows,) true classes.
    """
    exact = logits.astype(np.float64)
    classes = exact.shape[1]
    log_p = log_softmax(exact)
    entropy = -(np.exp(log_p) * log_p).sum(axis=1)
    mean = exact.mean(axis=0)
    known = (labels >= 0) & (labels < classes)
    truth = labels[known]
    correct = truth[exact[known].argmax(axis=1) == truth]
    return TeacherTally(
        rows=len(exact),
        entropy=float(entropy.sum()),
        mean=mean,
        scatter=np.square(exact - mean).sum(axis=0),
        class_rows=np.bincount(truth, minlength=classes).astype(np.int64),
        class_correct=np.bincount(correct, minlength=classes).astype(np.int64),
        class_entropy=np.bincount(truth, weights=entropy[known], minlength=classes).astype(np.float64),
        class_logits=_sum_by_class(exact[known], truth, classes),
    )


def _sum_by_class(values: Floats, truth: Counts, classes: int) -> Floats:
    """(classes, K) sums of the rows of each class, over runs of equal classes after sorting."""
    sums = np.zeros((classes, values.shape[1]))
    order = np.argsort(truth, kind="stable")
    present, starts = np.unique(truth[order], return_index=True)
    if len(present):
        sums[present] = np.add.reduceat(values[order], starts, axis=0)
    return sums


def merge_teachers(a: TeacherTally, b: TeacherTally) -> TeacherTally:
    """The sums over the rows of both."""
    rows = a.rows + b.rows
    step = b.mean - a.mean
    return TeacherTally(
        rows=rows,
        entropy=a.entropy + b.entropy,
        mean=a.mean + step * (b.rows / rows),
        scatter=a.scatter + b.scatter + np.square(step) * (a.rows * b.rows / rows),
        class_rows=a.class_rows + b.class_rows,
        class_correct=a.class_correct + b.class_correct,
        class_entropy=a.class_entropy + b.class_entropy,
        class_logits=a.class_logits + b.class_logits,
    )


@dataclass(frozen=True)
class StudentTally:
    """Sums over rows of one student beside one teacher."""

    rows: int
    agreed: int
    """Rows where both have their largest logit in the same class."""
    labelled: int
    """Rows whose true class is known."""
    correct: int
    """Labelled rows whose largest student logit is the true class."""
    kl: Floats
    """(taus,) sums of KL(teacher || student) at each temperature, nats."""


def tally_student(teacher: NDArray[Any], student: NDArray[Any], labels: Counts, taus: Sequence[float]) -> StudentTally:
    """The sums of one block: teacher and student logits (rows, K), true classes (rows,), temperatures above 0."""
    guess = student.argmax(axis=1)
    known = (labels >= 0) & (labels < student.shape[1])
    # A student's infinite logits make the sum NaN, which the caller tells from a number; no warning is needed.
    with np.errstate(invalid="ignore"):
        kl = np.array([_kl(log_softmax(teacher, tau), log_softmax(student, tau)) for tau in taus])
    return StudentTally(
        rows=len(student),
        agreed=int((guess == teacher.argmax(axis=1)).sum()),
        labelled=int(known.sum()),
        correct=int((guess == labels)[known].sum()),
        kl=kl,
    )


def _kl(log_p: Floats, log_q: Floats) -> float:
    """Sum over rows of KL(p || q) from log-probabilities."""
    return float((np.exp(log_p) * (log_p - log_q)).sum())


def merge_students(a: StudentTally, b: StudentTally) -> StudentTally:
    """The sums over the rows of both."""
    return StudentTally(
        rows=a.rows + b.rows,
        agreed=a.agreed + b.agreed,
        labelled=a.labelled + b.labelled,
        correct=a.correct + b.correct,
        kl=a.kl + b.kl,
    )
