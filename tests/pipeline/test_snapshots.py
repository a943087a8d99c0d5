"""Snapshots of a teacher: its weights after an epoch, whenever its training was killed and whoever asked late."""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest
import torch
from builders import tree
from tiny import DATA, Run, write_data, write_recipe

from logitcache.models.weights import read_checkpoint, read_checkpoint_metadata
from logitcache.pipeline import snapshots
from logitcache.pipeline.stage_one import run_stage_one
from logitcache.soft_targets import open_store
from logitcache.student import loop

HEAD = (
    DATA
    + """
[cache]
block = 60

[[teachers]]
name = "big"
model = "cnn-4-8"
teach = {{ epochs = 4, batch = 20, schedule = "constant", checkpoint_seconds = 0 }}
"""
)
SNAPSHOT = """
[[teachers]]
name = "{name}"
model = "cnn-4-8"
snapshot = {{{{ of = "big", epoch = {epoch} }}}}
"""
EARLY, LATE = SNAPSHOT.format(name="early", epoch=1), SNAPSHOT.format(name="late", epoch=3)
LAST = SNAPSHOT.format(name="last", epoch=4)


@pytest.fixture(scope="module", autouse=True)
def _unsynced():
    """Nothing here outlives the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    """A teacher and three snapshots of it, taught without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    made = Run(write_recipe(write_data(folder, samples=60), HEAD + EARLY + LATE + LAST), folder / "out")
    answer = made("cache")
    assert answer.code == 0, answer.err
    return made


@pytest.fixture
def start(whole, tmp_path):
    """A fresh run of a recipe's text on the same data."""

    def begin(text: str) -> Run:
        path = tmp_path / "some.toml"
        path.write_text(text.format(folder=whole.recipe.parent))
        return Run(path, tmp_path / "out")

    return begin


def weights(run: Run, name: str) -> dict[str, torch.Tensor]:
    return read_checkpoint(run.out / f"teachers/{name}.safetensors")


def files(run: Run) -> dict[str, str]:
    """The weights of all teachers, by digest."""
    return {name: digest for name, digest in tree(run.out / "teachers").items() if "/" not in name}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_it_has_the_weights_of_a_training_that_ends_there(whole, start):
    """The rate is constant, so that a training of fewer epochs is the beginning of this one."""
    for epoch, name in ((1, "early"), (3, "late")):
        short = start(HEAD.replace("epochs = 4", f"epochs = {epoch}").replace('"big"', f'"big{epoch}"'))
        assert short("cache").code == 0
        assert same(weights(short, f"big{epoch}"), weights(whole, name))
        accuracy = [read_checkpoint_metadata(run.out / f"teachers/{each}.safetensors")["test_accuracy"]
                    for run, each in ((short, f"big{epoch}"), (whole, name))]  # fmt: skip
        assert accuracy[0] == accuracy[1]
    assert same(weights(whole, "last"), weights(whole, "big"))


def test_it_is_cached_like_any_teacher(whole):
    store = open_store(whole.out / "store.zarr")
    assert set(store.teachers("train")) == {"big", "early", "late", "last"}
    prints = {name: store.logits(name, "train").record.weights for name in store.teachers("train")}
    assert prints["last"] == prints["big"]
    assert len(set(prints.values())) == 3


def test_it_says_of_which_training_and_epoch_it_is(whole):
    said = {name: read_checkpoint_metadata(whole.out / f"teachers/{name}.safetensors") for name in ("big", "late")}
    assert said["late"]["teach"] == said["big"]["teach"]
    assert (said["late"]["epoch"], said["late"]["model"]) == ("3", "cnn-4-8")


def test_a_second_run_does_nothing_and_needs_no_weights(whole, tmp_path):
    before = tree(whole.out)
    answer = whole("cache")
    assert "snapshot late: big after 3 of 4 epochs, test accuracy" in answer.out
    assert "..." not in answer.out
    assert tree(whole.out) == before
    mine = whole.copy(tmp_path)
    for name in ("big", "early", "late", "last"):
        (mine.out / f"teachers/{name}.safetensors").unlink()
    answer = mine("cache")
    assert answer.code == 0
    assert "..." not in answer.out
    assert files(mine) == {}


@pytest.fixture
def restored(monkeypatch) -> list[None]:
    """One entry for each training that goes on from its checkpoint."""
    found: list[None] = []
    plain = loop.Loop._restore
    monkeypatch.setattr(loop.Loop, "_restore", lambda *given: found.append(plain(*given)))
    return found


class KilledError(Exception):
    """What a killed process looks like from inside."""


@contextmanager
def killed(where, name: str, call: int, *, after: bool):
    """A function of a module dies at one of its calls, before or after its work."""
    calls, plain = [], getattr(where, name)

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == call and not after:
            raise KilledError
        plain(*arguments)
        if len(calls) == call:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, dies)
        with pytest.raises(KilledError):
            yield


# what dies at which call, before its work or after it; the state is saved after each of the 3 steps of an epoch
KILLS = {
    "before the first": (snapshots, "save_checkpoint", 1, False),
    "after the first": (snapshots, "save_checkpoint", 1, True),
    "after the last": (snapshots, "save_checkpoint", 3, True),
    "before the epoch is saved": (loop.files, "save", 3, False),
    "after the epoch is saved": (loop.files, "save", 3, True),
    "within an epoch": (loop.files, "save", 8, True),
    "in the end": (loop.files, "save", 12, True),
}


