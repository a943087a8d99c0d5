"""A plan says what is to do, what is done, and what it costs, and writes nothing."""

from __future__ import annotations

import io
import json
import shutil

import pytest
from builders import tree
from rich.console import Console
from tiny import Run, write_recipe

from logitcache.errors import MismatchError
from logitcache.pipeline.plan import make_plan, print_plan
from logitcache.pipeline.progress import Screen
from logitcache.planning.sizes import estimated_row
from logitcache.store import EncodingOptions

STEPS = ["teach big", "cache big", "verify", "distill", "statistics", "timing", "report"]


@pytest.fixture
def fresh(finished_run, tmp_path) -> Run:
    """The same recipe with nothing done."""
    return Run(finished_run.recipe, tmp_path / "out")


def done(run, *overrides) -> dict[str, bool]:
    return {step.name: step.done for step in make_plan(run.context(*overrides)).steps}


def printed(run, *overrides) -> str:
    screen = io.StringIO()
    print_plan(make_plan(run.context(*overrides)), Screen(Console(file=screen, width=200)))
    return screen.getvalue()


def test_at_first_everything_is_to_do_and_nothing_is_written(fresh):
    assert done(fresh) == dict.fromkeys(STEPS, False)
    assert not fresh.out.exists()


def test_in_the_end_everything_is_done(finished_run):
    before = tree(finished_run.out)
    assert done(finished_run) == dict.fromkeys(STEPS, True)
    assert tree(finished_run.out) == before


def test_logits_that_are_to_be_kept_are_a_step_that_others_wait_for(finished_run):
    steps = done(finished_run, "sweep.save_logits=true")
    assert list(steps) == [*STEPS[:4], "save logits", *STEPS[4:]]
    assert {name for name, finished in steps.items() if not finished} == {"save logits", "statistics", "report"}


def test_forward_passes_are_all_views_of_all_splits(fresh):
    [cache] = [step for step in make_plan(fresh.context()).steps if step.name == "cache big"]
    assert cache.forward_passes == 120 * 3 + 60
    assert cache.detail == "0 of 11 blocks committed"
    assert cache.seconds > 0


def test_of_a_part_of_the_splits_only_those_count(fresh):
    [cache] = [s for s in make_plan(fresh.context('cache.splits=["train"]')).steps if s.name == "cache big"]
    assert cache.forward_passes == 120 * 3


@pytest.mark.parametrize(
    ("removed", "to_do"),
    [
        ("store.zarr/train/teachers/big/logits/commits/1.json", set(STEPS[1:])),
        ("students", {"distill", "statistics", "report"}),
        ("statistics", {"statistics", "report"}),
        ("timing.json", {"timing", "report"}),
        ("report.html", {"report"}),
        ("teachers", set()),
    ],
)
def test_what_depends_on_a_step_to_do_is_to_do_too(run_copy, removed, to_do):
    path = run_copy.out / removed
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    students = {"distill"} if removed.startswith("store") else set()  # those that are trained stay trained
    assert {name for name, finished in done(run_copy).items() if not finished} == to_do - students


def test_a_larger_grid_has_students_to_train(finished_run):
    assert "4 of 4 students trained" in printed(finished_run)
    assert "4 of 6 students trained" in printed(finished_run, "students.seeds=[0, 1, 2]")


def test_bytes_are_measured_where_blocks_are_and_estimated_where_not(finished_run, fresh):
    measured, guessed = (make_plan(run.context()).arrays for run in (finished_run, fresh))
    assert [(a.name, a.rows) for a in measured] == [("train/big/logits", 360), ("test/big/logits", 60)]
    assert [a.measured for a in (*measured, *guessed)] == [True, True, False, False]
    shards = (finished_run.out / "store.zarr/train/teachers/big/logits/c").rglob("*")
    assert measured[0].bytes == pytest.approx(sum(path.stat().st_size for path in shards if path.is_file()))
    assert 0.3 < guessed[0].bytes / measured[0].bytes < 3


