"""What is measured of a network on its own train samples: formulas, and what it is shown for them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from builders import lazy, make_split
from torch import nn

from logitcache.soft_targets import CombineOptions
from logitcache.student import measuring
from logitcache.student.evaluation import Evaluator
from logitcache.student.measuring import TrainSamples, measured_on
from logitcache.student.records import TRAIN_MEASURES, Measured, TrainMeasures
from logitcache.views import Renderer, ViewOptions

CPU = torch.device("cpu")
SAMPLES, CLASSES = 30, 3
SPLIT = make_split(SAMPLES, CLASSES)
ROWS = torch.tensor([20, 3, 11, 4, 29, 0, 17])
ALL = torch.arange(SAMPLES)


class Known(nn.Module):
    """Says logits that are known for each image, which it tells by its pixels; notes what it is shown."""

    def __init__(self, logits) -> None:
        super().__init__()
        self.logits = logits
        self.images = next(Renderer(SPLIT, ViewOptions()).stream([(ALL, 0)], SAMPLES)).inputs
        self.shown: list[list[int]] = []
        self.modes: set[bool] = set()

    def forward(self, inputs):
        rows = torch.cdist(inputs.flatten(1), self.images.flatten(1)).argmin(1)
        assert torch.equal(self.images[rows], inputs), "only clean views are shown"
        self.shown.append(rows.tolist())
        self.modes.add(self.training)
        return self.logits[rows]


class Cached:
    """A teacher's cached logits; notes what is asked for."""

    def __init__(self, logits, *, whole=True, **combine) -> None:
        self.logits, self.whole, self.options = logits, whole, CombineOptions(**combine)
        self.asked: list[tuple[list[int], int]] = []

    def gather(self, rows, view):
        assert not torch.is_inference_mode_enabled(), "what is decoded may be kept for steps that need gradients"
        assert not torch.is_autocast_enabled("cpu"), "what is decoded is exact"
        self.asked.append((rows.tolist(), view))
        return self.logits[rows]


def normal(seed, scale=4.0):
    return scale * torch.randn(SAMPLES, CLASSES, generator=torch.Generator().manual_seed(seed))


def measure(ours, theirs=None, rows=None, **more) -> TrainMeasures:
    soft = None if theirs is None else Cached(theirs)
    return TrainSamples(SPLIT, rows, CPU, soft=soft, **more).measure(Known(ours))


def reference(ours, theirs, labels, rows) -> dict[str, float]:
    """The definitions, row by row in float64."""
    z, t = ours[rows].numpy().astype(np.float64), theirs[rows].numpy().astype(np.float64)
    d = z - t
    norms = [math.sqrt(sum(x * x for x in row)) for row in d]
    shift = sum(CLASSES * (sum(row) / CLASSES) ** 2 for row in d)
    return {
        "train_accuracy": 100 * np.mean(z.argmax(1) == labels[rows].numpy()),
        "logit_mean": z.mean(),
        "teacher_logit_mean": t.mean(),
        "logit_distance": np.mean(norms),
        "mean_share": shift / sum(norm * norm for norm in norms),
    }


@pytest.mark.parametrize("batch", [4, 1000])
@pytest.mark.parametrize("rows", [None, ROWS])
def test_measures_are_what_their_definitions_say(monkeypatch, rows, batch):
    monkeypatch.setattr(measuring, "BATCH", batch)
    ours, theirs, labels = normal(1) + 2, normal(2), SPLIT.labels.roll(1)
    found = asdict(measure(ours, theirs, rows, labels=labels))
    assert tuple(found) == TRAIN_MEASURES
    assert found == pytest.approx(reference(ours, theirs, labels, ALL if rows is None else rows), rel=1e-12)


def test_labels_are_the_splits_own_unless_others_are_given():
    right = 5.0 * torch.eye(CLASSES)[SPLIT.labels]
    assert measure(right).train_accuracy == 100
    assert measure(right, labels=(SPLIT.labels + 1) % CLASSES).train_accuracy == 0


