"""Logits and features of trained students in a store of their own, in the format of the teachers': for statistics.

``DIR/students.zarr`` has an entry for each run that is done, under its run id, with the clean view of the splits train
and test. It is made from the weights that runs leave, so runs that were trained before are in it too. What is
committed is not computed again; a run that was trained anew, to other weights, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from logitcache.data import Split
from logitcache.errors import CheckError, LogitcacheError
from logitcache.models import Network, build_model
from logitcache.models.weights import load_checkpoint, weight_fingerprint
from logitcache.store import (
    EncodingOptions,
    SplitContent,
    SplitRecord,
    Store,
    StoreRecord,
    TeacherContent,
    TeacherRecord,
    TeacherWriter,
    create_store,
    open_store,
    resolve,
)
from logitcache.store.backend import open_backend
from logitcache.store.encodings import TAUS
from logitcache.store.groups import commit_group
from logitcache.store.layout import block_shape
from logitcache.student.evaluation import Evaluator
from logitcache.sweep.events import one_line
from logitcache.sweep.grid import RunSpec
from logitcache.sweep.results import finished_runs, run_folder
from logitcache.sweep.workshop import SweepContext, Workshop
from logitcache.views import Renderer, ViewOptions, view_policy

__all__ = ["STUDENTS_STORE", "SavedLogits", "entry_name", "open_students", "save_logits", "whole_entries"]

STUDENTS_STORE = "students.zarr"

Progress = Callable[[int], None]

_ENCODING = EncodingOptions(kind="uniform", max_kl=1e-6, dtype="int32")
"""Finer than teachers are kept: first answers and small distances count here. int32, so that no logit is too large."""
_BLOCK = 8192
_SPLITS = ("train", "test")
_NAME, _TAIL = 100, 9
"""Characters of a name in a store, and those at the end of a run id that tell it from others."""


@dataclass(frozen=True)
class SavedLogits:
    """What was done: blocks written now, and found there."""

    written: int
    found: int


def entry_name(run_id: str) -> str:
    """The name under which a run is in the store: its id, cut in the middle where that is too long."""
    name = run_id.lstrip("-.")
    return name if len(name) <= _NAME else name[: _NAME - _TAIL] + name[-_TAIL:]


def open_students(out: Path) -> Store | None:
    """The store of students in a run folder, None where nobody kept their logits; errors as of ``open_store``."""
    path = out / STUDENTS_STORE
    return open_store(path) if (path / "zarr.json").exists() else None


def whole_entries(store: Store) -> set[str]:
    """The names of students of which no block is missing in any split."""
    readers = [store.logits(name, split) for split in store.splits for name in store.teachers(split)]
    partial = {reader.teacher for reader in readers if not reader.commits.complete(0)}
    return {reader.teacher for reader in readers} - partial


def save_logits(context: SweepContext, specs: Sequence[RunSpec], progress: Progress | None = None) -> SavedLogits:
    """Write the logits and features of all runs that are done to ``students.zarr``; no teacher is read.

    Args:
        context: where data and results are.
        specs: the runs; those that are not done, or diverged, are left out.
        progress: called with the number of rows that went through a network.

    Raises:
        CheckError: of some runs they could not be written, with the reasons; those of all others are.
    """
    workshop, done = Workshop(context), finished_runs(context.out, specs)
    clean = _CleanViews(workshop)
    written, found, failures = 0, 0, []
    for spec in specs:
        if done.get(spec.run_id, {}).get("status") != "done":
            continue
        try:
            saved = _save_run(workshop, clean, spec, progress)
        except LogitcacheError as error:
            failures.append(f"{spec.run_id}: {one_line(error)}")
        else:
            written, found = written + saved.written, found + saved.found
    if written:
        open_backend(context.out / STUDENTS_STORE).sweep()  # once, and not for each of many students
    if failures:
        raise CheckError(f"logits of {len(failures)} students were not saved: " + "\n".join(failures))
    return SavedLogits(written, found)


class _CleanViews:
    """The clean views of the splits, rendered once for all runs where they are small, and their records."""

    def __init__(self, workshop: Workshop) -> None:
        splits, self._device, workers = workshop.splits, workshop.device, workshop.context.workers
        self.splits = {name: splits[name] for name in _SPLITS if name in splits}
        self._evaluators = {name: Evaluator(s, self._device, workers=workers) for name, s in self.splits.items()}
        self.contents = [_content(name, split) for name, split in self.splits.items()]

    def outputs(self, split: str, network: Network, precision: str) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Logits and features of a network, batch after batch."""
        for inputs in self._evaluators[split].batches():
            yield _forward(network, inputs, precision)


