"""Measure ``plane``: Müller's projection of the samples asked for, and a choice of three classes that can be told."""

from __future__ import annotations

import numpy as np
import pytest
from cuts import measured

from logitcache.errors import InputError
from logitcache.statistics.block import Block
from logitcache.statistics.measure import Measure
from logitcache.statistics.plane import Plane, choose_three, classes_named
from logitcache.statistics.templates import project

ROWS, WIDTH, CLASSES = 200, 6, 5


def random_block(seed=0):
    random = np.random.default_rng(seed)
    weight = random.normal(0, 1, (CLASSES, WIDTH)).astype(np.float32)
    labels = random.integers(-1, CLASSES, ROWS)
    features = random.normal(0, 1, (ROWS, WIDTH)).astype(np.float32)
    return Block(features @ weight.T, labels, features=features), weight


@pytest.mark.parametrize("cuts", [(), (3, 50, 51, 170)])
def test_samples_of_the_classes_lie_where_the_projection_puts_them(cuts):
    block, weight = random_block()
    found = measured(Plane((4, 0, 2), points=9), block, cuts=cuts, order=1, weight=weight)
    rows = found.plane_row.values
    assert block.labels[rows].tolist() == [4] * 9 + [0] * 9 + [2] * 9
    places = project(block.features[rows], weight[[4, 0, 2]])
    assert np.stack([found.plane_x.values, found.plane_y.values], axis=1) == pytest.approx(places)
    corners = np.stack([found.plane_template_x.values, found.plane_template_y.values], axis=1)
    assert corners[[4, 0, 2]] == pytest.approx(project(weight[[4, 0, 2]], weight[[4, 0, 2]]))
    assert np.isnan(corners[[1, 3]]).all()


def test_unnamed_classes_are_two_alike_and_one_apart():
    weight = np.array([[0.0, 1.0, 0], [5, 0, 0.3], [0, 0, -4], [5, 0, 0], [0, -3, 0]])
    assert choose_three(weight) == (1, 3, 2)
    block, _ = random_block()
    own = np.concatenate((weight, np.zeros((5, 3))), axis=1).astype(np.float32)
    found = measured(Plane(points=4), block, cuts=[80], weight=own)
    assert found.plane_class.values.tolist() == [1] * 4 + [3] * 4 + [2] * 4


def test_which_samples_does_not_depend_on_the_cut_or_on_naming_the_classes():
    block, weight = random_block(1)
    named = measured(Plane(choose_three(weight.astype(np.float64)), points=7), block, weight=weight)
    chosen = measured(Plane(points=7), block, cuts=[11, 99], order=3, weight=weight)
    assert named.plane_row.values.tolist() == chosen.plane_row.values.tolist()


@pytest.mark.parametrize(
    ("classes", "why"),
    [((0, 1, 5), r"no class 5; allowed is 0\.\.4"), ((-1, 0, 1), "no class -1"), ((2, 2, 1), "three different")],
)
def test_classes_that_are_not_three_are_refused(classes, why):
    block, _ = random_block()
    with pytest.raises(InputError, match=why):
        Plane(classes).tally(block)


@pytest.mark.parametrize(
    ("words", "names", "numbers"),
    [
        (("ship", "cat", "dog"), ("cat", "dog", "ship"), (2, 0, 1)),
        (("2", 0, "dog"), ("cat", "dog", "ship"), (2, 0, 1)),
        (("2", "1", "0"), ("0", "2", "1"), (1, 2, 0)),
        ((7, "12", 3), (), (7, 12, 3)),
    ],
    ids=["names", "numbers", "names that are numbers", "no names"],
)
def test_classes_go_by_name_and_by_number(words, names, numbers):
    assert classes_named(words, names) == numbers


@pytest.mark.parametrize(
    ("words", "names", "why"),
    [
        (("cat", "dgo", "ship"), ("cat", "dog", "ship"), r"'dgo'; did you mean 'dog'\?; there are cat, dog, ship; or"),
        ((0, 1, 3), ("cat", "dog", "ship"), r"no class 3; there are cat, dog, ship; or give numbers, 0\.\.2"),
        (("c1", "c2", "x"), [f"c{k}" for k in range(50)], r"c38, c39 and 10 more; or give numbers, 0\.\.49"),
        (("a", 1, 2), (), "no class 'a'; give numbers"),
        ((-1, 1, 2), (), "no class -1; give numbers"),
        (("cat", 0, "dog"), ("cat", "dog", "ship"), "cat, 0, dog were given; name three different"),
        (("cat", "dog"), ("cat", "dog", "ship"), "2 classes were given; name three"),
    ],
)
def test_what_names_no_three_classes_is_refused_with_those_that_are_there(words, names, why):
    with pytest.raises(InputError, match=why):
        classes_named(words, names)


def test_where_there_is_no_plane_there_are_no_samples():
    block, weight = random_block()
    two = Block(block.logits, np.where(block.labels > 1, -1, block.labels), features=block.features)
    for given, known in ((two, {"weight": weight}), (block, {}), (block, {"weight": np.ones_like(weight)})):
        found = measured(Plane(), given, cuts=[40], **known)
        assert found.sizes["sample"] == 0
        assert np.isnan(found.plane_template_x.values).all()


def test_it_is_a_measure_whose_variables_say_their_units():
    block, weight = random_block()
    found = measured(Plane(), block, weight=weight)
    assert isinstance(Plane(), Measure)
    assert all(found[name].attrs["units"] and found[name].attrs["long_name"] for name in found.data_vars)
