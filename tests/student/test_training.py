"""What a training does and says, alone and as one of several."""

from __future__ import annotations

import math

import pytest
import torch
from toys import (
    EPOCHS,
    STEPS,
    Learned,
    Several,
    StopError,
    Toy,
    Zipped,
    accuracy,
    ce,
    learner,
    lines,
    options,
    run,
    same_weights,
    student,
    timeless,
)

from logitcache.errors import InputError
from logitcache.student.records import TRAIN_MEASURES, TrainMeasures
from logitcache.student.training import CHECKPOINT, METRICS, Measured, Member, run_training, train
from logitcache.student.world import World


def test_metrics_and_outcome_say_what_happened(tmp_path):
    seen = []
    network, outcome = run(tmp_path, schedule="multistep", milestones=(0.34, 0.67), progress=seen.append)
    records = lines(tmp_path)
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert [record["learning_rate"] for record in records] == pytest.approx([0.1, 0.01, 0.001])
    assert [record["samples"] for record in records] == [48] * 3
    assert [vars(record) for record in seen] == records
    assert outcome.status == "done"
    assert outcome.epochs == EPOCHS
    assert outcome.loss == records[-1]["loss"]
    assert outcome.test_accuracy == accuracy(network.eval())
    assert outcome.best_test_accuracy == max(record["test_accuracy"] for record in records)
    assert outcome.train_seconds == pytest.approx(sum(record["train_seconds"] for record in records))


def test_the_loss_of_a_record_is_the_mean_over_its_steps(tmp_path):
    said = []

    def told(outputs, batch, epoch):
        loss = ce(outputs, batch, epoch)
        said.append(loss.item())
        return loss

    run(tmp_path, objective=told)
    means = [math.fsum(said[start : start + STEPS]) / STEPS for start in range(0, EPOCHS * STEPS, STEPS)]
    assert [line["loss"] for line in lines(tmp_path)] == pytest.approx(means, rel=1e-12)


def test_the_objective_is_told_how_many_epochs_are_done(tmp_path):
    told = []
    run(tmp_path, objective=lambda outputs, batch, epoch: told.append(epoch) or ce(outputs, batch, epoch))
    assert told == [step / STEPS for step in range(EPOCHS * STEPS)]


