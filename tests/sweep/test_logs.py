"""Records of epochs for other programs: the same ones as in ``metrics.jsonl``."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from sweeps import sweep

from logitcache.errors import InputError
from logitcache.student.records import TRAIN_MEASURES
from logitcache.sweep import ListenerError, SweepOptions

HOOK = """
import json

def log(run_id, record):
    with open("told.jsonl", "a") as file:
        file.write(json.dumps([run_id, record]) + "\\n")

def fail(run_id, record):
    raise KeyError(run_id)
"""


@pytest.fixture
def hooks(tmp_path, monkeypatch):
    """A module of the user's in the current directory."""
    (tmp_path / "hooks.py").write_text(HOOK)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("hooks", None)


def metrics(run) -> list[list[object]]:
    """Run id and record of every line of every ``metrics.jsonl``."""
    paths = sorted(run.out.glob("students/*/metrics.jsonl"))
    return [[path.parent.name, json.loads(line)] for path in paths for line in path.read_text().splitlines()]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_hook_is_called_in_this_process_with_each_record(cached, hooks, processes):
    sweep(cached, hook="hooks:log", processes=processes)
    told = [json.loads(line) for line in (hooks / "told.jsonl").read_text().splitlines()]
    assert "hooks" in sys.modules
    assert sorted(told, key=lambda each: (each[0], each[1]["epoch"])) == metrics(cached)
    assert len(told) == 8


def test_a_hook_that_fails_stops_the_sweep_and_says_so(cached, hooks):
    with pytest.raises(ListenerError, match="a listener raised KeyError"):
        sweep(cached, hook="hooks:fail")


@pytest.mark.parametrize(
    ("hook", "message"), [("hooks:other", "has no 'other'"), ("nowhere:log", "no module 'nowhere'")]
)
def test_a_hook_that_is_not_there_is_refused_before_anything_is_trained(cached, hooks, hook, message):
    with pytest.raises(InputError, match=message):
        sweep(cached, hook=hook)
    assert not (cached.out / "students").exists()


@pytest.mark.parametrize("hook", ["log", "a.b", "hooks:", "import os"])
def test_a_hook_must_be_the_name_of_a_function(hook):
    with pytest.raises(ValueError, match="module:function"):
        SweepOptions(hook=hook)


class Writer:
    """What TensorBoard's writer is told."""

    def __init__(self, folder, *, purge_step) -> None:
        self.folder, self.purge_step, self.points, self.closed = folder, purge_step, [], False
        WRITERS.append(self)

    def add_scalar(self, name, value, step):
        self.points.append((name, value, step))

    def close(self):
        self.closed = True


WRITERS: list[Writer] = []


@pytest.fixture
def board(monkeypatch):
    """TensorBoard's package, replaced."""
    WRITERS.clear()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))


def test_tensorboard_has_a_curve_of_each_number_in_the_folder_of_each_run(cached, board):
    sweep(cached, tensorboard=True)
    assert [writer.folder for writer in WRITERS] == [
        str(cached.out / "students" / run.run_id) for run in cached.context().runs()
    ]
    for writer in WRITERS:
        records = [record for run_id, record in metrics(cached) if writer.folder.endswith(f"/{run_id}")]
        expected = {
            (name, record[name], record["epoch"])
            for record in records
            for name in ("loss", "test_accuracy", "learning_rate")
        }
        assert {point for point in writer.points if point[0] != "images_per_second"} == expected
        assert sum(name == "images_per_second" for name, *_ in writer.points) == 2
        assert (writer.purge_step, writer.closed) == (1, True)


def test_tensorboard_has_a_curve_of_each_measure_on_train_samples(cached, board):
    sweep(cached, "students.training.measure_train=true", tensorboard=True)
    records = {(run_id, record["epoch"]): record for run_id, record in metrics(cached)}
    for run, writer in zip(cached.context().runs(), WRITERS, strict=True):
        points = {(name, step): value for name, value, step in writer.points if name in TRAIN_MEASURES}
        names = TRAIN_MEASURES if run.teachers else TRAIN_MEASURES[:2]
        assert points == {(name, step): records[run.run_id, step][name] for name in names for step in (1, 2)}


def test_a_run_that_diverged_has_no_point_that_is_no_number(cached, board):
    with_nan = sweep(cached, "students.learning_rate=1e6", "students.training.epochs=4", tensorboard=True)
    assert with_nan == 4
    assert all(value is not None and value == value for writer in WRITERS for _, value, _ in writer.points)  # noqa: PLR0124


def test_without_the_package_tensorboard_the_extra_is_named(cached, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'logitcache\[tensorboard\]'"):
        sweep(cached, tensorboard=True)
    assert not (cached.out / "students").exists()


def test_event_files_can_be_read_by_tensorboard_itself(cached):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    runs = cached.context().runs()[:1]
    sweep(cached, specs=runs, tensorboard=True)
    read = EventAccumulator(str(cached.out / "students" / runs[0].run_id))
    read.Reload()
    losses = [record["loss"] for _, record in metrics(cached)]
    assert [event.value for event in read.Scalars("loss")] == pytest.approx(losses)
