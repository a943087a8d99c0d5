"""What a recipe's teacher is taught from: views, labels, cached logits of other teachers; and what decides it all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from logitcache.errors import InputError
from logitcache.models import Network, build_model
from logitcache.pipeline.context import RunContext
from logitcache.pipeline.schema import Recipe, SnapshotOptions, TeacherRecipe, TeachOptions
from logitcache.records import fingerprint
from logitcache.soft_targets import CachedStore, FeatureTargets, SoftTargets
from logitcache.student.evaluation import Evaluator
from logitcache.student.feed import FeedOptions, ViewFeed
from logitcache.student.measuring import TrainSamples, measured_on
from logitcache.student.objectives import objective
from logitcache.student.training import Evaluate
from logitcache.views import Renderer, ViewOptions, view_policy

__all__ = ["Lessons", "advice", "lessons_fingerprint", "manner", "prepare", "source_of"]


@dataclass(frozen=True)
class Lessons:
    """How a teacher is taught: its network with initial weights on the device, its batches, its loss, its examiner."""

    options: TeachOptions
    inputs: str
    """The fingerprint of all that decides its weights."""
    network: Network
    feed: ViewFeed
    objective: nn.Module
    evaluator: Evaluator
    evaluate: Evaluate
    """What is measured of it after its epochs."""


@dataclass(frozen=True)
class _Targets:
    """What is read from the store; None where nothing asks for it."""

    soft: SoftTargets | None = None
    features: FeatureTargets | None = None


def prepare(context: RunContext, teacher: TeacherRecipe, options: TeachOptions) -> Lessons:
    """All that a teacher's training needs.

    Raises:
        InputError: teachers that it learns from are not in the store.
    """
    split, views = context.splits["train"], _views(context, options)
    torch.manual_seed(options.seed)
    network = build_model(teacher.model, len(split.classes), split.shape)
    targets = _targets(context, options)
    loss = objective(options.minimises, **_widths(network, targets.features))
    feed = ViewFeed(
        Renderer(split, views, context.device, context.recipe.cache.workers),
        None,
        FeedOptions(options.batch, options.seed, views.count),
        soft=targets.soft,
        labels=split.labels_for(options.labels),
        features=targets.features,
        members=options.minimises.needs_members,
    )
    evaluator = Evaluator(context.splits.get("test", split), context.device, precision=options.precision)
    return Lessons(
        options=options,
        inputs=lessons_fingerprint(context, teacher, options),
        network=network.to(context.device),
        feed=feed,
        objective=loss.to(context.device),
        evaluator=evaluator,
        evaluate=_evaluation(context, options, evaluator, targets.soft),
    )


def lessons_fingerprint(context: RunContext, teacher: TeacherRecipe, options: TeachOptions) -> str:
    """The fingerprint of everything that decides a teacher's weights, those of its own teachers as stored included.

    Of teachers that learn from labels alone it is what it was before others could be learnt from.
    """
    split, views = context.splits["train"], _views(context, options)
    elsewhere = {"checkpoint_seconds", "views", "labels", "teachers", "objective", "combine"}
    inputs = {
        "model": teacher.model,
        "data": split.fingerprint,
        "views": view_policy(split, views),
        "options": options.record(without=elsewhere),
        "view_count": views.count,
    }
    if split.label_kind(options.labels) == "noisy" and options.minimises.needs_labels:
        inputs["noise"] = split.noise_record  # without noise, fingerprints of before there was any stay
    if options.objective is not None:
        inputs["objective"] = options.objective.identity()
    if options.teachers:
        sources = context.sources(options.teachers)
        inputs["teachers"] = [sources[name] for name in options.teachers]
        inputs["combine"] = options.combine.model_dump(mode="json")
    return fingerprint(inputs)


def manner(options: TeachOptions) -> str:
    """What a teacher minimises and whom it learns from, for people; empty where it learns the labels alone."""
    if options.objective is None:
        return ""
    whom = f" from {' and '.join(options.teachers)}" if options.teachers else ""
    return f", {options.objective.label}{whom}"


def source_of(recipe: Recipe, snapshot: SnapshotOptions) -> tuple[TeacherRecipe, TeachOptions]:
    """The teacher that a snapshot is of, and how it is taught; the recipe's check says that there is one."""
    [found] = [(each, each.teach) for each in recipe.teachers if each.name == snapshot.of and each.teach is not None]
    return found


def advice(context: RunContext, teacher: TeacherRecipe) -> str:
    """What to do about a checkpoint of another training."""
    shared = context.recipe.share.teachers
    if shared is None:
        return "use another --out, or delete it together with the store"
    return (
        f"it is shared (share.teachers = {shared!r}), and recipes that share teachers must say the same of them: give "
        f"teacher {teacher.name!r} another name, or share.teachers another"
    )


def _views(context: RunContext, options: TeachOptions) -> ViewOptions:
    """The views that are walked: the cached ones where cached logits are read."""
    return context.recipe.views if options.teachers else options.views


def _targets(context: RunContext, options: TeachOptions) -> _Targets:
    """The cached logits and features that the objective reads."""
    wanted, names, device = options.minimises, options.teachers, context.device
    if not names:
        return _Targets()
    store = _store(context)
    soft = features = None
    if wanted.needs_logits or wanted.needs_members:
        soft = store.soft_targets(names, "train", **options.combine.model_dump(), device=device)
    if wanted.needs_features:
        features = store.feature_targets(names[0], "train", device=device)
    return _Targets(soft, features)


def _evaluation(context: RunContext, options: TeachOptions, test: Evaluator, soft: SoftTargets | None) -> Evaluate:
    """What a teacher's training is looked at by."""
    if not options.measure_train:
        return test.accuracy
    split, workers = context.splits["train"], context.recipe.cache.workers
    labels, precision = split.labels_for(options.labels), options.precision
    train = TrainSamples(split, None, context.device, labels=labels, soft=soft, precision=precision, workers=workers)
    return measured_on(test, train)


def _store(context: RunContext) -> CachedStore:
    """The store that its teachers were cached in."""
    store = context.store()
    if store is None:
        raise InputError(f"{context.store_path} does not exist; run the cache step first")
    return store


def _widths(network: Network, features: FeatureTargets | None) -> dict[str, int | None]:
    """Penultimate features of the taught and of its teacher, where a loss compares them."""
    if features is None:
        return {}
    own = None if network.head is None else network.head.in_features
    return {"student_features": own, "teacher_features": features.width}
