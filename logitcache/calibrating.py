"""Choose a teacher's encoding in a split from a sample of its logits, before anything of it is stored.

The sample are random rows of the clean view. Where the whole view fits in memory it is computed as its blocks will be,
and they are then written from what was computed: the pass is not repeated. Of a larger view only the sample is
computed, which is at most one row in thirty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from logitcache.cache_job import split_views
from logitcache.errors import InputError
from logitcache.keyed import choose
from logitcache.store import Choice, Sample, choose_encoding
from logitcache.store.choices import sample_rows, stored_choice
from logitcache.store.features import feature_step
from logitcache.teacher_run import BlockOutput, TeacherRun

__all__ = ["Calibrated", "calibrate"]

_HELD_BYTES = 2 << 30
_SEED = 0


@dataclass(frozen=True)
class Calibrated:
    """An encoding, the step of features (0: they are not stored), and the clean view's blocks as far as computed."""

    choice: Choice
    feature_step: float = 0.0
    held: Mapping[int, BlockOutput] = field(default_factory=dict)


def calibrate(run: TeacherRun, *, look: bool = True) -> Calibrated:
    """The encoding of a teacher in a split: that of the store where it is there, else chosen from a sample.

    Without ``look`` the store is not asked; the same logits give the same choice.

    Raises:
        InputError: no encoding keeps the promise asked for, or logits are not finite.
    """
    options = run.job.options
    known = stored_choice(run.job.store, run.split, run.teacher.name, options.encoding) if look else None
    if known is not None:
        choice, record = known
        return Calibrated(choice, record.feature_step)
    if not options.encoding.calibrated and not options.features:
        return Calibrated(choose_encoding(options.encoding))
    held = _clean_view(run)
    rows = choose(run.samples, sample_rows(run.samples, run.classes), _SEED)
    logits, features = _pick(run, held, rows)
    head = run.teacher.head
    weight = None if features is None or head is None else head.weight.detach().float()
    stored_rows = run.samples * split_views(run.split, run.job.views)
    index = run.job.splits[run.split].index[rows].numpy()
    choice = choose_encoding(options.encoding, Sample(logits, stored_rows, features, weight, index))
    step = feature_step(features, options.feature_step) if options.features and features is not None else 0.0
    return Calibrated(choice, step, held)


def _clean_view(run: TeacherRun) -> dict[int, BlockOutput]:
    """All blocks of the clean view by number, none where they would take too much memory."""
    head = run.teacher.head
    width = run.classes + (head.in_features if run.with_features and head is not None else 0)
    if 4 * run.samples * width > _HELD_BYTES:
        return {}
    blocks = -(-run.samples // len(run.rows(0)))
    return {output.block: output for output in run.outputs([(0, block) for block in range(blocks)])}


def _pick(run: TeacherRun, held: Mapping[int, BlockOutput], rows: Tensor) -> tuple[Tensor, Tensor | None]:
    """Finite logits, and features where they are kept, of some rows, on the host."""
    output = run.some_rows(rows) if not held else None
    parts = [output] if output is not None else [held[block] for block in sorted(held)]
    logits = torch.cat([part.logits for part in parts])
    features = (
        torch.cat([part.features for part in parts if part.features is not None])
        if parts[0].features is not None
        else None
    )
    finite = torch.isfinite(logits).all(1).cpu()
    if not bool(finite.all()):
        row = int(finite.int().argmin())
        sample = int(run.job.splits[run.split].index[row if held else rows[row]])
        raise InputError(f"logits of sample {sample} are not finite")
    if held:
        here = rows.to(logits.device)
        logits, features = logits[here], None if features is None else features[here]
    return logits.cpu(), None if features is None else features.cpu()
