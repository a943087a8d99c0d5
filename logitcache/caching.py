"""Stage 1: run a teacher over the views of a data set and write its logits. Resumes; the one place where all meet.

Where the encoding is chosen from a sample, the clean view is computed first, the sample taken from it, and its blocks
are then written from what was computed. A finished block is encoded on the device that computed it, measured, stored
and committed in threads while the next one is computed. Only what is not committed yet is computed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch

from logitcache.cache_job import CacheJob, CacheOptions, Part, cached_blocks, split_views
from logitcache.calibrating import Calibrated, calibrate
from logitcache.data import Split
from logitcache.errors import InputError, MismatchError
from logitcache.store import (
    SplitContent,
    SplitRecord,
    Store,
    StoreRecord,
    TeacherContent,
    TeacherRecord,
    TeacherWriter,
    create_store,
    describe,
)
from logitcache.store.encodings import TAUS
from logitcache.store.groups import commit_group
from logitcache.store.identity import teacher_path
from logitcache.store.layout import block_shape
from logitcache.teacher import Teacher
from logitcache.teacher_run import BlockOutput, TeacherRun
from logitcache.threads import single_threaded_pool
from logitcache.views import Renderer, ViewOptions, view_policy

__all__ = [
    "CacheJob",
    "CacheOptions",
    "CacheOutcome",
    "CacheRun",
    "Part",
    "cached_blocks",
    "open_writers",
    "run_cache",
    "split_contents",
    "split_views",
    "store_content",
    "teacher_record",
    "tidy_up",
]

_ENCODERS = 2
_BLOCKS_IN_FLIGHT = 4

Progress = Callable[[int], None]


@dataclass(frozen=True)
class CacheOutcome:
    """What a cache step did: blocks written and found, forward passes, seconds."""

    written: int
    found: int
    forward_passes: int
    seconds: float


def teacher_record(job: CacheJob, split: str, teacher: Teacher, chosen: Calibrated) -> TeacherRecord:
    """What the store says of a teacher in a split."""
    samples, classes = len(job.splits[split]), len(job.splits[split].classes)
    block_rows, chunk_rows = block_shape(samples, classes, job.options.block)
    return TeacherRecord(
        name=teacher.name,
        model=teacher.model,
        weights=teacher.fingerprint,
        precision=teacher.precision,
        provenance="network",
        encoding=chosen.choice.encoding,
        views=split_views(split, job.views),
        samples=samples,
        classes=classes,
        block_rows=block_rows,
        chunk_rows=chunk_rows,
        features=_feature_width(teacher) if job.options.features else 0,
        taus=TAUS,
        feature_step=chosen.feature_step,
        feature_relative=job.options.feature_step if chosen.feature_step else 0.0,
        commit_group=commit_group(samples, block_rows),
    )


def store_content(
    job: CacheJob, teacher: Teacher, chosen: Mapping[str, Calibrated]
) -> tuple[StoreRecord, list[SplitContent], list[TeacherContent]]:
    """What a job's store says of its data set, splits and this teacher."""
    splits = job.chosen()
    classifier = _classifier(teacher) if job.options.features else {}
    teachers = [
        TeacherContent(name, teacher_record(job, name, teacher, each), {**each.choice.wholes, **classifier})
        for name, each in chosen.items()
    ]
    first = next(iter(splits.values()))
    store = StoreRecord(first.dataset, first.classes, view_policy(first, job.views))
    return store, split_contents(job), teachers


def split_contents(job: CacheJob) -> list[SplitContent]:
    """What a job's store says of its splits."""
    return [
        SplitContent(
            _split_record(job, name, split),
            split.labels.numpy(),
            split.index.numpy(),
            None if split.noisy_labels is None else split.noisy_labels.numpy(),
        )
        for name, split in job.chosen().items()
    ]


def open_writers(job: CacheJob, teacher: Teacher, chosen: Mapping[str, Calibrated]) -> list[TeacherWriter]:
    """A writer for each split, after creating the store or finding that the one there is the same.

    Raises:
        MismatchError: the store there is of another data set, view policy, teacher or encoding.
    """
    return create_store(job.store, *store_content(job, teacher, chosen))


