"""The hook of a training that is given its network after each epoch, before the checkpoint that has the epoch."""

from __future__ import annotations

import pytest
from toys import (
    STEPS,
    Several,
    StopError,
    Toy,
    Zipped,
    accuracy,
    ce,
    learner,
    options,
    run,
    same_tensors,
    same_weights,
    student,
)

from logitcache.student.training import CHECKPOINT, Member, run_training, train


class Taken:
    """Copies of the weights by epoch, in the order in which they were given; dies at some epoch."""

    def __init__(self, stop_at=None):
        self.given, self.stop_at = [], stop_at

    def __call__(self, epochs, network):
        assert not network.training
        self.given.append((epochs, {key: value.clone() for key, value in network.state_dict().items()}))
        if epochs == self.stop_at:
            raise StopError

    @property
    def epochs(self):
        return [epochs for epochs, _ in self.given]


def taken(folder, snapshot, **changes):
    """Train a student whose network is given away after each epoch."""
    network = student()
    arguments = {"folder": folder, "evaluate": accuracy, "seed": 5, "snapshot": snapshot}
    train(network, changes.pop("feed", None) or Toy(), ce, options(**changes), **arguments)
    return network


@pytest.mark.parametrize("ema", [None, 0.9])
def test_after_each_epoch_the_network_is_given_as_it_would_be_saved(tmp_path, ema):
    snapshot = Taken()
    network = taken(tmp_path / "mine", snapshot, ema=ema)
    assert snapshot.epochs == [1, 2, 3]
    assert same_tensors(snapshot.given[-1][1], network.state_dict())
    plain, _ = run(tmp_path / "plain", ema=ema)
    assert same_weights(network, plain), "it changes nothing"
    begun = Taken(stop_at=1)
    with pytest.raises(StopError):
        taken(tmp_path / "begun", begun, ema=ema)
    assert same_tensors(snapshot.given[0][1], begun.given[0][1])


def test_killed_while_it_is_given_it_is_given_again(tmp_path):
    whole = Taken()
    taken(tmp_path / "whole", whole)
    first, second = Taken(stop_at=2), Taken()
    with pytest.raises(StopError):
        taken(tmp_path / "mine", first)
    taken(tmp_path / "mine", second)
    assert second.epochs == [2, 3]
    assert same_tensors(second.given[0][1], first.given[1][1])
    assert same_tensors(second.given[1][1], whole.given[2][1])


def test_a_network_that_diverged_is_not_given(tmp_path):
    snapshot = Taken()
    taken(tmp_path, snapshot, feed=Toy(spoil_at=STEPS + 1))
    assert snapshot.epochs == [1]


def test_of_several_each_is_given_with_its_number(tmp_path):
    told = []
    members = [Member(options(), 5, tmp_path / name) for name in "ab"]
    for member in members:
        member.folder.mkdir()
    run_training(
        Several([learner(student(seed)) for seed in (0, 1)]),
        Zipped([Toy(), Toy(seed=1, spoil_at=STEPS)]),
        members,
        checkpoint=tmp_path / CHECKPOINT,
        evaluate=accuracy,
        snapshot=lambda number, epochs, network: told.append((number, epochs)),
    )
    assert told == [(0, 1), (1, 1), (0, 2), (0, 3)]
