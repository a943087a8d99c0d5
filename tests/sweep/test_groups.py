"""Which runs train together: a function of the runs and their order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from specs import BASE

from logitcache.student.objectives import ObjectiveOptions
from logitcache.sweep import RunSpec
from logitcache.sweep.groups import group_id, group_runs, stack_key


def trained(**changes) -> RunSpec:
    return replace(BASE, training=BASE.training.model_copy(update=changes))


TOGETHER = [
    replace(BASE, seed=1),
    replace(BASE, group="others"),
    replace(BASE, objective=ObjectiveOptions(loss="ce"), teachers=()),
    replace(BASE, objective=ObjectiveOptions(loss="kl", tau=20, alpha=0.5)),
    replace(BASE, sample_seed=1),
    replace(BASE, views=0),
    replace(BASE, labels="noisy"),
    replace(BASE, order_seed=3),
    trained(learning_rate=1.0),
    trained(weight_decay=0.0),
    trained(schedule="one_cycle", warmup=0.1),
    trained(measure_train=True),
]
APART = [
    replace(BASE, model="cnn-8"),
    replace(BASE, samples=99),
    trained(epochs=4),
    trained(batch=32),
    trained(optimizer="adamw"),
    trained(momentum=0.8),
    trained(nesterov=False),
    trained(decay_norm=True),
    trained(precision="bf16"),
    trained(ema=0.9),
    trained(compile=True),
]


@pytest.mark.parametrize("spec", TOGETHER)
def test_runs_stack_whose_steps_are_alike(spec):
    assert spec != BASE
    assert group_runs([BASE, spec], 8) == [(BASE, spec)]


@pytest.mark.parametrize("spec", APART)
def test_runs_of_other_networks_steps_or_optimizers_do_not_stack(spec):
    assert group_runs([BASE, spec], 8) == [(BASE,), (spec,)]


def test_runs_that_read_the_same_batches_come_together():
    runs = [replace(BASE, seed=seed, objective=each) for each in map(ce_or_kl, (0, 1)) for seed in (0, 1)]
    assert [[run.seed for run in group] for group in group_runs(runs, 2)] == [[0, 0], [1, 1]]


def ce_or_kl(kind: int) -> ObjectiveOptions:
    return ObjectiveOptions(loss=("ce", "kl")[kind])


@pytest.mark.parametrize(
    ("runs", "members", "sizes"), [(1, 8, [1]), (8, 8, [8]), (9, 8, [4, 5]), (17, 8, [5, 6, 6]), (3, 2, [1, 2])]
)
def test_groups_are_few_and_of_like_size(runs, members, sizes):
    groups = group_runs([replace(BASE, seed=seed) for seed in range(runs)], members)
    assert [len(group) for group in groups] == sizes


specs = st.builds(
    lambda seed, model, kind, views: replace(BASE, seed=seed, model=model, objective=ce_or_kl(kind), views=views),
    st.integers(0, 5),
    st.sampled_from(["cnn-4", "cnn-8"]),
    st.integers(0, 1),
    st.integers(0, 2),
)


@given(st.lists(specs, unique=True), st.integers(2, 5))
def test_every_run_is_in_one_group_of_its_like(runs, members):
    groups = group_runs(runs, members)
    assert sorted(run.run_id for group in groups for run in group) == sorted(run.run_id for run in runs)
    assert all(1 <= len(group) <= members for group in groups)
    assert all(len({stack_key(run) for run in group}) == 1 for group in groups)


def test_the_name_of_a_group_is_that_of_its_runs_in_order():
    assert group_id(["a", "b"]) == group_id(["a", "b"])
    assert len({group_id(names) for names in (["a", "b"], ["b", "a"], ["a"], ["ab"])}) == 4
