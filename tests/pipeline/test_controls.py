"""Students beside the usual ones: subsets of teachers, few labels, targets of the clean view, a teacher online."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from builders import tree
from tiny import RECIPE, Run, write_data, write_recipe

from logitcache.errors import InputError, MismatchError
from logitcache.pipeline import online
from logitcache.pipeline.plan import make_plan
from logitcache.soft_targets import CombineOptions
from logitcache.student.world import ALONE
from logitcache.sweep import plan_units, run_parallel, run_sweep
from logitcache.sweep.options import SweepOptions
from logitcache.sweep.workshop import Workshop

GROUPS = """
[[teachers]]
name = "other"
model = "cnn-4-8"
teach = {{ epochs = 1, batch = 20, seed = 1 }}

[cache]
block = 50
encoding = {{ kind = "lossless" }}

[[students]]
name = "given"
model = "cnn-4-4"
samples = 60
objectives = ["ce", {{ loss = "mse" }}]
targets = ["views", "clean", "online"]
training = {{ epochs = 2, batch = 20 }}

[[students]]
name = "sets"
model = "cnn-4-4"
samples = [30, 60]
labelled = 0.5
subsets = true
objectives = [{{ loss = "kl", tau = 4, alpha = 0.5 }}]
combine = {{ combine = "mean_probs", tau = 4 }}
training = {{ epochs = 1, batch = 20 }}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory, undrawn) -> Run:
    """All of them, trained."""
    folder = tmp_path_factory.mktemp("controls")
    # teachers that tell one view from another
    text = RECIPE.partition("[cache]")[0].replace("epochs = 2, batch = 20", "epochs = 6, batch = 20") + GROUPS
    made = Run(write_recipe(write_data(folder), text), folder / "out")
    answer = made("run")
    assert answer.code == 0, answer.err
    assert "online 1 of 1 students, the teacher in every step" in answer.out
    return made


@pytest.fixture
def untrained(run, tmp_path) -> Run:
    """The same with nothing but teachers and store."""
    mine = run.copy(tmp_path)
    shutil.rmtree(mine.out / "students")
    (mine.out / "results.csv").unlink()
    return mine


