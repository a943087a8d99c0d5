"""Predictions and accuracy on the clean view of a split."""

from __future__ import annotations

import pytest
import torch
from builders import lazy, make_split
from torch import nn

from logitcache.student import evaluation
from logitcache.student.evaluation import Evaluator
from logitcache.views import Renderer, ViewOptions

CPU = torch.device("cpu")


class Echo(nn.Module):
    """Says the classes it was told, and remembers what it was shown."""

    def __init__(self, answers) -> None:
        super().__init__()
        self.answers, self.shown, self.modes = answers, [], []

    def forward(self, inputs):
        start = sum(map(len, self.shown))
        self.shown.append(inputs.clone())
        self.modes.append(self.training)
        return nn.functional.one_hot(self.answers[start : start + len(inputs)], 3).float()


@pytest.fixture
def split():
    return make_split(30, 3, name="test")


def test_accuracy_is_the_share_of_right_answers_in_percent(split):
    answers = split.labels.clone()
    answers[:7] = (answers[:7] + 1) % 3
    assert Evaluator(split, CPU).accuracy(Echo(answers)) == pytest.approx(100 * 23 / 30, abs=1e-12)


@pytest.mark.parametrize("keep", [0, 1 << 30])
def test_the_network_sees_the_clean_view_of_all_samples_in_order_in_eval_mode(split, monkeypatch, keep):
    monkeypatch.setattr(evaluation, "_KEEP_BYTES", keep)
    monkeypatch.setattr(evaluation, "BATCH", 8)
    [clean] = Renderer(split, ViewOptions()).stream([(torch.arange(30), 0)], 30)
    evaluator = Evaluator(split, CPU)
    for _ in range(2):
        network = Echo(split.labels).train()
        logits = evaluator.logits(network)
        assert torch.equal(torch.cat(network.shown), clean.inputs)
        assert [len(part) for part in network.shown] == [8, 8, 8, 6]
        assert logits.shape == (30, 3)
        assert not any(network.modes)
        assert network.training, "the mode is put back"


def test_images_opened_one_by_one_give_the_same_logits(split):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    here, opened = Evaluator(split, CPU).logits(network), Evaluator(lazy(split), CPU).logits(network)
    torch.testing.assert_close(opened, here)


def test_bf16_is_run_under_autocast_and_gives_float32(split):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    exact, rough = (Evaluator(split, CPU, precision=each).logits(network) for each in ("float32", "bf16"))
    assert rough.dtype == torch.float32
    assert torch.equal(rough, rough.bfloat16().float())
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05)


def test_no_gradient_is_kept(split):
    assert not Evaluator(split, CPU).logits(nn.Sequential(nn.Flatten(), nn.Linear(64, 3))).requires_grad
