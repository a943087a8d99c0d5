"""A training that is stopped anywhere goes on to the same end."""

from __future__ import annotations

import signal

import pytest
import torch
from builders import lazy, make_split
from forked import forked
from toys import EPOCHS, STEPS, Learned, StopError, Toy, ce, lines, run, same_weights, student, timeless

from logitcache.errors import InputError
from logitcache.student import checkpoint
from logitcache.student.feed import FeedOptions, ViewFeed
from logitcache.student.training import CHECKPOINT, METRICS
from logitcache.views import Renderer, ViewOptions

KINDS = {
    "sgd": {},
    "adamw": {"optimizer": "adamw", "schedule": "one_cycle", "learning_rate": 0.02},
    "average": {"ema": 0.9},
    "average of adamw in bf16": {"optimizer": "adamw", "learning_rate": 0.02, "ema": 0.9, "precision": "bf16"},
    "learned objective": {"objective": Learned},
    "learned objective, adamw": {"objective": Learned, "optimizer": "adamw", "learning_rate": 0.02},
}


def go(folder, kind, **changes):
    """Train a kind with an objective of its own; returns network, objective, outcome."""
    settings = {**KINDS[kind], **changes}
    objective = settings.pop("objective", None)
    objective = ce if objective is None else objective()
    network, outcome = run(folder, objective=objective, **settings)
    return network, objective, outcome


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Uninterrupted trainings by kind, each trained once."""
    found = {}

    def get(kind):
        if kind not in found:
            folder = tmp_path_factory.mktemp("whole")
            found[kind] = (*go(folder, kind, checkpoint_seconds=1e6), folder)
        return found[kind]

    return get


@pytest.mark.parametrize("stop_at", range(EPOCHS * STEPS))
@pytest.mark.parametrize("kind", KINDS)
def test_stopped_before_any_step_it_ends_alike_bit_by_bit(tmp_path, whole, kind, stop_at):
    network, objective, expected, folder = whole(kind)
    with pytest.raises(StopError):
        go(tmp_path, kind, feed=Toy(stop_at=stop_at))
    torch.rand(stop_at)  # the next process has another random state
    resumed, own, outcome = go(tmp_path, kind, network=student(seed=1 if stop_at else 0))
    assert same_weights(resumed, network)
    assert objective is ce or same_weights(own, objective)
    assert timeless(lines(tmp_path)) == timeless(lines(folder))
    assert timeless([vars(outcome)]) == timeless([vars(expected)])


class Cut:
    """A feed that stops before a step of its second epoch."""

    def __init__(self, feed, step):
        self.feed, self.step, self.steps, self.samples = feed, step, feed.steps, feed.samples

    def epoch(self, epoch, start=0):
        for step, batch in enumerate(self.feed.epoch(epoch, start), start):
            if (epoch, step) == (1, self.step):
                raise StopError
            yield batch


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("stop_at", range(4))
def test_augmented_views_of_a_split_are_taken_up_where_they_were_left(tmp_path, stop_at, kept):
    split = make_split(30) if kept else lazy(make_split(30))
    feed = ViewFeed(Renderer(split, ViewOptions(kind="crop_flip", padding=1, count=2)), None, FeedOptions(8, 3, 2))
    expected, _ = run(tmp_path / "whole", feed=feed)
    with pytest.raises(StopError):
        run(tmp_path / "stopped", feed=Cut(feed, stop_at))
    resumed, _ = run(tmp_path / "stopped", network=student(seed=1), feed=feed)
    assert same_weights(resumed, expected)
    assert timeless(lines(tmp_path / "stopped")) == timeless(lines(tmp_path / "whole"))


@pytest.mark.parametrize("stop_at", [1, STEPS - 1, STEPS, STEPS + 2])
def test_no_step_before_the_checkpoint_is_repeated(tmp_path, stop_at):
    with pytest.raises(StopError):
        run(tmp_path, feed=Toy(stop_at=stop_at))
    asked = []

    class Watched(Toy):
        def epoch(self, epoch, start=0):
            asked.append((epoch, start))
            return super().epoch(epoch, start)

    run(tmp_path, feed=Watched())
    assert asked[0] == divmod(stop_at, STEPS)


def test_seconds_of_an_interrupted_epoch_count_the_steps_of_both_attempts_and_no_checkpoint(tmp_path, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr("logitcache.student.loop.time.perf_counter", lambda: float(next(clock)))
    slow = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *given: (slow(*given), [next(clock) for _ in range(1000)]))
    with pytest.raises(StopError):
        run(tmp_path, feed=Toy(stop_at=2))
    run(tmp_path)
    # one tick for each of the four pieces between checkpoints, whichever attempt they were in
    assert [line["train_seconds"] for line in lines(tmp_path)] == [4.0, 4.0, 4.0]


def test_between_checkpoints_it_replays_steps_without_doubling_their_lines(tmp_path):
    expected, _ = run(tmp_path / "whole")
    with pytest.raises(StopError):
        run(tmp_path / "stopped", feed=Toy(stop_at=2 * STEPS + 1), checkpoint_seconds=1e6)
    assert len(lines(tmp_path / "stopped")) == 2
    assert not (tmp_path / "stopped" / CHECKPOINT).exists()
    resumed, _ = run(tmp_path / "stopped", checkpoint_seconds=1e6)
    assert [line["epoch"] for line in lines(tmp_path / "stopped")] == [1, 2, 3]
    assert same_weights(resumed, expected)


def test_checkpoints_come_when_enough_seconds_have_passed(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("logitcache.student.loop.time.monotonic", lambda: now[0])
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda path, tensors, state: saved.append((state["epoch"], state["step"])))

    class Slow(Toy):
        def epoch(self, epoch, start=0):
            for batch in super().epoch(epoch, start):
                now[0] += 1
                yield batch

    run(tmp_path, feed=Slow(), checkpoint_seconds=2.5)
    assert saved == [(0, 3), (1, 2), (2, 1), (3, 0)]


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
    settings = {"ema": 0.9, "checkpoint_seconds": 1e6}
    expected_network, expected = run(tmp_path, **settings)
    again, outcome = run(tmp_path, network=student(seed=1), feed=Toy(stop_at=0), **settings)
    assert same_weights(again, expected_network)
    assert outcome == expected


@pytest.mark.parametrize(
    "change", [{"learning_rate": 0.2}, {"epochs": 9}, {"weight_decay": 0.0}, {"ema": 0.5}, {"compile": True}]
)
def test_a_checkpoint_of_other_options_is_refused(tmp_path, change):
    with pytest.raises(StopError):
        run(tmp_path, feed=Toy(stop_at=STEPS + 1))
    before = (tmp_path / METRICS).read_bytes()
    with pytest.raises(
        InputError, match=f"checkpoint.safetensors was written with other options.*{next(iter(change))}"
    ):
        run(tmp_path, **change)
    assert (tmp_path / METRICS).read_bytes() == before


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    with pytest.raises(StopError):
        run(tmp_path, feed=Toy(stop_at=STEPS + 1))
    with pytest.raises(InputError, match=r"checkpoint of another network.*network/body.0.weight.*delete it"):
        run(tmp_path, network=student(width=6))


def test_how_often_to_look_and_save_may_change_between_attempts(tmp_path):
    with pytest.raises(StopError):
        run(tmp_path, feed=Toy(stop_at=STEPS + 1))
    run(tmp_path, evaluate_every=2, checkpoint_seconds=1e6)


PROGRAM = """
import sys, time
from pathlib import Path
from toys import *
class Told(Toy):
    def epoch(self, epoch, start=0):
        for step, batch in enumerate(super().epoch(epoch, start), start):
            print(epoch * self.steps + step, flush=True)
            yield batch
run(Path(sys.argv[1]), feed=Told(), ema=0.9, optimizer="adamw", learning_rate=0.02)
"""


@pytest.mark.parametrize("moments", [(1,), (3, 4), (2, 6, 11)])
def test_killed_processes_leave_what_the_next_one_finishes_alike(tmp_path, moments):
    settings = {"ema": 0.9, "optimizer": "adamw", "learning_rate": 0.02}
    expected, _ = run(tmp_path / "whole", **settings)
    for moment in moments:
        with forked(PROGRAM, tmp_path / "killed") as process:
            for line in process.lines:
                if int(line) >= moment:
                    process.kill(signal.SIGKILL)
                    break
            assert process.wait() == -signal.SIGKILL
    assert (tmp_path / "killed" / CHECKPOINT).exists()
    resumed, _ = run(tmp_path / "killed", network=student(seed=1), **settings)
    assert same_weights(resumed, expected)
    assert timeless(lines(tmp_path / "killed")) == timeless(lines(tmp_path / "whole"))


def test_what_killed_writers_left_is_swept(tmp_path):
    for name in (CHECKPOINT, METRICS):
        (tmp_path / f".{name}.12345").write_bytes(b"half")
    run(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, METRICS}