def _content(name: str, split: Split) -> SplitContent:
    """What the store says of a split: as a teacher's store does, but for the views, of which it has the clean one."""
    record = SplitRecord(
        name, len(split), split.fingerprint, Renderer(split, ViewOptions()).probe(), split.noise_record
    )
    noisy = None if split.noisy_labels is None else split.noisy_labels.numpy()
    return SplitContent(record, split.labels.numpy(), split.index.numpy(), noisy)


def _save_run(workshop: Workshop, clean: _CleanViews, spec: RunSpec, progress: Progress | None) -> SavedLogits:
    """Write what is missing of one run."""
    first = next(iter(clean.splits.values()))
    network = build_model(spec.model, len(first.classes), first.shape)
    load_checkpoint(run_folder(workshop.context.out, spec) / "model.safetensors", network, spec.model)
    weights = weight_fingerprint(network.core.state_dict())
    network.to(workshop.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.eval()
    store = StoreRecord(first.dataset, first.classes, view_policy(first, ViewOptions()))
    teachers = [
        TeacherContent(name, _record(spec, split, network, weights), _classifier(network))
        for name, split in clean.splits.items()
    ]
    written = found = 0
    for writer in create_store(workshop.context.out / STUDENTS_STORE, store, clean.contents, teachers):
        pending = {block for _, block in writer.pending()}
        if pending:
            _write(writer, pending, clean.outputs(writer.split, network, spec.training.precision), progress)
        written, found = written + len(pending), found + writer.blocks - len(pending)
        writer.finish(sweep=False)
    return SavedLogits(written, found)


def _record(spec: RunSpec, split: Split, network: Network, weights: str) -> TeacherRecord:
    """What the store says of a student in a split."""
    samples, classes = len(split), len(split.classes)
    block_rows, chunk_rows = block_shape(samples, classes, _BLOCK)
    return TeacherRecord(
        name=entry_name(spec.run_id),
        model=spec.model,
        weights=weights,
        precision=spec.training.precision,
        provenance=f"student {spec.run_id}",
        encoding=resolve(_ENCODING),
        views=1,
        samples=samples,
        classes=classes,
        block_rows=block_rows,
        chunk_rows=chunk_rows,
        features=0 if network.head is None else network.head.in_features,
        taus=TAUS,
        commit_group=commit_group(samples, block_rows),
    )


def _classifier(network: Network) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Weight and bias of the last layer, where there is one."""
    head = network.head
    parameters = {} if head is None else {"classifier_weight": head.weight, "classifier_bias": head.bias}
    return {name: p.detach().float().cpu().numpy() for name, p in parameters.items() if p is not None}


def _write(
    writer: TeacherWriter,
    pending: set[int],
    outputs: Iterator[tuple[Tensor, Tensor | None]],
    progress: Progress | None,
) -> None:
    """Write the blocks that are not committed yet. Batches are cut from the split's start whatever is."""
    sizes = [len(writer.rows(block)) for block in range(writer.record.blocks)]
    with torch.inference_mode():
        for block, (logits, features) in enumerate(_regrouped(outputs, sizes)):
            if block in pending:
                writer.write(0, block, logits, features)
            if progress is not None:
                progress(len(logits))


def _regrouped(
    batches: Iterator[tuple[Tensor, Tensor | None]], sizes: Iterable[int]
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The same rows in groups of the given sizes."""
    logits: list[Tensor] = []
    features: list[Tensor] = []
    for size in sizes:
        while sum(map(len, logits)) < size:
            outputs, penultimate = next(batches)
            logits.append(outputs)
            features += [] if penultimate is None else [penultimate]
        whole, kept = torch.cat(logits), torch.cat(features) if features else None
        yield whole[:size], None if kept is None else kept[:size]
        logits, features = [whole[size:]], [] if kept is None else [kept[size:]]


def _forward(network: Network, inputs: Tensor, precision: str) -> tuple[Tensor, Tensor | None]:
    """Float32 logits (B, K) and features (B, F) of inputs; ``bf16`` runs the network under autocast."""
    with torch.inference_mode(), torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
        if network.head is None:
            logits: Tensor = network(inputs)
            return logits.float(), None
        logits, features = network.with_features(inputs)
    return logits.float(), features.float()
