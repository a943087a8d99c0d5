"""The teacher of the run of many rows: a function of the image, mostly right, with a real network's spectrum."""

from __future__ import annotations

import numpy as np
import pytest
import scale_teacher
import torch
from scale_options import Scale

from logitcache.views import Renderer, ViewOptions

SMALL = Scale(samples=300, views=3, classes=24, block=10)


def rendered(views: range):
    """Inputs and labels of some views of a split."""
    split = scale_teacher.make_split(SMALL)
    renderer = Renderer(split, ViewOptions(kind="crop_flip", padding=scale_teacher.PADDING, count=SMALL.views))
    jobs = ((torch.arange(len(split)), view) for view in views)
    return torch.cat([batch.inputs for batch in renderer.stream(jobs, 100)]), split.labels.repeat(len(views))


@pytest.fixture(scope="module")
def teacher():
    network = scale_teacher.bank_network(SMALL.classes, scale_teacher.SHAPE)
    network.load_state_dict({"bank": scale_teacher.make_bank(SMALL.classes)})
    return network.eval()


def test_logits_are_a_function_of_the_image_and_differ_from_view_to_view(teacher):
    inputs, _ = rendered(range(4))
    logits = teacher(inputs)
    turned = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    assert torch.equal(teacher(inputs[turned]), logits[turned])
    images = inputs.flatten(1).unique(dim=0)
    assert len(images) > 0.9 * len(inputs)
    assert len(logits.unique(dim=0)) == len(images)


def test_the_teacher_is_right_mostly_and_in_every_view(teacher):
    inputs, labels = rendered(range(1, 4))
    right = (teacher(inputs).argmax(1) == labels).float().mean()
    assert 0.75 < right < 0.95


def test_rows_have_the_spectrum_that_they_are_to_have():
    classes = 300
    wanted = scale_teacher.spreads(classes)
    bank = scale_teacher.make_bank(classes).double().numpy()
    found = np.sqrt(np.linalg.eigvalsh(np.cov(bank.T))[::-1])
    assert (np.diff(wanted) < 0).all()
    assert found[:100] == pytest.approx(wanted[:100], rel=0.25)
    assert bank.std() == pytest.approx(1.53, rel=0.05)
