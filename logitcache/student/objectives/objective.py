"""The objective as a module: from what a student says of a batch to the loss."""

from __future__ import annotations

from torch import Tensor, nn

from logitcache.errors import InputError
from logitcache.student import losses
from logitcache.student.batches import Batch, Outputs
from logitcache.student.objectives.given import Given
from logitcache.student.objectives.learned import Widths
from logitcache.student.objectives.options import ObjectiveOptions, TermOptions

__all__ = ["Objective", "objective"]


class Objective(nn.Module):
    """What a student minimises. Its parameters, where it has any, are trained and saved along with the student's.

    Args:
        options: losses, factors, schedule.
        widths: penultimate features of student and teacher, for losses that project one on the other.

    Raises:
        InputError: such a loss is asked for, and a width is not known.
    """

    def __init__(self, options: ObjectiveOptions, widths: Widths = (None, None)) -> None:
        super().__init__()
        self.options = options
        self.needs_features = options.needs_features
        self._needs_whole, self._hard_factor = options.needs_whole, options.hard_factor
        self.terms = nn.ModuleList(_Term(factor, term, widths) for factor, term in options.terms)

    def forward(self, outputs: Outputs, batch: Batch, epoch: float) -> Tensor:
        """The loss, a float32 scalar.

        Args:
            outputs: logits ``(B, K)``, and features ``(B, F_s)`` where ``needs_features``.
            batch: labels and the teacher's part.
            epoch: epochs done so far, fractional.

        Raises:
            InputError: the batch lacks what a loss reads, or has what it cannot read (mixed samples, topk logits).
        """
        options = self.options
        if self._needs_whole and not batch.whole:
            raise InputError(
                f"objective {options.label} needs every logit of the teacher, and topk soft targets have the largest "
                "only; use the loss kl, or a store of another encoding"
            )
        over = options.until is not None and epoch >= options.until
        factor = 1.0 if over else self._hard_factor
        parts = [] if factor == 0 else [_scaled(factor, _hard(outputs.logits, batch, options.label_smoothing))]
        if not over:
            rise = min(1.0, epoch / options.warmup) if options.warmup else 1.0
            parts += [term(outputs, batch, epoch, rise) for term in self.terms]
        total: Tensor = sum(parts[1:], start=parts[0])
        return total


class _Term(nn.Module):
    """One loss of an objective with its factor, and what it learns."""

    def __init__(self, factor: float, options: TermOptions, widths: Widths) -> None:
        super().__init__()
        self._factor, self._options, self._kind = factor, options, options.kind
        self._name, self._values = options.name, options.values
        self.learned = None if self._kind.learned is None else self._kind.learned(widths)

    def forward(self, outputs: Outputs, batch: Batch, epoch: float, rise: float) -> Tensor:
        """The loss times its factor."""
        options = self._options
        if self._kind.compute is None:
            raise InputError(f"{options.loss} compares with no teacher; it is no term of an objective")
        given = Given(
            label=self._name,
            outputs=outputs,
            batch=batch,
            epoch=epoch,
            tau=options.tau,
            values=self._values,
            standardize=options.standardize,
            learned=self.learned,
        )
        return _scaled(rise * self._factor, self._kind.compute(given))


def objective(
    options: ObjectiveOptions, *, student_features: int | None = None, teacher_features: int | None = None
) -> Objective:
    """The objective of some options.

    Args:
        options: losses, factors, schedule.
        student_features: width of the student's penultimate features, for losses that compare them one by one.
        teacher_features: width of the teacher's.

    Raises:
        InputError: such a loss is asked for, and a width is not known.
    """
    return Objective(options, (student_features, teacher_features))


def _scaled(factor: float, loss: Tensor) -> Tensor:
    """The loss times a factor; nothing is launched for a factor of 1."""
    return loss if factor == 1 else factor * loss


def _hard(logits: Tensor, batch: Batch, label_smoothing: float) -> Tensor:
    """Cross-entropy with the batch's labels, those that are shown, and with those mixed in where there are any."""
    if batch.labelled is not None:
        if batch.partner_labels is not None:
            raise InputError("labels are hidden and samples are mixed; a mixed sample needs both of its labels")
        return losses.ce_rows(logits, batch.labels, label_smoothing).sum() / (batch.labelled or 1.0)
    if batch.partner_labels is None or batch.weight is None:
        return losses.ce(logits, batch.labels, label_smoothing)
    own = losses.ce_rows(logits, batch.labels, label_smoothing)
    partner = losses.ce_rows(logits, batch.partner_labels, label_smoothing)
    return (batch.weight * own + (1 - batch.weight) * partner).mean()
