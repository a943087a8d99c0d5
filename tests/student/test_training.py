import json
import math

import pytest
import torch
from torch import nn

from logitcache.errors import InputError
from logitcache.models import build_model
from logitcache.student.batches import Batch
from logitcache.student.objectives import ObjectiveOptions, objective
from logitcache.student.training import CHECKPOINT, METRICS, TrainingOptions, make_optimizer, train

SHAPE = (1, 8, 8)
EPOCHS, STEPS = 3, 4


class StopError(Exception):
    """What a killed process looks like from inside."""


class Toy:
    """Learnable batches, a pure function of the epoch; may stop before a given step or spoil one."""

    def __init__(self, stop_at=None, spoil_at=None, steps=STEPS, size=12):
        self.steps, self.stop_at, self.spoil_at, self.size = steps, stop_at, spoil_at, size

    def epoch(self, epoch):
        generator = torch.Generator().manual_seed(epoch)
        for step in range(self.steps):
            position = epoch * self.steps + step
            if position == self.stop_at:
                raise StopError
            labels = torch.randint(0, 3, (self.size,), generator=generator)
            inputs = torch.randn(self.size, *SHAPE, generator=generator) + labels[:, None, None, None]
            teacher = 4 * torch.eye(3)[labels]
            yield Batch(inputs * (math.inf if position == self.spoil_at else 1), labels, teacher)


def student(seed=0):
    """A small network with dropout, whose draws must be replayed too."""
    torch.manual_seed(seed)
    network = build_model("cnn-4-8", 3, SHAPE)
    return nn.Sequential(network.body, nn.Dropout(0.3), network.classifier)


def accuracy(network):
    assert not network.training
    with torch.no_grad():
        batch = next(Toy(size=120).epoch(99))
        return (network(batch.inputs).argmax(1) == batch.labels).float().mean().item() * 100


def options(**changes):
    return TrainingOptions(**{"epochs": EPOCHS, "learning_rate": 0.1, "checkpoint_seconds": 0, **changes})


def run(folder, *, network=None, feed=None, progress=None, loss="ce", **changes):
    network = student() if network is None else network
    outcome = train(
        network,
        feed or Toy(),
        objective(ObjectiveOptions(loss=loss)),
        options(**changes),
        folder=folder,
        evaluate=accuracy,
        seed=5,
        progress=progress,
    )
    return network, outcome


def lines(folder):
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def timeless(records):
    return [{key: value for key, value in record.items() if key != "train_seconds"} for record in records]


def same_weights(one, other):
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stop_at", range(EPOCHS * STEPS))
def test_stopped_before_any_step_it_resumes_to_identical_weights_and_metrics(tmp_path, stop_at, optimizer):
    changes = {"optimizer": optimizer, "schedule": "one_cycle"}
    whole, expected = run(tmp_path / "whole", **changes)
    with pytest.raises(StopError):
        run(tmp_path / "stopped", feed=Toy(stop_at=stop_at), **changes)
    torch.rand(stop_at)  # the next process has another random state
    resumed, outcome = run(tmp_path / "stopped", network=student(seed=1 if stop_at >= STEPS else 0), **changes)
    assert same_weights(resumed, whole)
    assert timeless(lines(tmp_path / "stopped")) == timeless(lines(tmp_path / "whole"))
    assert (outcome.test_accuracy, outcome.loss) == (expected.test_accuracy, expected.loss)


def test_between_checkpoints_it_replays_epochs_without_doubling_their_lines(tmp_path):
    whole, _ = run(tmp_path / "whole")
    with pytest.raises(StopError):
        run(tmp_path / "stopped", feed=Toy(stop_at=2 * STEPS + 1), checkpoint_seconds=1e6)
    assert len(lines(tmp_path / "stopped")) == 2
    assert not (tmp_path / "stopped" / CHECKPOINT).exists()
    resumed, _ = run(tmp_path / "stopped", checkpoint_seconds=1e6)
    assert [line["epoch"] for line in lines(tmp_path / "stopped")] == [1, 2, 3]
    assert same_weights(resumed, whole)


@pytest.mark.parametrize("tail", ["", '{"epoch": 3, "loss"', '{"epoch": 3}\n{"epoch": 4}\n'])
def test_metrics_are_cut_to_what_the_checkpoint_knows(tmp_path, tail):
    run(tmp_path / "whole")
    with pytest.raises(StopError):
        run(tmp_path / "stopped", feed=Toy(stop_at=2 * STEPS))
    kept = (tmp_path / "stopped" / METRICS).read_text()
    # killed while writing a line, or after it and before the checkpoint, or between checkpoint and line
    (tmp_path / "stopped" / METRICS).write_text(kept + tail if tail else kept.splitlines(keepends=True)[0])
    run(tmp_path / "stopped")
    assert timeless(lines(tmp_path / "stopped")) == timeless(lines(tmp_path / "whole"))


