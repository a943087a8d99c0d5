"""What a group of students asks for and cannot have is a fault of the recipe: subsets, hidden labels, other targets."""

from __future__ import annotations

import pytest

from logitcache.errors import RecipeError
from logitcache.pipeline.recipe import read_recipe

HEAD = """
[views]
kind = "crop_flip"
count = 2
{views}
[cache]
{cache}
"""
TEACHER = """
[[teachers]]
name = "t{number}"
model = "cnn-4-8"
checkpoint = "t{number}.safetensors"
"""
GROUP = """
[[students]]
model = "cnn-4-4"
objectives = [{objective}]
training = {{ epochs = 10 }}
{group}
"""
HERE = "students.0.objectives.0"
MIX = 'mix = { kind = "mixup", alpha = 1.0 }'
BOUND, TOPK = "encoding = { tau_min = 2 }", 'encoding = { kind = "topk" }'
ONLINE, CLEAN = 'targets = "online"', 'targets = ["views", "clean"]'


def faults(tmp_path, objective='"kl"', *, group="", views="", cache="", teachers=2) -> list[str]:
    path = tmp_path / "some.toml"
    made = "".join(TEACHER.format(number=number) for number in range(teachers))
    path.write_text(
        HEAD.format(views=views, cache=cache) + made + GROUP.format(objective=objective, group=group), encoding="utf-8"
    )
    try:
        read_recipe(path)
    except RecipeError as error:
        return [str(fault) for fault in error.faults]
    return []


# objective, what else the recipe says, the fault's beginning
FAULTY = [
    ('"kl"', {"group": "samples = [0.1, 1.5]"}, "students.0.samples.1 = 1.5: must be a count (an integer) or a fr"),
    ('"kl"', {"group": "samples = []"}, "students.0.samples = []: must have at least 1 entry"),
    ('"kl"', {"group": "labelled = 0"}, "students.0.labelled = 0: must be greater than 0"),
    ('"kl"', {"group": "labelled = 1.5"}, "students.0.labelled = 1.5: must be a count (an integer) or a fraction in"),
    ('"kl"', {"group": 'targets = "onlin"'}, "students.0.targets = \"onlin\": must be one of 'views', 'clean', 'onl"),
    ('"kl"', {"group": "subsets = 1"}, "students.0.subsets = 1: must be true or false"),
    (
        '"kl"',
        {"group": "subsets = true", "teachers": 7},
        "students.0.subsets = true: 7 teachers have 127 subsets; name at most 6 by teachers",
    ),
    (
        '"kl"',
        {"group": "subsets = true\ncombine = { weights = [1, 2] }"},
        "students.0.combine.weights = [1.0, 2.0]: must be left out with subsets = true",
    ),
    ('"aekd"', {"group": "subsets = true"}, "students.0.subsets = true: an objective weighs several teachers against"),
    (
        '"rkd"',
        {"group": "subsets = true", "cache": "features = true"},
        f'{HERE}.loss = "rkd": reads the features of one',
    ),
    ('"kl"', {"group": "samples = [9, 30]", "views": MIX}, "students.0.samples = [9, 30]: views.mix takes partners"),
    ('"kl"', {"group": "samples = 0.5", "views": MIX}, "students.0.samples = 0.5: views.mix takes partners"),
    (
        '"ce"',
        {"group": "labelled = 0.5", "views": MIX},
        "students.0.labelled = 0.5: views.mix gives a sample two labels",
    ),
    ('"kl"', {"group": CLEAN, "views": MIX}, 'students.0.targets = "clean": views.mix shows mixtures'),
    ('"dkd"', {"group": "labelled = 0.5"}, f'{HERE}.loss = "dkd": parts the classes by the sample\'s label, and label'),
    (
        '{ loss = "kl", also = ["nkd"] }',
        {"group": "labelled = 0.5"},
        f'{HERE}.also.0.loss = "nkd": parts the classes by',
    ),
    ('"aekd"', {"group": ONLINE}, f"{HERE}.loss = \"aekd\": needs more of a teacher than targets = 'online' gives"),
    (
        '"rkd"',
        {"group": f'{ONLINE}\nteachers = ["t0"]', "cache": "features = true"},
        f'{HERE}.loss = "rkd": needs more of a teacher than',
    ),
    (
        '{ loss = "kl", tau = 1 }',
        {"group": 'targets = ["views", "online"]', "cache": BOUND},
        f"{HERE}.tau = 1: must be at least cache.encoding.tau_min = 2",
    ),
]


@pytest.mark.parametrize(("objective", "recipe", "fault"), FAULTY)
def test_what_a_group_cannot_have_is_named(tmp_path, objective, recipe, fault):
    [found] = faults(tmp_path, objective, **recipe)
    assert found.startswith(fault)


RIGHT = [
    ('"kl"', {"group": "subsets = true", "teachers": 6}),
    ('"kl"', {"group": 'subsets = true\nteachers = ["t0", "t6"]', "teachers": 7}),
    ('"ce", { loss = "kl", alpha = 0.5 }', {"group": "samples = [0.1, 30]\nlabelled = [0.1, 0.5]"}),
    ('"ce", { loss = "kl", alpha = 0.5 }', {"group": ONLINE, "views": MIX}),
    ('"dkd"', {"group": CLEAN}),
    ('{ loss = "kl", tau = 1 }', {"group": ONLINE, "cache": BOUND}),
    ('"mse"', {"group": ONLINE, "cache": TOPK}),
    ('"rkd"', {"group": f'{CLEAN}\nteachers = ["t0"]', "cache": "features = true"}),
    ('"aekd"', {"group": CLEAN}),
]


@pytest.mark.parametrize(("objective", "recipe"), RIGHT)
def test_what_a_group_can_have_is_no_fault(tmp_path, objective, recipe):
    assert faults(tmp_path, objective, **recipe) == []


def test_all_faults_of_a_group_are_told_together(tmp_path):
    group = f"subsets = true\nlabelled = 0.5\n{ONLINE}\ncombine = {{ weights = [1, 2] }}"
    keys = [line.partition(" = ")[0] for line in faults(tmp_path, '"dkd", "aekd"', group=group, views=MIX)]
    assert sorted(set(keys)) == [
        "students.0.combine.weights",
        "students.0.labelled",
        "students.0.objectives.0.loss",
        "students.0.objectives.1.loss",
        "students.0.subsets",
    ]