def test_every_step_has_its_own_learning_rate(tmp_path):
    trained, rates = learner(schedule="cosine"), []
    plain = trained.rates
    trained.rates = lambda given: (rates.append(given[0]), plain(given))
    run_group(tmp_path, trained, [Toy()], [options(schedule="cosine")])
    expected = [0.05 * (1 + math.cos(math.pi * step / (EPOCHS * STEPS))) for step in range(EPOCHS * STEPS)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("kind", [lambda: ce, Learned])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_students_learn(tmp_path, kind, precision, optimizer, ema):
    rate = 0.05 if optimizer == "sgd" else 0.02
    changes = {"precision": precision, "optimizer": optimizer, "learning_rate": rate, "checkpoint_seconds": 30}
    _, outcome = run(tmp_path, objective=kind(), epochs=25, ema=ema, **changes)
    records = lines(tmp_path)
    assert records[-1]["loss"] < 0.75 * records[0]["loss"]
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
    assert run(tmp_path, feed=Toy(spoil_at=STEPS + 1))[1] == outcome, "another attempt ends alike"
    assert len(lines(tmp_path)) == 2


def test_a_training_is_a_function_of_its_seed(tmp_path):
    first, _ = run(tmp_path / "a")
    again, _ = run(tmp_path / "b")
    assert same_weights(first, again)
    other, _ = run(tmp_path / "c", seed=6)
    assert not same_weights(first, other)


def test_dropout_differs_from_step_to_step(tmp_path):
    class Same(Toy):
        def epoch(self, epoch, start=0):
            batch = next(super().epoch(0))
            return iter([batch] * (self.steps - start))

    said = []

    def told(outputs, batch, epoch):
        said.append(outputs.logits.detach().clone())
        return 0 * outputs.logits.sum()

    run(tmp_path, feed=Same(), objective=told, weight_decay=0)
    assert not any(torch.equal(one, other) for number, one in enumerate(said) for other in said[:number])


def test_the_average_is_what_is_evaluated_and_left_in_the_network(tmp_path):
    plain, _ = run(tmp_path / "plain")
    network, outcome = run(tmp_path / "average", ema=0.9)
    assert not torch.equal(network.classifier.weight, plain.classifier.weight)
    assert torch.equal(network.body[1].running_mean, plain.body[1].running_mean), "buffers are the network's own"
    assert outcome.test_accuracy == accuracy(network.eval())
    assert [line["loss"] for line in lines(tmp_path / "average")] == [
        line["loss"] for line in lines(tmp_path / "plain")
    ]


@pytest.mark.parametrize("rows", [0, None])
def test_a_feed_without_batches_is_refused(tmp_path, rows):
    with pytest.raises(InputError, match="at least one batch"):
        run(tmp_path / "none", feed=Toy(steps=0))
    assert not (tmp_path / "none").exists()


def run_group(folder, trained, feeds, settings, **more):
    """Train a group whose members' folders are 0, 1, ..."""
    members = [Member(each, 5, folder / str(number)) for number, each in enumerate(settings)]
    more = {"evaluate": accuracy, **more}
    return run_training(trained, Zipped(feeds), members, checkpoint=folder / CHECKPOINT, **more)


def several(settings, **shape):
    return Several([learner(student(seed, dropout=0), **vars(each)) for seed, each in enumerate(settings)])


def test_each_of_several_ends_as_it_does_alone(tmp_path):
    settings = [options(learning_rate=rate, evaluate_every=number + 1) for number, rate in enumerate((0.1, 0.05, 0.2))]
    seen = []
    trained = several(settings)
    outcomes = run_group(
        tmp_path, trained, [Toy(seed=s) for s in range(3)], settings, progress=lambda *e: seen.append(e)
    )
    for number, each in enumerate(settings):
        folder = tmp_path / f"alone{number}"
        changes = each.model_dump(exclude={"epochs"})
        network, expected = run(folder, network=student(number, dropout=0), feed=Toy(seed=number), **changes)
        assert same_weights(trained.networks()[number], network)
        assert timeless(lines(tmp_path / str(number))) == timeless(lines(folder))
        assert timeless([vars(outcomes[number])]) == timeless([vars(expected)])
        assert [vars(record) for member, record in seen if member == number] == lines(tmp_path / str(number))


@pytest.mark.parametrize("stopped", [False, True])
def test_a_diverged_member_ends_and_the_others_go_on(tmp_path, stopped):
    settings = [options(), options()]
    sane = run(tmp_path / "sane", network=student(1, dropout=0), feed=Toy())[0]
    feeds = [Toy(spoil_at=1), Toy()]
    if stopped:
        with pytest.raises(StopError):
            run_group(tmp_path, several(settings), [feeds[0], Toy(stop_at=STEPS + 2)], settings)
    trained = several(settings)
    spoilt, done = run_group(tmp_path, trained, feeds, settings)
    assert (spoilt.status, spoilt.epochs, done.status, done.epochs) == ("diverged", 1, "done", EPOCHS)
    assert len(lines(tmp_path / "0")) == 1
    assert len(lines(tmp_path / "1")) == EPOCHS
    assert same_weights(trained.networks()[1], sane)


def test_when_all_diverged_the_training_ends(tmp_path):
    settings = [options(), options()]
    outcomes = run_group(tmp_path, several(settings), [Toy(spoil_at=1), Toy(spoil_at=STEPS)], settings)
    assert [(outcome.status, outcome.epochs) for outcome in outcomes] == [("diverged", 1), ("diverged", 2)]


@pytest.mark.parametrize("settings", [[options()], [options(), options(epochs=9)]])
def test_members_must_be_as_many_as_networks_and_of_equally_many_epochs(tmp_path, settings):
    with pytest.raises(InputError, match="2 networks need as many members"):
        run_group(tmp_path, several([options(), options()]), [Toy(), Toy()], settings)


def measured(network):
    """More than test accuracy: numbers that tell networks apart."""
    own = float(network.classifier.weight.detach().double().sum())
    return Measured(accuracy(network), TrainMeasures(50.0, own, None, 2 * own))


@pytest.mark.parametrize("stopped", [False, True])
def test_what_is_measured_beside_test_accuracy_is_recorded_and_kept(tmp_path, stopped):
    plain, _ = run(tmp_path / "plain", evaluate_every=2)
    arguments = {"folder": tmp_path / "more", "evaluate": measured, "seed": 5}
    if stopped:
        with pytest.raises(StopError):
            train(student(), Toy(stop_at=2 * STEPS + 1), ce, options(evaluate_every=2), **arguments)
    network, progress = student(), []
    outcome = train(network, Toy(), ce, options(evaluate_every=2), **arguments, progress=progress.append)
    records, without = lines(tmp_path / "more"), lines(tmp_path / "plain")
    assert [record["train_accuracy"] for record in records] == [None, 50, 50]
    assert [record["logit_distance"] == 2 * record["logit_mean"] for record in records[1:]] == [True, True]
    assert outcome.train == measured(network.eval()).train
    assert [outcome.train.logit_mean, outcome.test_accuracy] == [
        records[-1][n] for n in ("logit_mean", "test_accuracy")
    ]
    assert [vars(record) for record in progress] == records[-len(progress) :]
    assert same_weights(network, plain), "looking changes nothing"
    for name in TRAIN_MEASURES:
        assert [record.pop(name) for record in without] == [None] * EPOCHS
    assert timeless(without) == [
        {key: value for key, value in record.items() if key not in TRAIN_MEASURES} for record in timeless(records)
    ]


def test_each_member_may_have_an_evaluation_of_its_own(tmp_path):
    settings, trained = [options(), options()], several([options(), options()])
    outcomes = run_group(tmp_path, trained, [Toy(), Toy()], settings, evaluate=[lambda _: 11.0, measured])
    assert (outcomes[0].test_accuracy, outcomes[0].train) == (11.0, TrainMeasures())
    assert outcomes[1].train == measured(trained.networks()[1].eval()).train


@pytest.mark.parametrize("given", [[], [accuracy], [accuracy] * 3])
def test_evaluations_must_be_one_for_all_or_one_a_member(tmp_path, given):
    settings = [options(), options()]
    with pytest.raises(InputError, match=f"{len(given)} evaluations for 2 members"):
        run_group(tmp_path, several(settings), [Toy(), Toy()], settings, evaluate=given)
    assert list(tmp_path.iterdir()) == []


def test_only_the_first_process_evaluates_and_writes(tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr("torch.distributed.barrier", lambda: waited.append(1))
    seen = []
    arguments = {"evaluate": seen.append, "progress": lambda *each: seen.append(each), "world": World(1, 2)}
    [outcome] = run_group(tmp_path, learner(), [Toy()], [options()], **arguments)
    assert outcome.epochs == EPOCHS
    assert outcome.test_accuracy is None
    assert seen == []
    assert list(tmp_path.iterdir()) == []
    assert waited == [1, 1]


def test_processes_draw_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.distributed.barrier", lambda: None)
    networks = [student(), student()]
    for rank, network in enumerate(networks):
        run_group(tmp_path / str(rank), learner(network), [Toy()], [options()], world=World(rank, 2))
    assert not same_weights(*networks), "each has a dropout of its own"


def test_nothing_but_metrics_and_a_checkpoint_is_left(tmp_path):
    train(student(), Toy(), ce, options(), folder=tmp_path, evaluate=accuracy, seed=0)
    assert {path.name for path in tmp_path.iterdir()} == {METRICS, CHECKPOINT}
