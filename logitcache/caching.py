"""Stage 1: run a teacher over the views of a data set and write its logits. Resumes; the one place where all meet.

The device computes one batch after another, cut from each block's start whatever was done before. A finished
block is copied to the host and encoded, measured, stored and committed in threads while the next one is
computed. Only what is not committed yet is computed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from logitcache.cache_job import CacheJob, CacheOptions, cached_blocks, split_views
from logitcache.data import Split
from logitcache.errors import InputError
from logitcache.store import (
    SplitContent,
    SplitRecord,
    StoreRecord,
    TeacherContent,
    TeacherRecord,
    TeacherWriter,
    create_store,
    resolve,
)
from logitcache.store.fidelity import TAUS
from logitcache.store.schema import block_shape
from logitcache.teacher import Teacher
from logitcache.views import Renderer, ViewOptions, view_policy

__all__ = [
    "CacheJob",
    "CacheOptions",
    "CacheOutcome",
    "cached_blocks",
    "open_writers",
    "run_cache",
    "split_views",
    "teacher_record",
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


def teacher_record(job: CacheJob, split: str, teacher: Teacher) -> TeacherRecord:
    """What the store says of a teacher in a split."""
    samples, classes = len(job.splits[split]), len(job.splits[split].classes)
    block_rows, chunk_rows = block_shape(samples, classes, job.options.block)
    return TeacherRecord(
        name=teacher.name,
        model=teacher.model,
        weights=teacher.fingerprint,
        precision=teacher.precision,
        provenance="network",
        encoding=resolve(job.options.encoding),
        views=split_views(split, job.views),
        samples=samples,
        classes=classes,
        block_rows=block_rows,
        chunk_rows=chunk_rows,
        features=_feature_width(teacher) if job.options.features else 0,
        taus=TAUS,
    )


def open_writers(job: CacheJob, teacher: Teacher) -> list[TeacherWriter]:
    """A writer for each split, after creating the store or finding that the one there is the same.

    Raises:
        MismatchError: the store there is of another data set, view policy, teacher or encoding.
    """
    splits = job.chosen()
    first = next(iter(splits.values()))
    store = StoreRecord(first.dataset, first.classes, view_policy(first, job.views))
    contents = [
        SplitContent(_split_record(job, name, split), split.labels.numpy(), split.index.numpy())
        for name, split in splits.items()
    ]
    classifier = _classifier(teacher) if job.options.features else {}
    teachers = [TeacherContent(name, teacher_record(job, name, teacher), classifier) for name in splits]
    return create_store(job.store, store, contents, teachers)


def run_cache(job: CacheJob, teacher: Teacher, device: torch.device, progress: Progress | None = None) -> CacheOutcome:
    """Compute and write every block of a teacher that is not committed yet.

    Args:
        job: what to cache.
        teacher: the network, on ``device``.
        device: where it runs.
        progress: called with the number of forward passes just finished.

    Raises:
        MismatchError: the store there is another one; nothing was written.
        InputError: logits are not finite or do not fit the encoding; names the sample. Earlier blocks stay.
    """
    started = time.perf_counter()
    written = found = passes = 0
    for writer in open_writers(job, teacher):
        pending = writer.pending()
        written, found = written + len(pending), found + writer.blocks - len(pending)
        for rows in _write_blocks(job, writer, pending, teacher, device):
            passes += rows
            if progress is not None:
                progress(rows)
        writer.finish()
    return CacheOutcome(written, found, passes, time.perf_counter() - started)


def _write_blocks(
    job: CacheJob, writer: TeacherWriter, pending: Sequence[tuple[int, int]], teacher: Teacher, device: torch.device
) -> Iterator[int]:
    """Compute and write blocks; yields the rows of each batch."""
    renderer = Renderer(job.splits[writer.split], job.views, device, job.options.workers)
    jobs = ((_rows(writer, block), view) for view, block in pending)
    batches = renderer.stream(jobs, job.options.inference.batch)
    with ThreadPoolExecutor(_ENCODERS, thread_name_prefix="encode") as pool, torch.inference_mode():
        flights: list[Future[None]] = []
        for view, block in pending:
            logits: list[Tensor] = []
            features: list[Tensor] = []
            missing = len(writer.rows(block))
            while missing:
                rendered = next(batches)
                output, penultimate = teacher(rendered.inputs, features=job.options.features)
                logits.append(output)
                if penultimate is not None:
                    features.append(penultimate)
                missing -= len(rendered.rows)
                yield len(rendered.rows)
            copy = _HostCopy([torch.cat(parts) for parts in (logits, features) if parts])
            flights.append(pool.submit(_encode, writer, view, block, copy))
            if len(flights) >= _BLOCKS_IN_FLIGHT:
                flights.pop(0).result()
        for flight in flights:
            flight.result()


class _HostCopy:
    """Tensors on their way from the device to pinned host memory, without stopping the device."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._event: torch.cuda.Event | None = None
        if tensors[0].device.type != "cuda":
            self._host = list(tensors)
            return
        self._host = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in tensors]
        for target, source in zip(self._host, tensors, strict=True):
            target.copy_(source, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record()

    def arrays(self) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        """The copies as float32 arrays, waiting for them to arrive."""
        if self._event is not None:
            self._event.synchronize()
        return [tensor.float().numpy() for tensor in self._host]


def _encode(writer: TeacherWriter, view: int, block: int, copy: _HostCopy) -> None:
    """Write one block; runs in a thread, where numpy and the codec release the interpreter lock."""
    with torch.inference_mode():
        writer.write(view, block, *copy.arrays())


def _rows(writer: TeacherWriter, block: int) -> Tensor:
    """The rows of a block."""
    rows = writer.rows(block)
    return torch.arange(rows.start, rows.stop)


def _split_record(job: CacheJob, name: str, split: Split) -> SplitRecord:
    """What the store says of a split; the probe covers its views, augmented in train only."""
    views = job.views if name == "train" else ViewOptions()
    return SplitRecord(name, len(split), split.fingerprint, Renderer(split, views).probe())


def _feature_width(teacher: Teacher) -> int:
    """Width of the penultimate features."""
    head = teacher.network.head
    if head is None:
        raise InputError(f"teacher {teacher.name!r} ({teacher.model}) has no linear head; set cache.features = false")
    return head.in_features


def _classifier(teacher: Teacher) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Weight and bias of the teacher's last layer."""
    head = teacher.network.head
    parameters = {} if head is None else {"weight": head.weight, "bias": head.bias}
    return {name: p.detach().float().cpu().numpy() for name, p in parameters.items() if p is not None}
