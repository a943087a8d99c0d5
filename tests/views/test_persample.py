"""Transforms of single samples replay: the same pixels with any workers, and nobody else's random numbers move."""

from __future__ import annotations

import random
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import lazy, make_split
from PIL import Image
from torchvision.transforms import v2

from logitcache.errors import InputError
from logitcache.views import Renderer, ViewOptions

SPLIT = make_split(12)
CROP, JITTER = {"name": "RandomCrop", "size": 8, "padding": 2}, {"name": "ColorJitter", "brightness": 0.5}
LISTED = ViewOptions(kind="transforms", count=3, transforms=(CROP, "RandomHorizontalFlip", JITTER))
OWN = """
import random
import numpy as np
import torch

class Shift:
    '''Adds draws of all three generators.'''
    def __call__(self, image):
        return image.float() / 255 + torch.rand(()) + float(np.random.rand()) + random.random()

def shift():
    return Shift()

def nothing():
    return None
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's module in the current directory."""
    (tmp_path / "own_views.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield ViewOptions(kind="own_views:shift", count=3)
    sys.modules.pop("own_views", None)


def render(options, view=2, *, split=SPLIT, rows=None, batch=5, workers=0):
    rows = torch.arange(len(split)) if rows is None else rows
    return torch.cat([part.inputs for part in Renderer(split, options, "cpu", workers).stream([(rows, view)], batch)])


def test_a_listed_transform_replays_with_and_without_workers():
    here = render(LISTED)
    assert torch.equal(render(LISTED), here)
    assert torch.equal(render(LISTED, workers=2), here)
    assert torch.equal(render(LISTED, workers=2, batch=1), here)


def test_a_users_transform_replays_with_and_without_workers(own):
    here = render(own)
    assert torch.equal(render(own, workers=2), here)
    draws = (here * 0.7 + 0.3)[:, 0, 0, 0] - SPLIT.images[:, 0, 0, 0] / 255
    assert len(set(draws.tolist())) == len(SPLIT)
    assert 0 <= draws.min() < draws.max() < 3


def test_samples_and_views_have_draws_of_their_own():
    views = [render(LISTED, view) for view in (1, 2, 3)]
    assert not torch.equal(views[0], views[1])
    assert not torch.equal(views[1], views[2])
    same = torch.full((2,), 7)
    twice = render(LISTED, split=SPLIT.take(same))
    assert torch.equal(twice[0], twice[1])  # one sample twice
    rows = torch.tensor([9, 2])
    assert torch.equal(render(LISTED, split=SPLIT.take(rows)), render(LISTED)[rows])


def test_the_seed_is_part_of_the_draw():
    assert not torch.equal(render(LISTED.model_copy(update={"seed": 1})), render(LISTED))


def test_the_clean_view_has_no_transform(own):
    clean = render(ViewOptions(), 0)
    assert torch.equal(render(LISTED, 0), clean)
    assert torch.equal(render(own, 0), clean)
    assert torch.equal(render(own, 0, split=lazy(SPLIT)), clean)


@pytest.mark.parametrize("workers", [0, 2])
def test_nobody_elses_random_numbers_move(own, workers):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    before = states()
    render(own, workers=workers)
    Renderer(SPLIT, own).probe()
    assert states() == before


def test_a_transform_that_fails_leaves_the_generators_alone(own, monkeypatch):
    before = torch.get_rng_state()
    renderer = Renderer(SPLIT, own)
    monkeypatch.setattr("own_views.Shift.__call__", lambda self, image: torch.rand(1) / 0 + {}["no"])
    with pytest.raises(KeyError):
        renderer.pixels(torch.tensor([0]), torch.tensor([1]))
    assert torch.equal(torch.get_rng_state(), before)


class Opened:
    """Opens PIL images, picklable."""

    def __call__(self, row):
        return Image.fromarray(SPLIT.images[row, 0].numpy())


def test_pil_images_are_transformed_as_they_are():
    """Pillow's own resizing is not that of tensors."""
    resize = {"name": "Resize", "size": [5, 5]}
    split = replace(lazy(SPLIT), open=Opened())
    renderer = Renderer(split, ViewOptions(kind="transforms", count=1, transforms=(resize,)))
    [pixels] = renderer.pixels(torch.tensor([3]), torch.tensor([1]))
    assert torch.equal(pixels, v2.functional.pil_to_tensor(Opened()(3).resize((5, 5), Image.Resampling.BILINEAR)))
    assert torch.equal(renderer.pixels(torch.tensor([3]), torch.tensor([0]))[0], SPLIT.images[3])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("own_views:nothing", "returned NoneType, not a transform"),
        ("own_views:shfit", "has no 'shfit'; did you mean"),
        ("own_missing:shift", "no module 'own_missing'"),
    ],
)
def test_a_factory_that_gives_no_transform_is_refused(own, kind, said):
    with pytest.raises(InputError, match=said):
        Renderer(SPLIT, ViewOptions(kind=kind, count=1))
