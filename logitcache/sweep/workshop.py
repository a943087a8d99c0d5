"""Where a student is made: data, views and decoded soft targets, opened once and shared by all runs of a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from logitcache.data import DataOptions, Split, open_data
from logitcache.keyed import choose
from logitcache.matching import check_split
from logitcache.models import Network, build_model
from logitcache.models.weights import save_checkpoint
from logitcache.soft_targets import CachedStore, CombineOptions, SoftTargets, open_store
from logitcache.student.evaluation import Evaluator
from logitcache.student.feed import FeedOptions, ViewFeed
from logitcache.student.objectives import objective
from logitcache.student.training import CHECKPOINT, EpochRecord, Outcome, train
from logitcache.sweep.grid import RunSpec
from logitcache.sweep.results import run_folder, run_record, write_record
from logitcache.views import Renderer, ViewOptions

__all__ = ["SweepContext", "Workshop"]


@dataclass(frozen=True)
class SweepContext:
    """All that a process needs to train runs of a sweep; picklable."""

    data: DataOptions
    views: ViewOptions
    store: Path
    out: Path
    device: str
    workers: int = 0
    """Loader processes for images that are opened one by one."""


class Workshop:
    """Trains runs, one after another."""

    def __init__(self, context: SweepContext) -> None:
        self._context = context
        self._device = torch.device(context.device)
        self._soft: dict[tuple[tuple[str, ...], CombineOptions], SoftTargets] = {}
        self._evaluators: dict[str, Evaluator] = {}

    def run(self, spec: RunSpec, progress: Callable[[EpochRecord], None] | None = None) -> dict[str, Any]:
        """Train one run, or go on where it was interrupted; returns and writes its record."""
        folder = run_folder(self._context.out, spec)
        folder.mkdir(parents=True, exist_ok=True)
        network = self._network(spec)
        evaluator = self._evaluator(spec.training.precision)
        outcome: Outcome = train(
            network,
            self.feed(spec),
            objective(spec.objective),
            spec.training,
            folder=folder,
            evaluate=evaluator.accuracy,
            seed=spec.seed,
            progress=progress,
        )
        np.save(folder / "test_logits.npy", evaluator.logits(network).cpu().numpy())
        save_checkpoint(folder / "model.safetensors", network, spec.model, {"run_id": spec.run_id})
        record = run_record(spec, outcome, sum(p.numel() for p in network.parameters()))
        write_record(folder, record)
        (folder / CHECKPOINT).unlink(missing_ok=True)
        return record

    def feed(self, spec: RunSpec) -> ViewFeed:
        """The batches of a run."""
        options = FeedOptions(spec.training.batch, spec.seed, spec.views)
        soft = self.soft_targets(spec.teachers, spec.combine) if spec.teachers else None
        return ViewFeed(self.renderer, self.rows(spec), options, soft=soft)

    def rows(self, spec: RunSpec) -> Tensor | None:
        """The train rows that a run sees; None for all of them."""
        available = len(self.splits["train"])
        return None if spec.samples >= available else choose(available, spec.samples, spec.sample_seed)

    def soft_targets(self, teachers: tuple[str, ...], combine: CombineOptions) -> SoftTargets:
        """Cached logits of the train split, opened once for all runs that read them."""
        key = teachers, combine
        if key not in self._soft:
            readers = [self.store.logits(name, "train") for name in teachers]
            self._soft[key] = SoftTargets(readers, combine, device=self._device)
        return self._soft[key]

    @cached_property
    def splits(self) -> dict[str, Split]:
        """The data set."""
        return open_data(self._context.data)

    @cached_property
    def renderer(self) -> Renderer:
        """Views of the train split."""
        return Renderer(self.splits["train"], self._context.views, self._device, self._context.workers)

    @cached_property
    def store(self) -> CachedStore:
        """The store, compared with the data set and the view policy."""
        store = open_store(self._context.store)
        check_split(store, self.splits["train"], self._context.views)
        return store

    def _network(self, spec: RunSpec) -> Network:
        """The student with the initial weights of its seed."""
        train_split = self.splits["train"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            network = build_model(spec.model, len(train_split.classes), train_split.shape)
        return network.to(self._device)

    def _evaluator(self, precision: str) -> Evaluator:
        """The test split, rendered once."""
        if precision not in self._evaluators:
            split = self.splits.get("test", self.splits["train"])
            workers = self._context.workers
            self._evaluators[precision] = Evaluator(split, self._device, precision=precision, workers=workers)
        return self._evaluators[precision]
