"""What students are made of: data, views and decoded soft targets, opened once and shared by all runs of a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from logitcache.address import Address
from logitcache.data import DataOptions, Split, open_data
from logitcache.errors import InputError
from logitcache.keyed import choose
from logitcache.matching import check_split
from logitcache.models import Network, build_model
from logitcache.soft_targets import (
    CachedStore,
    CombineOptions,
    FeatureTargets,
    SoftTargets,
    combine_logits,
    open_store,
)
from logitcache.store import Stage, StageOptions
from logitcache.student.evaluation import Evaluator
from logitcache.student.feed import FeedOptions, OnlineTeacher, ViewFeed
from logitcache.student.measuring import TrainSamples, measured_on
from logitcache.student.objectives import objective
from logitcache.student.stack import Way
from logitcache.student.training import Evaluate
from logitcache.student.world import ALONE, World
from logitcache.sweep.events import Staged
from logitcache.sweep.grid import RunSpec
from logitcache.views import Renderer, ViewOptions

__all__ = ["LoadOnline", "SweepContext", "Workshop"]

LoadOnline = Callable[[str, torch.device], OnlineTeacher]
"""Loads a teacher by its name onto a device, to be run in every step; picklable."""

_LABELLED = 1
"""The stream of draws that choose whose labels are shown."""


@dataclass(frozen=True)
class SweepContext:
    """All that a process needs to train runs of a sweep; picklable."""

    data: DataOptions
    views: ViewOptions
    store: Address
    out: Path
    device: str
    workers: int = 0
    """Loader processes for images that are opened one by one."""
    way: Way | Literal["auto"] = "auto"
    """How stacks are stepped."""
    online: LoadOnline | None = None
    """Where runs with ``targets = "online"`` get their teachers; None where they are not trained."""
    stage: StageOptions | None = None
    """Where copies of shards are kept on the machine that trains."""

    def trains(self, spec: RunSpec) -> bool:
        """Whether all is here that a run needs."""
        return spec.targets != "online" or self.online is not None


class Workshop:
    """Makes networks, objectives and feeds of runs, and evaluates what came out."""

    def __init__(self, context: SweepContext) -> None:
        self.context = context
        self.device = torch.device(context.device)
        self._soft: dict[tuple[tuple[str, ...], CombineOptions], SoftTargets] = {}
        self._features: dict[tuple[str, ...], FeatureTargets] = {}
        self._teachers: dict[str, OnlineTeacher] = {}
        self._evaluators: dict[str, Evaluator] = {}
        self._notes: list[str] = []

    def student(self, spec: RunSpec) -> tuple[Network, nn.Module]:
        """A network and its objective, with the initial weights of the run's seed."""
        split = self.splits["train"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            network = build_model(spec.model, len(split.classes), split.shape)
            made = objective(spec.objective, **self._widths(spec, network))
        return network.to(self.device), made.to(self.device)

    def feed(self, spec: RunSpec, world: World = ALONE) -> ViewFeed:
        """The batches of a run, or the part of each that is this process's."""
        options = FeedOptions(spec.training.batch, spec.order_key, spec.views, world.rank, world.size)
        wanted, online = spec.objective, spec.targets == "online"
        reads = not online and (wanted.needs_logits or wanted.needs_members)
        soft = self.soft_targets(spec.teachers, spec.combine) if reads else None
        features = self.features(spec.teachers) if wanted.needs_features else None
        labels = None if spec.labels == "clean" else self.splits["train"].labels_for(spec.labels)
        return ViewFeed(
            self.renderer,
            self.rows(spec),
            options,
            soft=soft,
            online=self.online(spec.teachers, spec.combine) if online else None,
            labels=labels,
            features=features,
            members=wanted.needs_members,
            labelled=self.labelled(spec),
            clean=spec.targets == "clean",
        )

    def rows(self, spec: RunSpec) -> Tensor | None:
        """The train rows that a run sees; None for all of them."""
        available = len(self.splits["train"])
        return None if spec.samples >= available else choose(available, spec.samples, spec.sample_seed)

    def labelled(self, spec: RunSpec) -> Tensor | None:
        """Those of them whose labels are shown; None for all of them. More labels only add to fewer."""
        if spec.labelled is None:
            return None
        rows = self.rows(spec)
        chosen = choose(spec.samples, spec.labelled, spec.sample_seed, _LABELLED)
        return chosen if rows is None else rows[chosen]

    def online(self, teachers: tuple[str, ...], combine: CombineOptions) -> OnlineTeacher:
        """Teachers that are run on what is shown, each loaded once for all runs, and their logits combined.

        Raises:
            InputError: this sweep trains without teachers.
        """
        if self.context.online is None:
            raise InputError(
                f"targets = 'online' needs {' and '.join(teachers)} in every step, and this sweep has no teacher; "
                "use `logitcache run`"
            )
        for name in teachers:
            if name not in self._teachers:
                self._teachers[name] = self.context.online(name, self.device)
        loaded, weights = [self._teachers[name] for name in teachers], combine.normalised(len(teachers))
        if len(loaded) == 1:
            return loaded[0]
        return lambda inputs: combine_logits([teacher(inputs) for teacher in loaded], weights, combine.tau)

    def soft_targets(self, teachers: tuple[str, ...], combine: CombineOptions) -> SoftTargets:
        """Cached logits of the train split, opened once for all runs that read them."""
        key = teachers, combine
        if key not in self._soft:
            readers = [self.store.logits(name, "train") for name in teachers]
            self._soft[key] = SoftTargets(readers, combine, device=self.device)
        return self._soft[key]

    def features(self, teachers: tuple[str, ...]) -> FeatureTargets:
        """Cached penultimate features of the train split, opened once for all runs that read them.

        Raises:
            InputError: there are several teachers, or it was cached without features.
        """
        if len(teachers) != 1:
            raise InputError(f"losses of features read one teacher, not {', '.join(teachers) or 'none'}; name one")
        if teachers not in self._features:
            self._features[teachers] = self.store.feature_targets(*teachers, "train", device=self.device)
        return self._features[teachers]

    def evaluator(self, precision: str) -> Evaluator:
        """The test split, rendered once."""
        if precision not in self._evaluators:
            split = self.splits.get("test", self.splits["train"])
            workers = self.context.workers
            self._evaluators[precision] = Evaluator(split, self.device, precision=precision, workers=workers)
        return self._evaluators[precision]

    def evaluation(self, spec: RunSpec) -> Evaluate:
        """What is measured of a run's network whenever its test accuracy is."""
        test = self.evaluator(spec.training.precision)
        if not spec.training.measure_train:
            return test.accuracy
        cached = spec.teachers and spec.targets != "online"
        split = self.splits["train"]
        train = TrainSamples(
            split,
            self.rows(spec),
            self.device,
            labels=split.labels_for(spec.labels),
            soft=self.soft_targets(spec.teachers, spec.combine) if cached else None,
            precision=spec.training.precision,
            workers=self.context.workers,
        )
        return measured_on(test, train)

    def _widths(self, spec: RunSpec, network: Network) -> dict[str, int | None]:
        """Penultimate features of student and teacher, where a loss compares them."""
        if not spec.objective.needs_features:
            return {}
        student = None if network.head is None else network.head.in_features
        return {"student_features": student, "teacher_features": self.features(spec.teachers).width}

    @cached_property
    def splits(self) -> dict[str, Split]:
        """The data set."""
        return open_data(self.context.data)

    @cached_property
    def renderer(self) -> Renderer:
        """Views of the train split."""
        return Renderer(self.splits["train"], self.context.views, self.device, self.context.workers)

    @cached_property
    def stage(self) -> Stage | None:
        """Where copies of shards are kept, which is told of by :meth:`staged`."""
        options = self.context.stage
        return None if options is None else Stage(options.folder, options.size, say=self._notes.append)

    def staged(self) -> Staged | None:
        """What the stage was good for since the last time, and what people should know of it; None without one."""
        if self.stage is None:
            return None
        notes = tuple(self._notes)
        self._notes.clear()
        return Staged(self.stage.take_tally(), notes)

    @cached_property
    def store(self) -> CachedStore:
        """The store, compared with the data set and the view policy."""
        store = open_store(self.context.store, stage=self.stage)
        check_split(store, self.splits["train"], self.context.views)
        return store