class CacheRun:
    """A teacher at work on a job, whose store is made or found to be the same.

    Blocks may be written in any order and by any number of runs, here and on other machines at the same time.

    Args:
        job: what to cache.
        teacher: the network, on ``device``.
        device: where it runs.
        progress: called with the number of forward passes just finished.
        say: called with a line on each encoding that was chosen from a sample.

    Raises:
        MismatchError: the store there is another one; nothing was written.
        InputError: logits are not finite or do not fit the encoding; names the sample.
    """

    def __init__(
        self,
        job: CacheJob,
        teacher: Teacher,
        device: torch.device,
        progress: Progress | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._progress, self.passes = progress, 0
        self._runs = {name: TeacherRun(job, name, teacher, device, self._count) for name in job.chosen()}
        self._chosen = {name: calibrate(run) for name, run in self._runs.items()}
        self.writers = {writer.split: writer for writer in open_writers(job, teacher, self._chosen)}
        for name, writer in self.writers.items():
            if say is not None and self._chosen[name].choice.encoding.reason:
                say(f"encoding of {name}: {describe(writer.record.encoding)}")

    @property
    def held(self) -> dict[str, list[tuple[int, int]]]:
        """(view, block) of what was computed on the way to choose an encoding, by split."""
        return {name: [(0, block) for block in sorted(each.held)] for name, each in self._chosen.items()}

    def missing(self, split: str, blocks: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those of some blocks, (view, block) each, that are not committed."""
        return [(view, block) for view, block in blocks if not self.writers[split].has(view, block)]

    def write(self, split: str, blocks: Iterable[tuple[int, int]]) -> None:
        """Compute and write blocks, (view, block) each, which are taken as there is room.

        Raises:
            InputError: logits are not finite or do not fit the encoding; names the sample. Earlier blocks stay.
        """
        _write_blocks(self.writers[split], self._runs[split].outputs(blocks, self._chosen[split].held))

    def finish(self) -> None:
        """Fold the commits of finished groups of blocks; to be called when this run writes no more."""
        for writer in self.writers.values():
            writer.finish()

    def _count(self, rows: int) -> None:
        """Forward passes that are done."""
        self.passes += rows
        if self._progress is not None:
            self._progress(rows)


def run_cache(
    job: CacheJob,
    teacher: Teacher,
    device: torch.device,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    *,
    part: Part | None = None,
) -> CacheOutcome:
    """Compute and write every block of a teacher that is not committed yet, or those of them in a part of all.

    Arguments and errors are those of :class:`CacheRun`.
    """
    started, part = time.perf_counter(), part or Part()
    run = CacheRun(job, teacher, device, progress, say)
    written = found = 0
    for split, writer in run.writers.items():
        tally = _Tally()
        run.write(split, _own(writer, part, tally))
        written, found = written + tally.own, found + writer.blocks - tally.pending
        writer.finish(sweep=part.whole)  # many parts need not each look through all of the store
    return CacheOutcome(written, found, run.passes, time.perf_counter() - started)


@dataclass
class _Tally:
    """How many blocks were met that are not committed, and how many of them are this process's."""

    pending: int = 0
    own: int = 0


def _own(writer: TeacherWriter, part: Part, tally: _Tally) -> Iterator[tuple[int, int]]:
    """(view, block) of a part's blocks that are not committed, looked for one group after another."""
    for view, block in writer.pending():
        tally.pending += 1
        if part.holds(view * writer.record.blocks + block):
            tally.own += 1
            yield view, block


def tidy_up(job: CacheJob, teacher: Teacher, store: Store, *, sweep: bool = True) -> None:
    """What is left to do where all blocks of a teacher are stored: compare its weights, and fold what is not folded.

    Args:
        job: what was cached.
        teacher: the network.
        store: the job's store.
        sweep: also remove what killed writers left aside, for which the whole store is walked through.

    Raises:
        MismatchError: the store has the logits of other weights.
    """
    for split in job.chosen():
        reader = store.logits(teacher.name, split)
        if reader.record.weights != teacher.fingerprint:
            what = f"the teacher's weight fingerprint ({teacher_path(split, teacher.name)})"
            advice = "use another store or the recipe that made this one"
            raise MismatchError(what, reader.record.weights, teacher.fingerprint, advice)
        reader.commits.fold()
    if sweep:
        store.backend.sweep()


def _write_blocks(writer: TeacherWriter, outputs: Iterable[BlockOutput]) -> None:
    """Encode and write blocks in threads while the next ones are computed."""
    with single_threaded_pool(_ENCODERS, "encode") as pool:
        flights: list[Future[None]] = []
        for output in outputs:
            flights.append(pool.submit(_encode, writer, output))
            if len(flights) >= _BLOCKS_IN_FLIGHT:
                flights.pop(0).result()
        for flight in flights:
            flight.result()


def _encode(writer: TeacherWriter, output: BlockOutput) -> None:
    """Write one block; runs in a thread, where torch, numpy and the codec release the interpreter lock."""
    with torch.inference_mode(), output.handed_over() as (logits, features):
        writer.write(output.view, output.block, logits, features)


def _split_record(job: CacheJob, name: str, split: Split) -> SplitRecord:
    """What the store says of a split; the probe covers its views, augmented in train only."""
    views = job.views if name == "train" else ViewOptions()
    return SplitRecord(name, len(split), split.fingerprint, Renderer(split, views).probe(), split.noise_record)


def _feature_width(teacher: Teacher) -> int:
    """Width of the penultimate features."""
    head = teacher.network.head
    if head is None:
        raise InputError(f"teacher {teacher.name!r} ({teacher.model}) has no linear head; set cache.features = false")
    return head.in_features


def _classifier(teacher: Teacher) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Weight and bias of the teacher's last layer."""
    head = teacher.network.head
    parameters = {} if head is None else {"classifier_weight": head.weight, "classifier_bias": head.bias}
    return {name: p.detach().float().cpu().numpy() for name, p in parameters.items() if p is not None}