def test_without_a_teacher_there_are_no_distances():
    ours = normal(1)
    found = measure(ours)
    assert found.logit_mean == pytest.approx(float(ours.double().mean()), rel=1e-12)
    assert (found.teacher_logit_mean, found.logit_distance, found.mean_share) == (None, None, None)


@pytest.mark.parametrize("other", [{"whole": False}, {"combine": "mean_probs", "tau": 4.0}])
def test_soft_targets_that_are_no_whole_logits_are_not_compared_with(other):
    soft = Cached(normal(2), **other)
    assert TrainSamples(SPLIT, None, CPU, soft=soft).measure(Known(normal(1))) == measure(normal(1))
    assert soft.asked == []


def test_a_shift_of_all_logits_alike_is_all_of_the_distance():
    theirs = normal(2).round()
    found = measure(theirs - 1.5, theirs)
    assert found.mean_share == pytest.approx(1, abs=1e-12)
    assert found.logit_distance == pytest.approx(1.5 * math.sqrt(CLASSES), rel=1e-12)
    assert found.logit_mean == pytest.approx(found.teacher_logit_mean - 1.5, rel=1e-12)


def test_differences_that_sum_to_zero_have_no_share_of_the_mean():
    theirs = normal(2).round()
    found = measure(theirs + torch.tensor([1.0, -3.0, 2.0]), theirs)
    assert found.mean_share == pytest.approx(0, abs=1e-12)
    assert found.logit_distance == pytest.approx(math.sqrt(14), rel=1e-12)


def test_where_there_is_no_distance_there_is_no_share_of_it():
    found = measure(normal(2), normal(2))
    assert (found.logit_distance, found.mean_share) == (0, None)


@pytest.mark.parametrize("wrong", [math.inf, math.nan])
def test_numbers_that_json_lacks_become_none(wrong):
    ours = normal(1)
    ours[3, 1] = wrong
    found = measure(ours, normal(2))
    assert 0 < found.train_accuracy < 100
    assert found.teacher_logit_mean is not None
    assert (found.logit_mean, found.logit_distance, found.mean_share) == (None, None, None)
    json.dumps(asdict(found), allow_nan=False)


def test_sums_do_not_lose_what_single_precision_loses():
    ours = torch.full((SAMPLES, CLASSES), 2.0**24 - 1)
    ours[0, 0] -= 1
    assert measure(ours).logit_mean == 2.0**24 - 1 - 1 / (SAMPLES * CLASSES)


def test_rows_are_read_in_the_order_of_the_split_and_the_teacher_in_its_clean_view(monkeypatch):
    monkeypatch.setattr(measuring, "BATCH", 4)
    network, soft = Known(normal(1)), Cached(normal(2))
    samples = TrainSamples(SPLIT, ROWS, CPU, soft=soft, precision="bf16")
    for training in (True, False):
        network.shown.clear()
        soft.asked.clear()
        samples.measure(network.train(training))
        assert network.training == training, "the mode is put back"
        assert network.shown == [[0, 3, 4, 11], [17, 20, 29]]
        assert soft.asked == [(rows, 0) for rows in network.shown]
    assert network.modes == {False}


def test_images_opened_one_by_one_give_the_same_measures():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    here, opened = (TrainSamples(each, ROWS, CPU).measure(network) for each in (SPLIT, lazy(SPLIT)))
    assert asdict(opened) == pytest.approx(asdict(here))


def test_bf16_is_run_as_it_is_trained():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    rough = TrainSamples(SPLIT, None, CPU, precision="bf16").measure(network)
    expected = Evaluator(SPLIT, CPU, precision="bf16").logits(network)
    assert rough.logit_mean == pytest.approx(float(expected.double().mean()), rel=1e-12)
    assert rough.logit_mean != TrainSamples(SPLIT, None, CPU).measure(network).logit_mean


def test_an_evaluation_has_test_accuracy_and_train_measures():
    test, train = Evaluator(make_split(12, CLASSES, seed=1), CPU), TrainSamples(SPLIT, ROWS, CPU)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    assert measured_on(test, train)(network) == Measured(test.accuracy(network), train.measure(network))
