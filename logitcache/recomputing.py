"""Run a teacher again on a few stored rows: is this store still what this teacher says of this data set?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from logitcache.cache_job import CacheJob
from logitcache.keyed import below, choose, draw
from logitcache.matching import check_split
from logitcache.records import BlockId
from logitcache.store import LogitsReader, open_store
from logitcache.store.encodings.kl import kl_rows
from logitcache.teacher import Teacher
from logitcache.teacher_run import TeacherRun

__all__ = ["Recomputed", "recompute"]

_TOLERANCE = {"float32": 1e-5, "bf16": 3e-3}
"""KL (nats, at tau 1) that other batches, devices or software may make of the same teacher's logits."""

_ROUNDING = 1.5
"""How much larger a row's own error may be where other last bits round its codes otherwise."""

_SEED = 0
_FEW = 64


@dataclass(frozen=True)
class Recomputed:
    """A stored row beside the teacher's: KL in nats at ``tau``, and how much is allowed."""

    block: BlockId
    sample: int
    tau: float
    kl: float
    allowed: float

    @property
    def agrees(self) -> bool:
        """Whether the row is within the bound."""
        return self.kl <= self.allowed

    def __str__(self) -> str:
        """The row on one line."""
        return (
            f"{self.block}: sample {self.sample} has KL {self.kl:.3g} from the teacher at tau {self.tau:g}; "
            f"allowed are {self.allowed:.3g}"
        )


def recompute(
    job: CacheJob,
    teacher: Teacher,
    device: torch.device,
    rows: int,
    progress: Callable[[int], None] | None = None,
) -> list[Recomputed]:
    """Compare ``rows`` keyed random rows of each split, over all views, with the teacher's own logits.

    Where an encoding promises no bound, a row may be as far off as the teacher's own logits are when encoded alike.

    Raises:
        MismatchError: the store is of another data set or view policy.
        MissingError, DamageError: a block of a chosen row is not there or not what was committed.
    """
    found, store = [], open_store(job.store)
    for name, split in job.chosen().items():
        if name not in store.splits or teacher.name not in store.teachers(name):
            continue
        check_split(store, split, job.views)
        run = TeacherRun(job, name, teacher, device, progress or _silent)
        found += _of_split(run, store.logits(teacher.name, name), rows)
    return found


def _of_split(run: TeacherRun, reader: LogitsReader, rows: int) -> list[Recomputed]:
    """The chosen rows of one split, no more than there are."""
    chosen = _places(reader.views, reader.samples, rows)
    found = []
    for view in (chosen // reader.samples).unique().tolist():
        here = chosen[chosen // reader.samples == view] - view * reader.samples
        own = run.some_rows(here, view).logits.cpu()
        found += _compare(run, reader, view, here, own)
    return found


def _places(views: int, samples: int, count: int) -> Tensor:
    """``count`` keyed rows, or all there are, as view * samples + row, ascending; few of many without a list of all."""
    if views * samples <= _FEW * count:
        return choose(views * samples, count, _SEED)
    counter = torch.arange(2 * count + _FEW)
    drawn = below(draw(_SEED, counter, 0), views) * samples + below(draw(_SEED, counter, 1), samples)
    return torch.tensor(sorted(list(dict.fromkeys(drawn.tolist()))[:count]))


def _compare(run: TeacherRun, reader: LogitsReader, view: int, rows: Tensor, own: Tensor) -> list[Recomputed]:
    """Rows of one view, ascending, beside the teacher's own logits (rows, classes)."""
    tau, index = reader.encoding.tau_min, run.job.splits[run.split].index
    allowed = _allowed(reader, own, tau) + _TOLERANCE[run.teacher.precision] / tau**2
    found = []
    for block in (rows // reader.block_rows).unique().tolist():
        here = rows // reader.block_rows == block
        stored = torch.from_numpy(reader.read(view, block))[rows[here] - block * reader.block_rows]
        kl = kl_rows(own[here], stored - own[here], (tau,))[0]
        name = BlockId(reader.teacher, reader.split, view, block)
        triples = zip(rows[here].tolist(), kl.tolist(), allowed[here].tolist(), strict=True)
        found += [Recomputed(name, int(index[row]), tau, value, most) for row, value, most in triples]
    return found


def _allowed(reader: LogitsReader, own: Tensor, tau: float) -> Tensor:
    """How much KL encoding may have made of rows (rows, classes), float32 (rows,)."""
    bound = reader.encoding.bound(tau)
    if bound is not None:
        return torch.full((len(own),), bound)
    alike = torch.from_numpy(reader.codec.decode(reader.codec.encode(own).values))
    return _ROUNDING * kl_rows(own, alike - own, (tau,))[0]


def _silent(rows: int) -> None:
    """Nobody looks at the progress."""
    del rows
