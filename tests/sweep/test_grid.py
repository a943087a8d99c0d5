"""A grid in a recipe, and the runs that follow from it."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from pydantic import ValidationError

from logitcache.errors import InputError
from logitcache.soft_targets import CombineOptions
from logitcache.student.objectives import ObjectiveOptions
from logitcache.student.training import TrainingOptions
from logitcache.sweep import RunSpec, StudentGroup, expand

SOURCES = {"": "data", "big": "b1", "other": "o1"}


def group(**changes) -> StudentGroup:
    fields = {"name": "few", "model": "cnn-4", "objectives": ["ce"], "training": {"epochs": 1}}
    return StudentGroup.model_validate({**fields, **changes})


def runs_of(given: StudentGroup, *, teachers=("big",), sources=SOURCES, noise=None) -> list[RunSpec]:
    return expand(given, samples=1000, views=4, teachers=teachers, sources=sources, noise=noise)


def told(run: RunSpec) -> str:
    default = TrainingOptions(epochs=1)
    rate, decay = run.training.learning_rate, run.training.weight_decay
    own_rate = f" lr{rate}" if rate != default.learning_rate else ""
    own_decay = f" wd{decay}" if decay != default.weight_decay else ""
    order = "" if run.order_seed is None else f" o{run.order_seed}"
    return f"{run.model} {run.objective.label} v{run.views} s{run.seed}{own_rate}{own_decay}{order}"


# fields, the runs in order, remark
GRIDS = [
    ({}, ["cnn-4 CE v4 s0"], "one of each; all views that there are"),
    ({"seeds": [3, 1]}, ["cnn-4 CE v4 s3", "cnn-4 CE v4 s1"], "seeds in the order given"),
    ({"views": 0}, ["cnn-4 CE v0 s0"], "the clean view only is no default"),
    ({"views": [0, 2]}, ["cnn-4 CE v0 s0", "cnn-4 CE v2 s0"], "a list of view counts"),
    (
        {"objectives": [{"loss": "ce", "views": [1]}, "mse"], "views": 2},
        ["cnn-4 CE v1 s0", "cnn-4 MSE v2 s0"],
        "an objective's views go before the group's",
    ),
    (
        {"objectives": [{"loss": "kl", "tau": [1, 4], "alpha": [0.5, 1]}]},
        ["cnn-4 KL τ=1, α=0.5 v4 s0", "cnn-4 KL τ=1 v4 s0", "cnn-4 KL τ=4, α=0.5 v4 s0", "cnn-4 KL τ=4 v4 s0"],
        "tau outside of alpha",
    ),
    (
        {"objectives": [{"loss": "ce", "tau": [1, 4], "label_smoothing": [0, 0.1]}]},
        ["cnn-4 CE v4 s0", "cnn-4 CE, smoothing 0.1 v4 s0"],
        "CE has no tau",
    ),
    ({"objectives": [{"loss": "mse", "tau": [1, 4]}]}, ["cnn-4 MSE v4 s0"], "MSE has no tau"),
    ({"seeds": [0, 0], "objectives": ["ce", "ce"]}, ["cnn-4 CE v4 s0"], "what is asked twice is one run"),
    (
        {"model": ["cnn-4", "cnn-8"], "seeds": [0, 1]},
        ["cnn-4 CE v4 s0", "cnn-4 CE v4 s1", "cnn-8 CE v4 s0", "cnn-8 CE v4 s1"],
        "seeds innermost",
    ),
    (
        {"learning_rate": [0.1, 0.01], "weight_decay": [0, 0.001]},
        [f"cnn-4 CE v4 s0 lr{rate} wd{decay}" for rate in (0.1, 0.01) for decay in (0.0, 0.001)],
        "rates outside of decays, instead of training's",
    ),
    ({"learning_rate": 0.1}, ["cnn-4 CE v4 s0 lr0.1"], "one rate; training's decay"),
    ({"weight_decay": [0.0005, 0.0005]}, ["cnn-4 CE v4 s0"], "training's own decay, twice"),
    ({"order_seed": 7, "seeds": [0, 1]}, ["cnn-4 CE v4 s0 o7", "cnn-4 CE v4 s1 o7"], "one order for all seeds"),
]


@pytest.mark.parametrize(("changes", "expected", "remark"), GRIDS, ids=[remark for *_, remark in GRIDS])
def test_a_grid_becomes_one_run_for_each_combination(changes, expected, remark):
    assert [told(run) for run in runs_of(group(**changes))] == expected, remark


@pytest.mark.parametrize(
    ("samples", "count"), [(None, 1000), (30, 30), (0.03, 30), (1.0, 1000), (0.0001, 1), (5000, 1000)]
)
def test_samples_are_a_count_or_a_fraction_of_what_there_is(samples, count):
    [run] = runs_of(group(samples=samples))
    assert run.samples == count


@pytest.mark.parametrize("samples", [0, -1, 0.0, 1.5])
def test_impossible_samples_are_refused(samples):
    with pytest.raises(ValidationError):
        group(samples=samples)


def test_hard_labels_read_no_teacher_and_others_read_all_of_the_recipe():
    runs = runs_of(group(objectives=["ce", "kl", {"loss": "kl", "alpha": 0}]), teachers=("big", "other"))
    assert [run.teachers for run in runs] == [(), ("big", "other"), ()]


def test_a_group_may_name_its_teachers():
    [run] = runs_of(group(objectives=["mse"], teachers=["other"]), teachers=("big", "other"))
    assert run.teachers == ("other",)


def test_samples_may_be_several_and_seeds_stay_innermost():
    runs = runs_of(group(samples=[0.1, 30, 1.0], seeds=[0, 1]))
    assert [(run.samples, run.seed) for run in runs] == [(n, seed) for n in (100, 30, 1000) for seed in (0, 1)]
    assert runs_of(group(samples=30)) == runs_of(group(samples=[30, 0.03]))


# subsets


def test_subsets_come_by_size_and_then_in_the_recipes_order():
    given = group(objectives=["kl", "ce"], subsets=True, teachers=["c", "a", "b"])
    names = ("a", "b", "c", "d")
    runs = runs_of(given, teachers=names, sources=dict.fromkeys(("", *names), "x"))
    sets = [("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")]
    assert [run.teachers for run in runs] == [*sets, ()], "hard labels once"
    assert len({run.run_id for run in runs}) == 8


def test_a_subset_of_all_is_the_run_of_all():
    every, alone = (runs_of(group(objectives=["kl"], subsets=subsets)) for subsets in (True, False))
    assert every == alone


def test_a_subset_reads_no_teacher_but_its_own():
    given = group(objectives=["kl"], subsets=True)
    first, second = (
        runs_of(given, teachers=("big", "other"), sources={**SOURCES, "other": print_}) for print_ in ("o1", "o2")
    )
    assert [one.run_id == other.run_id for one, other in zip(first, second, strict=True)] == [True, False, False]


# labelled samples

LABELLED = [
    # samples, labelled, objective, how many have labels
    (None, 0.1, "ce", [100]),
    (200, [0.1, 0.5, 1.0], "ce", [20, 100, None]),
    (200, [30, 500], "ce", [30, None]),
    (200, 0.001, "ce", [1]),
    (200, [0.1, 0.5], "kl", [None]),
    (200, 0.1, {"loss": "kl", "alpha": 0.5}, [20]),
    (200, 0.1, {"loss": "kl", "until": 1}, [20]),
]


@pytest.mark.parametrize(("samples", "labelled", "objective", "expected"), LABELLED)
def test_labelled_is_a_part_of_the_samples_where_labels_are_read(samples, labelled, objective, expected):
    runs = runs_of(group(samples=samples, labelled=labelled, objectives=[objective]))
    assert [run.labelled for run in runs] == expected


def test_all_labels_is_the_run_that_says_nothing_of_labels():
    assert runs_of(group(labelled=1.0)) == runs_of(group())
    [run] = runs_of(group(labelled=7))
    assert "-l7-" in run.run_id


# soft targets

TARGETS = [
    # targets, views, objective, what the runs are given
    (["views", "clean", "online"], 4, "kl", ["views", "clean", "online"]),
    ("online", 4, "kl", ["online"]),
    (["views", "clean", "online"], 0, "kl", ["views", "online"]),
    (["clean", "online"], 4, "ce", ["views"]),
]


@pytest.mark.parametrize(("targets", "views", "objective", "expected"), TARGETS)
def test_targets_differ_where_there_is_a_teacher_and_an_augmented_view(targets, views, objective, expected):
    runs = runs_of(group(targets=targets, views=views, objectives=[objective]))
    assert [run.targets for run in runs] == expected
    assert ["-online-" in run.run_id for run in runs] == [each == "online" for each in expected]


def test_unknown_targets_are_refused():
    with pytest.raises(ValidationError, match="views"):
        group(targets="offline")


# labels

LABELS = [
    # labels, whether there are noisy ones, objective, what the run reads
    ("auto", False, "ce", "clean"),
    ("auto", True, "ce", "noisy"),
    ("clean", True, "ce", "clean"),
    ("noisy", True, "ce", "noisy"),
    ("auto", True, {"loss": "kl", "alpha": 0.5}, "noisy"),
    ("auto", True, "kl", "clean"),
    ("auto", True, {"loss": "kl", "until": 2}, "noisy"),
    ("auto", True, "nkd", "noisy"),
]


@pytest.mark.parametrize(("labels", "noisy", "objective", "expected"), LABELS)
def test_hard_labels_are_the_noisy_ones_where_there_are_any_and_they_are_read(labels, noisy, objective, expected):
    [run] = runs_of(group(objectives=[objective], labels=labels), noise="n1" if noisy else None)
    assert run.labels == expected


def test_noisy_labels_that_nobody_made_are_refused():
    with pytest.raises(InputError, match=r"'few' ask for labels = 'noisy'.*data\.noise"):
        runs_of(group(labels="noisy"))


def test_runs_on_other_noise_have_other_ids_and_runs_on_clean_labels_do_not_care():
    ids = {
        noise: [run.run_id for run in runs_of(group(objectives=["ce", "kl"]), noise=noise)] for noise in (None, "n1")
    }
    other = [run.run_id for run in runs_of(group(objectives=["ce", "kl"]), noise="n2")]
    assert len({ids[None][0], ids["n1"][0], other[0]}) == 3
    assert ids[None][1] == ids["n1"][1] == other[1]
    assert "-noisy-" in ids["n1"][0]


# run ids

BASE = RunSpec(
    group="few",
    model="cnn-4",
    objective=ObjectiveOptions(loss="kl", tau=4),
    seed=0,
    samples=100,
    sample_seed=0,
    views=2,
    teachers=("big", "other"),
    combine=CombineOptions(),
    training=TrainingOptions(epochs=3),
    source="abc",
)

SPEC_CHANGES = {
    "group": ["many"],
    "model": ["cnn-8"],
    "objective": [
        BASE.objective.model_copy(update=change)
        for change in ({"loss": "mse"}, {"tau": 2.0}, {"tau": 4.0000001}, {"alpha": 0.9}, {"label_smoothing": 0.1})
    ],
    "seed": [1],
    "samples": [99],
    "sample_seed": [1],
    "views": [0, 1],
    "teachers": [("big",), ("other", "big")],
    "combine": [CombineOptions(weights=(1.0, 2.0)), CombineOptions(combine="mean_probs", tau=4.0)],
    "training": [],  # below
    "source": ["abd"],
    "labels": ["noisy"],
    "order_seed": [0, 1],
    "labelled": [1, 10],
    "targets": ["clean", "online"],
}

TRAINING_CHANGES = {
    "epochs": 4,
    "batch": 32,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "momentum": 0.8,
    "nesterov": False,
    "weight_decay": 0.0,
    "decay_norm": True,
    "schedule": "one_cycle",
    "milestones": (0.5,),
    "gamma": 0.2,
    "warmup": 0.1,
    "precision": "bf16",
    "evaluate_every": 2,
    "ema": 0.99,
    "compile": True,
}


def changed_specs() -> list[RunSpec]:
    specs = [replace(BASE, **{name: value}) for name, values in SPEC_CHANGES.items() for value in values]
    trainings = [BASE.training.model_copy(update={name: value}) for name, value in TRAINING_CHANGES.items()]
    return specs + [replace(BASE, training=training) for training in trainings]


def test_the_tables_of_changes_have_every_field():
    assert set(SPEC_CHANGES) == {field.name for field in fields(RunSpec)}
    assert set(TRAINING_CHANGES) == set(TrainingOptions.model_fields) - {"checkpoint_seconds", "measure_train"}


def test_run_ids_stay_as_they_are():
    # Where this changes, everybody's finished runs are trained anew: say so in CHANGELOG.md.
    assert BASE.run_id == "few-cnn-4-kl-tau4-v2-s0-5decbc7b"


def test_run_ids_differ_for_whatever_changes_the_outcome():
    ids = [spec.run_id for spec in (BASE, *changed_specs())]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("change", [{"checkpoint_seconds": 1.0}, {"measure_train": True}])
def test_how_often_to_save_and_what_to_look_at_change_no_run_id(change):
    training = BASE.training.model_copy(update=change)
    assert replace(BASE, training=training).run_id == BASE.run_id


def test_run_ids_are_readable_folder_names():
    run_id = replace(BASE, model="torchvision/resnet18").run_id
    assert run_id.startswith("few-torchvision_resnet18-kl-tau4-v2-s0-")
    assert len(run_id) == len("few-torchvision_resnet18-kl-tau4-v2-s0-") + 8


def test_how_a_number_is_written_changes_no_run_id():
    texts = ({"loss": "kl", "tau": 4}, {"tau": [4.0], "loss": "kl", "alpha": 1})
    first, second = (runs_of(group(objectives=[text]))[0] for text in texts)
    assert first.run_id == second.run_id


def test_what_a_run_does_not_read_changes_no_run_id():
    ids = {}
    for name in ("before", "after"):
        sources = {**SOURCES, "big": name}
        ids[name] = [run.run_id for run in runs_of(group(objectives=["ce", "kl"]), sources=sources)]
    assert ids["before"][0] == ids["after"][0], "hard labels do not depend on the teacher"
    assert ids["before"][1] != ids["after"][1], "soft targets do"