def test_a_finished_training_is_not_repeated(tmp_path):
    whole, expected = run(tmp_path)
    again, outcome = run(tmp_path, network=student(seed=1), feed=Toy(stop_at=0))
    assert same_weights(again, whole)
    assert outcome == expected


def test_metrics_and_outcome_say_what_happened(tmp_path):
    seen = []
    network, outcome = run(tmp_path, schedule="multistep", milestones=(0.34, 0.67), progress=seen.append)
    records = lines(tmp_path)
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert [record["learning_rate"] for record in records] == pytest.approx([0.1, 0.01, 0.001])
    assert [vars(record) for record in seen] == records
    assert outcome.status == "done"
    assert outcome.epochs == EPOCHS
    assert outcome.loss == records[-1]["loss"]
    assert outcome.test_accuracy == accuracy(network.eval())
    assert outcome.best_test_accuracy == max(record["test_accuracy"] for record in records)
    assert outcome.train_seconds == pytest.approx(sum(record["train_seconds"] for record in records))


@pytest.mark.parametrize("loss", ["ce", "kl", "mse"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_students_learn(tmp_path, loss, precision, optimizer):
    rate = 0.05 if optimizer == "sgd" else 0.02
    changes = {"precision": precision, "optimizer": optimizer, "learning_rate": rate, "checkpoint_seconds": 30}
    _, outcome = run(tmp_path, loss=loss, epochs=25, **changes)
    records = lines(tmp_path)
    assert records[-1]["loss"] < 0.6 * records[0]["loss"]
    assert outcome.test_accuracy > 85


@pytest.mark.parametrize("every", [1, 2, 5])
def test_the_last_epoch_is_always_evaluated(tmp_path, every):
    run(tmp_path, epochs=3, evaluate_every=every)
    measured = [record["test_accuracy"] is not None for record in lines(tmp_path)]
    assert measured == [every == 1, every <= 2, True]


def test_a_loss_that_is_not_finite_ends_as_diverged(tmp_path):
    _, outcome = run(tmp_path, feed=Toy(spoil_at=STEPS + 1))
    assert (outcome.status, outcome.epochs) == ("diverged", 2)
    assert outcome.loss is None
    assert outcome.test_accuracy is None
    assert outcome.best_test_accuracy == lines(tmp_path)[0]["test_accuracy"]
    assert lines(tmp_path)[1]["loss"] is None
    # the checkpoint still holds the last finite epoch, so another attempt ends alike
    assert run(tmp_path, feed=Toy(spoil_at=STEPS + 1))[1].status == "diverged"
    assert len(lines(tmp_path)) == 2


def test_a_training_is_a_function_of_its_seed(tmp_path):
    first, _ = run(tmp_path / "a")
    again, _ = run(tmp_path / "b")
    assert same_weights(first, again)
    other = student()
    arguments = {"folder": tmp_path / "c", "evaluate": accuracy, "seed": 6}
    train(other, Toy(), objective(ObjectiveOptions()), options(), **arguments)
    assert not same_weights(first, other)


@pytest.mark.parametrize("change", [{"learning_rate": 0.2}, {"epochs": 9}, {"weight_decay": 0.0}])
def test_a_checkpoint_of_other_options_is_refused(tmp_path, change):
    with pytest.raises(StopError):
        run(tmp_path, feed=Toy(stop_at=STEPS + 1))
    before = (tmp_path / METRICS).read_bytes()
    with pytest.raises(
        InputError, match=f"checkpoint.safetensors was written with other options.*{next(iter(change))}"
    ):
        run(tmp_path, **change)
    assert (tmp_path / METRICS).read_bytes() == before


def test_how_often_to_look_and_save_may_change_between_attempts(tmp_path):
    with pytest.raises(StopError):
        run(tmp_path, feed=Toy(stop_at=STEPS + 1))
    run(tmp_path, evaluate_every=2, checkpoint_seconds=1e6)


def test_a_feed_without_batches_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least one batch"):
        run(tmp_path / "none", feed=Toy(steps=0))
    assert not (tmp_path / "none").exists()


def test_decay_is_for_parameters_of_two_or_more_dimensions_unless_asked():
    network = student()
    decayed, kept = make_optimizer(network, options()).param_groups
    assert {parameter.dim() for parameter in decayed["params"]} == {2, 4}
    assert {parameter.dim() for parameter in kept["params"]} == {1}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (5e-4, 0.0)
    (everything,) = make_optimizer(network, options(decay_norm=True)).param_groups
    assert len(everything["params"]) == len(list(network.parameters()))


def test_nesterov_needs_momentum():
    assert make_optimizer(student(), options()).defaults["nesterov"]
    assert not make_optimizer(student(), options(momentum=0)).defaults["nesterov"]
