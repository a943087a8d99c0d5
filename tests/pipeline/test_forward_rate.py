"""The rate of a forward pass is measured with no more rows than tell it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from logitcache.pipeline import forward_rate as module
from logitcache.teacher_options import InferenceOptions

CPU = torch.device("cpu")


class Slow(nn.Module):
    """Takes so long a row by a clock of its own, and remembers what it was given; its first pass takes a minute."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.now, self.given = seconds, 0.0, []

    def forward(self, inputs):
        self.now += self.seconds * len(inputs) if self.given else 60
        self.given.append((len(inputs), torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()))
        return inputs


@pytest.fixture
def measure(monkeypatch):
    """Rate and rows of each pass of a network that takes so long a row."""

    def run(seconds, *, batch=500, precision="float32"):
        network = Slow(seconds)
        monkeypatch.setattr(module, "random_network", lambda model, classes, shape: network)
        monkeypatch.setattr(module.time, "perf_counter", lambda: network.now)
        options = InferenceOptions(batch=batch, precision=precision)
        return module.forward_rate.__wrapped__("slow", 10, (1, 2, 2), options, CPU), network.given

    return run


def test_a_slow_network_is_run_over_one_row(measure):
    rate, given = measure(0.12)
    assert [rows for rows, *_ in given] == [1, 1, 1]
    assert rate == pytest.approx(1 / 0.12)


def test_batches_double_until_a_pass_tells(measure):
    rate, given = measure(0.03)
    assert [rows for rows, *_ in given] == [1, 1, 1, 2, 2, 4, 4]
    assert rate == pytest.approx(1 / 0.03)


def test_no_batch_is_larger_than_the_one_asked_for(measure):
    _, given = measure(0.001, batch=3, precision="bf16")
    assert [rows for rows, *_ in given] == [1, 1, 1, 2, 2, 3, 3]
    assert all(autocast and inference for _, autocast, inference in given)


def test_networks_alike_are_measured_once_and_leave_the_random_state_alone():
    before = torch.get_rng_state()
    asked = ("cnn-4-4", 3, (1, 8, 8), InferenceOptions(batch=2), CPU)
    assert module.forward_rate(*asked) == module.forward_rate(*asked) > 0
    assert torch.equal(torch.get_rng_state(), before)
