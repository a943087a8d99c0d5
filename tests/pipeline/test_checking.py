"""Whole stores are checked and mended by a recipe: all of its teachers, and none that is not hurt."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from builders import tree
from tiny import RECIPE, Run, write_data, write_recipe

from logitcache.errors import CheckError, InputError, MismatchError
from logitcache.pipeline import checking
from logitcache.pipeline.checking import recompute_rows, repair_store, verify_with_bar
from logitcache.pipeline.stage_one import run_stage_one

TWO = RECIPE.split("[[students]]", maxsplit=1)[0].replace(
    "[cache]",
    """[[teachers]]
name = "small"
model = "cnn-4-4"
teach = {{ epochs = 1, batch = 20, learning_rate = 0.05 }}

[cache]""",
)


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """Stage 1 of a recipe with two teachers; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("cached")
    run = Run(write_recipe(write_data(folder), TWO), folder / "out")
    run_stage_one(run.context())
    return run


@pytest.fixture
def run(cached, tmp_path):
    return cached.copy(tmp_path)


def harm(run, *names):
    for name in names:
        file = run.out / "store.zarr" / name
        file.write_bytes(file.read_bytes()[:-1])


@pytest.fixture
def loaded(monkeypatch):
    """Names of the teachers that are loaded."""
    names, real = [], checking.load_teacher

    def load(options, *more):
        names.append(options.name)
        return real(options, *more)

    monkeypatch.setattr(checking, "load_teacher", load)
    return names


def test_a_bar_moves_once_a_block(cached, monkeypatch):
    screen, moved = cached.context().screen, []

    @contextmanager
    def bar(title, total, unit):
        moved.append((title, total, unit))
        yield type("Bar", (), {"advance": lambda self, count: moved.append(count)})()

    monkeypatch.setattr(screen, "bar", bar)
    result = verify_with_bar(cached.out / "store.zarr", screen, decode=True)
    assert result.findings == ()
    assert moved == [("verify", result.blocks, "blocks"), *[1] * result.blocks]


def test_only_teachers_that_are_hurt_are_loaded(run, cached, loaded):
    harm(run, "train/teachers/small/logits/c/1/1/0")
    result = repair_store(run.context(), run.out / "store.zarr")
    assert (loaded, result.findings) == (["small"], ())
    assert tree(run.out / "store.zarr") == tree(cached.out / "store.zarr")


def test_no_teacher_is_loaded_for_what_splits_hold(run, cached, loaded):
    harm(run, "zarr.json", "test/labels/c/0", "train/labels/digests.json")
    assert repair_store(run.context(), run.out / "store.zarr").findings == ()
    assert loaded == []
    assert tree(run.out / "store.zarr") == tree(cached.out / "store.zarr")


def test_all_is_mended_at_once(run, cached, loaded):
    small = "train/teachers/small"
    harm(run, "train/zarr.json", f"{small}/zarr.json", f"{small}/logits/c/0/0/0", f"{small}/logits/commits/1.json")
    harm(run, "test/teachers/big/logits/c/0/0/0", "test/teachers/big/logits/digests.json")
    assert repair_store(run.context(), run.out / "store.zarr").findings == ()
    assert loaded == ["big", "small"]
    assert tree(run.out / "store.zarr") == tree(cached.out / "store.zarr")


def test_a_store_in_another_place_is_mended(run, cached, tmp_path):
    place = (run.out / "store.zarr").rename(tmp_path / "elsewhere")
    (place / "train/teachers/big/logits/c/1/1/0").unlink()
    assert repair_store(run.context(), place).findings == ()
    assert tree(place) == tree(cached.out / "store.zarr")
    assert not (run.out / "store.zarr").exists()


def test_what_no_teacher_of_the_recipe_can_mend_is_left_and_named(run):
    harm(run, "train/teachers/small/logits/c/1/1/0")
    context = run.context('teachers=[{name="big",model="cnn-4-8",teach={epochs=2,batch=20,learning_rate=0.05}}]')
    before = tree(run.out / "store.zarr")
    [finding] = repair_store(context, run.out / "store.zarr").findings
    assert "block 1 of view 1 of teacher 'small'" in str(finding)
    assert tree(run.out / "store.zarr") == before


@pytest.mark.parametrize("name", ["train/teachers/big/zarr.json", "train/labels/c/0", "test/labels/digests.json"])
def test_another_recipe_is_refused_and_changes_nothing(run, name):
    harm(run, name)
    before = tree(run.out / "store.zarr")
    with pytest.raises((MismatchError, CheckError)):
        repair_store(run.context("views.padding=2"), run.out / "store.zarr")
    assert tree(run.out / "store.zarr") == before


def test_rows_of_every_teacher_and_split_are_recomputed(cached):
    found = recompute_rows(cached.context(), cached.out / "store.zarr", 7)
    assert all(row.agrees for row in found)
    parts = {(row.block.teacher, row.block.split) for row in found}
    assert parts == {(teacher, split) for teacher in ("big", "small") for split in ("train", "test")}
    assert len(found) == 4 * 7


def test_teachers_that_the_store_does_not_have_are_no_fault_unless_it_has_none(cached, loaded):
    other = '{name="other",model="cnn-4-4",teach={epochs=1}}'
    mine = '{name="small",model="cnn-4-4",teach={epochs=1,batch=20,learning_rate=0.05}}'
    found = recompute_rows(cached.context(f"teachers=[{other},{mine}]"), cached.out / "store.zarr", 2)
    assert {row.block.teacher for row in found} == set(loaded) == {"small"}
    with pytest.raises(InputError, match="has none of the recipe's teachers; it has big, small"):
        recompute_rows(cached.context(f"teachers=[{other}]"), cached.out / "store.zarr", 2)
