"""Teachers that are measured on their train samples while they are taught."""

from __future__ import annotations

import json

import pytest
import torch
from builders import tree
from tiny import Run

from logitcache.models import build_model
from logitcache.models.weights import load_checkpoint
from logitcache.pipeline.teaching import is_taught, teach
from logitcache.student.measuring import TrainSamples
from logitcache.student.records import TRAIN_MEASURES


@pytest.fixture
def taught(finished_run, tmp_path):
    """The finished run's teacher taught once more, and measured."""
    run = Run(finished_run.recipe, tmp_path / "out")
    context = run.context("teachers.teach.measure_train=true")
    [teacher] = context.recipe.teachers
    teach(context, teacher, teacher.teach, context.checkpoint(teacher))
    return run


def test_each_epoch_of_a_teacher_has_its_train_accuracy(taught):
    context = taught.context()
    [teacher], split = context.recipe.teachers, context.splits["train"]
    [metrics] = taught.out.glob("teachers/*.training/*/metrics.jsonl")
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    network = build_model(teacher.model, len(split.classes), split.shape)
    load_checkpoint(context.checkpoint(teacher), network, teacher.model)
    last = TrainSamples(split, None, torch.device("cpu")).measure(network)
    assert [records[-1][name] for name in TRAIN_MEASURES[:2]] == pytest.approx(
        [last.train_accuracy, last.logit_mean], rel=1e-5
    )
    assert [record["train_accuracy"] is not None for record in records] == [True, True]
    assert [records[-1][name] for name in TRAIN_MEASURES[2:]] == [None] * 3, "it learns from labels"


def test_looking_at_a_teacher_changes_neither_weights_nor_fingerprint(taught, finished_run):
    ours, theirs = tree(taught.out / "teachers"), tree(finished_run.out / "teachers")
    assert ours["big.safetensors"] == theirs["big.safetensors"]
    context = taught.context()
    [teacher] = context.recipe.teachers
    assert is_taught(context, teacher, teacher.teach, context.checkpoint(teacher))