def rows(run: Run, group: str) -> list[dict[str, str]]:
    with (run.out / "results.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["group"] == group]


def logits(run: Run, targets: str) -> np.ndarray:
    [row] = [row for row in rows(run, "given") if row["targets"] == targets and row["teachers"]]
    return np.load(run.out / "students" / row["run_id"] / "test_logits.npy")


# what comes out


def test_results_say_which_targets_and_how_they_were_combined(run):
    told = [(row["objective"], row["targets"], row["combine"], row["labelled"]) for row in rows(run, "given")]
    mse = [("mse", targets, "mean_logits", "") for targets in ("views", "clean", "online")]
    assert told == [("ce", "views", "", ""), *mse]
    assert {row["status"] for row in rows(run, "given")} == {"done"}


def test_subsets_and_several_counts_of_samples_each_have_a_row(run):
    told = [(row["teachers"], row["samples"], row["labelled"], row["combine"]) for row in rows(run, "sets")]
    each = [("big", "other", "big+other"), (("30", "15"), ("60", "30"))]
    assert told == [(names, *counts, "mean_probs") for names in each[0] for counts in each[1]]


def test_a_teacher_online_gives_what_its_exact_logits_in_the_store_give(run):
    np.testing.assert_allclose(logits(run, "online"), logits(run, "views"), rtol=1e-4, atol=1e-4)


def test_targets_of_the_clean_view_give_something_else(run):
    assert np.abs(logits(run, "clean") - logits(run, "views")).max() > 0.01


def test_a_second_run_does_nothing(run):
    before = tree(run.out)
    answer = run("run")
    assert "online: all 1 students are trained" in answer.out
    assert "distill: all 10 students are trained" in answer.out
    assert tree(run.out) == before


# stage 2 alone


def test_distill_trains_all_others_and_says_what_it_leaves(untrained):
    answer = untrained("distill")
    assert answer.code == 0, answer.err
    assert "1 students with targets = 'online' need the teacher itself: `logitcache run` trains them" in answer.out
    assert "distill 9 of 9 students" in answer.out
    assert [row["targets"] for row in rows(untrained, "given")] == ["views", "views", "clean"]
    steps = {step.name: step for step in make_plan(untrained.context()).steps}
    assert (steps["distill"].done, steps["distill"].detail) == (True, "9 of 9 students trained")
    assert (steps["online"].done, steps["online"].detail) == (False, "0 of 1 students trained")
    assert steps["online"].forward_passes == 60 * 2 * 2, "samples, epochs, teachers"
    assert not steps["report"].done


def test_nothing_is_written_where_only_online_students_are_asked_for(untrained):
    asked = ('students.targets="online"', "students.subsets=false", 'students.objectives=["kl"]')
    mean = "students.combine={}"
    before = tree(untrained.out)
    answer = untrained("distill", *asked, mean)
    assert (answer.code, "3 students with targets = 'online'" in answer.out) == (0, True)
    assert tree(untrained.out) == before


# what a teacher online needs


def test_weights_that_are_gone_are_named_with_what_to_do(untrained):
    (untrained.out / "teachers/other.safetensors").unlink()
    context = untrained.context()
    with pytest.raises(InputError, match=r"other\.safetensors is gone.*'other' in every step; bring the file back"):
        online.train_online(context)
    assert not (untrained.out / "students").exists()


def test_other_weights_than_those_that_were_cached_are_refused(untrained):
    shutil.copy(untrained.out / "teachers/big.safetensors", untrained.out / "teachers/other.safetensors")
    context = untrained.context()
    teachers = online._teachers(context, [run for run in context.runs() if run.targets == "online"])
    said = teachers("big", torch.device("cpu"))(torch.zeros(2, 1, 12, 12))
    assert (said.shape, said.dtype, said.is_inference()) == ((2, 3), torch.float32, False)
    with pytest.raises(MismatchError, match="weight fingerprint of teacher 'other'"):
        teachers("other", torch.device("cpu"))


def test_a_teacher_that_is_not_in_the_store_is_not_run(untrained):
    shutil.rmtree(untrained.out / "store.zarr")
    with pytest.raises(InputError, match=r"teacher 'big' is not in .*store\.zarr; run the cache step first"):
        online.train_online(untrained.context())


def test_what_worker_processes_are_given_can_be_sent_to_them(run):
    context = run.context()
    teachers = online._teachers(context, context.runs())
    assert ForkingPickler.dumps(replace(context.sweep(), online=teachers))


# how they are trained


def test_a_run_with_a_teacher_online_never_stacks(untrained):
    runs = [spec for spec in untrained.context().runs() if spec.group == "given"]
    units = plan_units(untrained.out, runs, SweepOptions(stack="always"), "cuda")
    assert sorted([spec.targets for spec in unit.specs] for unit in units) == [["online"], ["views", "views", "clean"]]


def test_processes_that_train_together_leave_it_alone(untrained):
    context = untrained.context()
    specs = [spec for spec in context.runs() if spec.targets == "online"]
    assert run_parallel(context.sweep(), specs, ALONE) == 0
    assert not (untrained.out / "students").exists()


def test_teachers_are_loaded_once_and_combined_as_cached_ones_are(run):
    context, loaded = run.context(), []

    def load(name, device):
        loaded.append(name)
        return lambda inputs: inputs.flatten(1)[:, :3] * (1 if name == "big" else 3)

    workshop = Workshop(replace(context.sweep(), online=load))
    inputs = torch.rand(4, 1, 12, 12)
    mean = workshop.online(("big", "other"), CombineOptions(weights=(1, 3)))(inputs)
    torch.testing.assert_close(mean, inputs.flatten(1)[:, :3] * 2.5)
    assert torch.equal(workshop.online(("big",), CombineOptions())(inputs), inputs.flatten(1)[:, :3])
    assert loaded == ["big", "other"]
    with pytest.raises(InputError, match="this sweep has no teacher"):
        Workshop(context.sweep()).online(("big",), CombineOptions())


def test_more_labels_only_add_to_fewer_and_all_are_of_samples_seen(run):
    workshop = Workshop(run.context().sweep())
    [spec] = [spec for spec in run.context().runs() if spec.group == "sets" and spec.samples == 60][:1]
    chosen = [set(workshop.labelled(replace(spec, labelled=count)).tolist()) for count in (5, 15, 59)]
    assert [len(rows) for rows in chosen] == [5, 15, 59]
    assert chosen[0] < chosen[1] < chosen[2] < set(workshop.rows(spec).tolist())
    whole = replace(spec, samples=120, labelled=10)
    assert len(set(workshop.labelled(whole).tolist())) == 10
    assert workshop.labelled(replace(spec, labelled=None)) is None
    labels = torch.cat([batch.labels for batch in workshop.feed(spec).epoch(0)])
    assert (labels >= 0).sum() == 30


def test_a_student_is_deaf_to_labels_that_are_not_shown(untrained):
    """With the labels of all others changed, the same weights come out."""
    context = untrained.context()
    [spec] = [spec for spec in context.runs() if spec.group == "given" and spec.objective.loss == "ce"]
    spec = replace(spec, labelled=20)
    shown = Workshop(context.sweep()).labelled(spec)
    path = untrained.recipe.parent / "train_labels.npy"
    truth, weights = np.load(path), []
    try:
        for turn in range(2):
            other = (truth + turn) % 3
            other[shown.numpy()] = truth[shown.numpy()]
            np.save(path, other)
            out = untrained.out / f"turn{turn}"
            run_sweep(replace(context.sweep(), out=out), [spec], SweepOptions(processes=1, retries=0))
            weights.append((out / "students" / spec.run_id / "model.safetensors").read_bytes())
    finally:
        np.save(path, truth)
    assert weights[0] == weights[1]