@pytest.mark.parametrize("kill", KILLS)
def test_killed_at_any_moment_it_loses_none(whole, start, kill):
    run = start(HEAD + EARLY + LATE + LAST)
    where, name, call, after = KILLS[kill]
    with killed(where, name, call, after=after):
        run_stage_one(run.context())
    assert "big.safetensors" not in files(run)
    run_stage_one(run.context())
    assert files(run) == files(whole)


def test_a_teacher_that_was_taught_before_is_taught_once_more_for_it(whole, start, restored):
    run = start(HEAD)
    assert run("cache").code == 0
    before = tree(run.out)
    run = start(HEAD + LATE + EARLY)
    plan = run("plan").out
    assert "big after 3 of 4 epochs, taught once more for it" in plan
    with killed(loop.files, "save", 5, after=True):
        run_stage_one(run.context())
    assert "late.safetensors" not in files(run)
    answer = run("cache")
    assert answer.code == 0, answer.err
    assert len(restored) == 1, "it went on where it was killed"
    assert "snapshot late: big is taught once more for 3 of 4 epochs, as it was ..." in answer.out
    assert answer.out.count("once more") == 2, "begun and ended, for both of them"
    wanted = {f"{name}.safetensors" for name in ("big", "early", "late")}
    assert files(run) == {name: digest for name, digest in files(whole).items() if name in wanted}
    after = tree(run.out)
    kept = {name for name in before if name.startswith(("teachers", "store"))}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert not list((run.out / "teachers").rglob("checkpoint.safetensors"))
    [metrics] = (run.out / "teachers").glob("big.training/*/again/metrics.jsonl")
    assert len(metrics.read_text().splitlines()) < 4, "it did not go on after the last of them"
    assert "once more" not in run("plan").out


def test_of_a_teacher_whose_weights_are_gone_too(whole, start):
    run = start(HEAD)
    assert run("cache").code == 0
    (run.out / "teachers/big.safetensors").unlink()
    assert start(HEAD + EARLY)("cache").code == 0
    assert files(run) == {"early.safetensors": files(whole)["early.safetensors"]}


def test_asked_for_when_its_epoch_has_gone_by_it_is_taken_afterwards(whole, start):
    run = start(HEAD + LAST)
    with killed(loop.files, "save", 10, after=True):
        run_stage_one(run.context())
    answer = start(HEAD + EARLY + LATE + LAST)("cache")
    assert answer.code == 0, answer.err
    assert "big is taught once more for 1 of 4 epochs" in answer.out
    assert files(run) == files(whole)


def test_asked_for_when_its_epoch_has_gone_by_twice_that_training_begins_anew(whole, start):
    """The first training is over, and a second one for a later snapshot was killed where this one is due."""
    assert start(HEAD)("cache").code == 0
    with killed(loop.files, "save", 6, after=True):
        run_stage_one(start(HEAD + LATE).context())
    answer = start(HEAD + SNAPSHOT.format(name="middle", epoch=2) + LATE)("cache")
    assert answer.code == 0, answer.err
    run = start(HEAD + LATE)
    assert files(run)["late.safetensors"] == files(whole)["late.safetensors"]
    assert not same(weights(run, "middle"), weights(whole, "early"))


def test_what_is_wholly_cached_is_not_taken_again(whole, tmp_path):
    mine = whole.copy(tmp_path)
    for path in (mine.out / "teachers").glob("*.safetensors"):
        path.unlink()
    next(mine.out.glob("store.zarr/test/teachers/big/logits/commits/*.json")).unlink()
    assert mine("cache").code == 0
    assert files(mine) == {"big.safetensors": files(whole)["big.safetensors"]}


def test_asked_for_before_its_epoch_the_training_goes_on(whole, start, restored):
    run = start(HEAD)
    with killed(loop.files, "save", 8, after=True):
        run_stage_one(run.context())
    run = start(HEAD + LATE)
    run_stage_one(run.context())
    assert len(restored) == 1
    assert files(run)["late.safetensors"] == files(whole)["late.safetensors"]


@pytest.mark.parametrize("override", ["teachers.2.snapshot.epoch=2", "teachers.0.teach.learning_rate=0.01"])
def test_a_snapshot_of_another_epoch_or_training_is_refused(whole, tmp_path, override):
    mine = whole.copy(tmp_path)
    (mine.out / "teachers/big.safetensors").unlink()
    (mine.out / "store.zarr").rename(tmp_path / "gone.zarr")
    before = tree(mine.out)
    answer = mine("cache", override)
    assert answer.code == 2
    assert "is of another training or epoch (fingerprint" in answer.err
    assert "use another --out, or delete it together with the store" in answer.err
    assert {name: digest for name, digest in tree(mine.out).items() if name in before} == before


def test_the_plan_tells_of_snapshots(whole, start):
    plan = start(HEAD + LATE)("plan").out
    line = next(line for line in plan.splitlines() if line.startswith("snapshot late"))
    assert "to do" in line
    assert line.endswith("big after 3 of 4 epochs")
    line = next(line for line in whole("plan").out.splitlines() if line.startswith("snapshot late"))
    assert "done" in line