def test_features_are_planned_where_they_are_asked_for(fresh):
    arrays = {array.name: array for array in make_plan(fresh.context("cache.features=true")).arrays}
    assert set(arrays) == {"train/big/logits", "train/big/features", "test/big/logits", "test/big/features"}
    width = fresh.context().recipe.teachers[0].model.rsplit("-", 1)[1]
    assert arrays["test/big/features"].bytes == 60 * int(width)  # a byte each


@pytest.mark.parametrize(
    ("encoding", "row"),
    [
        ({"bytes_per_row": 2.5}, 2.5),
        ({"kind": "topk", "entries": 2}, 6),
        ({"kind": "topk", "entries": 10}, 9),  # three classes
        ({"kind": "lossless"}, 12),
        ({"kind": "lossless", "dtype": "float16"}, 6),
    ],
)
def test_bytes_are_estimated_from_what_is_asked(encoding, row):
    assert estimated_row(EncodingOptions(**encoding), 3) == row


def test_what_is_chosen_from_a_sample_is_estimated_as_uniform():
    sizes = {kind: estimated_row(EncodingOptions(kind=kind), 3) for kind in ("auto", "uniform", "spectral")}
    assert len(set(sizes.values())) == 1
    with_head = EncodingOptions(kind="spectral", head=2, precision="bf16")
    assert estimated_row(with_head, 3) == sizes["uniform"]


def test_caching_pays_from_so_many_students_as_make_up_its_forward_passes(fresh):
    plan = make_plan(fresh.context())
    assert plan.break_even == pytest.approx((120 * 3 + 60) / (60 * 2))
    longer = make_plan(fresh.context("students.training.epochs=700"))
    assert longer.break_even == pytest.approx(plan.break_even / 350)


def test_without_teachers_there_is_nothing_to_cache_or_measure(tmp_path, finished_run):
    text = finished_run.recipe.read_text().replace("{", "{{").replace("}", "}}")
    head, rest = text.split("[[teachers]]")
    students = rest[rest.index("[[students]]") : rest.index("[timing]")].replace(', {{ loss = "kl", tau = 4 }}', "")
    plan = make_plan(Run(write_recipe(tmp_path, head + students), tmp_path / "out").context())
    assert [step.name for step in plan.steps] == ["distill", "report"]
    assert (plan.arrays, plan.break_even) == ((), None)


def test_a_plan_is_printed_one_line_a_step(fresh):
    lines = printed(fresh).splitlines()
    assert [line.split("  ")[0].strip() for line in lines[:7]] == STEPS
    assert lines[1].startswith("cache big   to do  0 of 11 blocks committed, 420 forward passes, about ")
    assert lines[7].startswith("store: train/big/logits: 360 rows, ")
    assert lines[7].endswith("(estimated)")
    assert "from 3.5 students on" in lines[9]


def test_a_store_of_another_recipe_is_refused(finished_run):
    with pytest.raises(MismatchError, match="view policy"):
        make_plan(finished_run.context("views.padding=2"))
    with pytest.raises(MismatchError, match="views of teacher 'big' differs: the store has 3, given was 6"):
        make_plan(finished_run.context("views.count=5"))
    with pytest.raises(MismatchError, match="rows of a block of teacher"):
        make_plan(finished_run.context("cache.block=20"))


def test_a_plan_says_which_students_train_in_stacks(finished_run):
    stacked = printed(finished_run, "sweep.stack=always", "students.seeds=[0, 1, 2, 3, 4, 5, 6]", "sweep.members=4")
    assert "4 of 14 students trained, 10 to train in stacks of up to 4" in stacked
    assert "stacks" not in printed(finished_run, "students.seeds=[0, 1, 2]")


def test_the_time_of_a_stack_is_shared_by_its_students(run_copy):
    for path in run_copy.out.glob("students/*/run.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "seconds_per_epoch": 8.0, "mode": "stacked 4"}))
    [step] = [s for s in make_plan(run_copy.context("students.seeds=[0, 1, 2]")).steps if s.name == "distill"]
    assert step.seconds == pytest.approx(2 * 2 * 8 / 4)
