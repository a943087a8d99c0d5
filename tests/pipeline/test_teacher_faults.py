"""What teachers ask of teachers before them, and do not get, is a fault of the recipe with its key."""

from __future__ import annotations

import pytest

from logitcache.errors import RecipeError
from logitcache.pipeline.recipe import read_recipe

RECIPE = """
[views]
kind = "crop_flip"
count = 2
{views}

[cache]
{cache}

[[teachers]]
name = "large"
model = "cnn-4-8"
teach = {{ epochs = 5 }}

[[teachers]]
name = "bought"
model = "cnn-4-4"
checkpoint = "bought.safetensors"

[[teachers]]
name = "medium"
model = "cnn-4-8"
{medium}

[[teachers]]
name = "last"
model = "cnn-4-8"
teach = {{ epochs = 5 }}
"""
HERE = "teachers.2.teach"


def faults(tmp_path, medium, *, cache="", views="") -> list[str]:
    path = tmp_path / "some.toml"
    path.write_text(RECIPE.format(medium=medium, cache=cache, views=views))
    try:
        read_recipe(path)
    except RecipeError as error:
        return [str(fault) for fault in error.faults]
    return []


def teach(teachers='["large"]', objective='{ loss = "kl", tau = 4 }', more="") -> str:
    return f"teach = {{ epochs = 10, teachers = {teachers}, objective = {objective}{more} }}"


def snapshot(of="large", epoch="3") -> str:
    return f'snapshot = {{ of = "{of}", epoch = {epoch} }}'


TAUGHT = [
    (teach('["lagre"]'), f'{HERE}.teachers = "lagre": must be among the teachers before it: large, bought; did you'),
    (teach('["large", "zz"]'), f'{HERE}.teachers = "zz": must be among the teachers before it: large, bought'),
    (teach('["last"]'), f'{HERE}.teachers = "last": must stand before the teacher that refers to it; move it up'),
    (teach('["medium"]'), f'{HERE}.teachers = "medium": must stand before the teacher that refers to it'),
    (teach("[]"), f'{HERE}.objective = "kl": learns from teachers; name some that stand before this one by teach.'),
    ('teach = { epochs = 9, objective = "rkd" }', f'{HERE}.objective = "rkd": learns from teachers; name some'),
    ('teach = { epochs = 9, teachers = ["large"] }', f'{HERE}.teachers = ["large"]: the objective reads no teacher; '),
    (teach(objective='{ loss = "kl", alpha = 0 }'), f'{HERE}.teachers = ["large"]: the objective reads no teacher'),
    (teach(more=', views = { kind = "none" }'), f"{HERE}.views = (kind none): with teach.teachers the recipe's views"),
    (teach(more=", label_smoothing = 0.1"), f"{HERE}.label_smoothing = 0.1: an objective has its own; use objective."),
    (teach(more=", combine = { weights = [1, 2] }"), f"{HERE}.combine.weights = [1.0, 2.0]: must have one weight for"),
    (teach(objective='{ loss = "kl", tua = 1 }'), f"{HERE}.objective.tua = 1: unknown key; did you mean 'tau'?"),
    (teach(objective='"lk"'), f"{HERE}.objective = \"lk\": must be one of 'ce', 'kl', "),
    (teach(objective='{ loss = "kl", until = 10 }'), f"{HERE}.objective.until = 10: must be less than training.epo"),
    (teach(objective='"rkd"'), f"cache.features = false: must be true: {HERE}.objective reads penultimate features"),
    (teach(objective='"aekd"'), f'{HERE}.objective.loss = "aekd": weighs several teachers against each other; there'),
]


@pytest.mark.parametrize(("medium", "fault"), TAUGHT)
def test_what_a_lesson_asks_for_and_does_not_get_is_named(tmp_path, medium, fault):
    [found] = faults(tmp_path, medium)
    assert found.startswith(fault)


WITH_RECIPE = [
    (
        '{ loss = "kl", tau = 1 }',
        {"cache": "encoding = { tau_min = 2 }"},
        f"{HERE}.objective.tau = 1: must be at least",
    ),
    ('"mse"', {"cache": 'encoding = { kind = "topk" }'}, f'{HERE}.objective.loss = "mse": needs every logit, and'),
    (
        '"kl"',
        {"cache": 'splits = ["test"]'},
        "cache.splits = [\"test\"]: must have 'train': teachers.2.teach.objective",
    ),
    ('"dkd"', {"views": 'mix = { kind = "mixup", alpha = 1.0 }'}, f'{HERE}.objective.loss = "dkd": parts the classes'),
]


@pytest.mark.parametrize(("objective", "recipe", "fault"), WITH_RECIPE)
def test_what_the_cache_does_not_give_a_lesson_is_named(tmp_path, objective, recipe, fault):
    [found] = faults(tmp_path, teach(objective=objective), **recipe)
    assert found.startswith(fault)


SNAPSHOTS = [
    (snapshot("lagre"), 'teachers.2.snapshot.of = "lagre": must be among the teachers before it: large, bought; did'),
    (snapshot("last"), 'teachers.2.snapshot.of = "last": must stand before the teacher that refers to it; move it up'),
    (snapshot("medium"), 'teachers.2.snapshot.of = "medium": must stand before the teacher that refers to it'),
    (snapshot(epoch="6"), "teachers.2.snapshot.epoch = 6: must be at most the epochs of 'large': teach.epochs = 5"),
    (snapshot(epoch="0"), "teachers.2.snapshot.epoch = 0: must be greater than 0"),
    (f"{snapshot()}\nteach.epochs = 1", "teachers.2.checkpoint = teach and snapshot: give one of checkpoint, weights"),
    (f'{snapshot()}\ncheckpoint = "x.pt"', "teachers.2.checkpoint = checkpoint and snapshot: give one of checkpoint"),
]


@pytest.mark.parametrize(("medium", "fault"), SNAPSHOTS)
def test_a_snapshot_of_what_is_not_there_is_named(tmp_path, medium, fault):
    [found] = faults(tmp_path, medium)
    assert found.startswith(fault)


def test_a_snapshot_of_another_network_that_nobody_teaches_has_both_faults(tmp_path):
    assert faults(tmp_path, snapshot("bought")) == [
        'teachers.2.snapshot.of = "bought": must be a teacher that the recipe teaches, by a table teach',
        'teachers.2.model = "cnn-4-8": must be "cnn-4-4", the network of \'bought\'',
    ]


def test_a_teacher_that_is_wrong_by_itself_is_no_fault_of_who_refers_to_it(tmp_path):
    path = tmp_path / "some.toml"
    for medium in (teach(), snapshot()):
        text = RECIPE.format(medium=medium, cache="", views="").replace("teach = { epochs = 5 }", "teach = 5", 1)
        path.write_text(text)
        with pytest.raises(RecipeError) as caught:
            read_recipe(path)
        assert [fault.key for fault in caught.value.faults] == ["teachers.0.teach"]


RIGHT = [
    teach('["large", "bought"]', more=", combine = { weights = [1, 2] }"),
    teach(objective='{ loss = "kl", alpha = 0.5, label_smoothing = 0.1 }'),
    'teach = { epochs = 9, objective = { loss = "ce", label_smoothing = 0.1 } }',
    snapshot(epoch="5"),
]


@pytest.mark.parametrize("medium", RIGHT)
def test_what_is_right_is_no_fault(tmp_path, medium):
    assert faults(tmp_path, medium) == []
