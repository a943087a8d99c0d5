"""Crops, flips and mixes of whole batches are those of a plain loop over images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import pad

from logitcache.views.batched import CropFlip, Mix, crop_flip, crop_flip_elements, cutmix, draw_mix, mixup

PADDING = 2
ELEMENTS = 2 * (2 * PADDING + 1) ** 2


def plain(image, top, left, flip, padding):
    """Pad with zeros, slice, flip: one image (C, H, W)."""
    _, height, width = image.shape
    cropped = pad(image, (padding,) * 4)[:, top : top + height, left : left + width]
    return cropped.flip(2) if flip else cropped


def random_images(count, channels=3, height=6, width=5):
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8)


@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("shape", [(3, 6, 5), (1, 4, 7)])
def test_every_element_equals_pad_crop_and_flip_of_one_image(padding, shape):
    side = range(2 * padding + 1)
    elements = [(top, left, flip) for top in side for left in side for flip in (False, True)]
    images = random_images(len(elements), *shape)
    top, left, flip = (torch.tensor(part) for part in zip(*elements, strict=True))
    found = crop_flip(images, CropFlip(top, left, flip), padding)
    assert found.dtype == torch.uint8
    for image, element, one in zip(images, elements, found, strict=True):
        assert torch.equal(one, plain(image, *element, padding))


def keys(where):
    return list(zip(where.top.tolist(), where.left.tolist(), where.flip.tolist(), strict=True))


@pytest.mark.parametrize("cycle", [0, 1, 5])
def test_a_cycle_of_views_shows_every_element_once(cycle):
    views = 1 + cycle * ELEMENTS + torch.arange(ELEMENTS)
    for sample in (0, 7, 123456789):
        found = keys(crop_flip_elements(torch.tensor(sample), views, PADDING, seed=3))
        assert len(set(found)) == ELEMENTS
        assert {(top, left) for top, left, _ in found} == {(t, c) for t in range(5) for c in range(5)}


def test_cycles_samples_and_seeds_walk_in_different_orders():
    def walk(sample=0, cycle=0, seed=0):
        views = 1 + cycle * ELEMENTS + torch.arange(ELEMENTS)
        return tuple(keys(crop_flip_elements(torch.tensor(sample), views, PADDING, seed)))

    walks = {walk(), walk(sample=1), walk(cycle=1), walk(seed=1), walk(sample=2)}
    assert len(walks) == 5


def test_the_clean_view_is_the_image_itself():
    images = random_images(4)
    where = crop_flip_elements(torch.arange(4), torch.tensor(0), PADDING, seed=0)
    assert torch.equal(crop_flip(images, where, PADDING), images)


def test_elements_of_one_view_are_spread_over_samples():
    where = crop_flip_elements(torch.arange(4000), torch.tensor(1), PADDING, seed=0)
    element = (where.top * 5 + where.left) * 2 + where.flip
    counts = torch.bincount(element, minlength=ELEMENTS)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def draws(count=4000, view=1, *, alpha=0.3, probability=1.0, seed=0):
    return draw_mix(
        torch.arange(count), torch.full((count,), view), count, alpha=alpha, probability=probability, seed=seed
    )


def test_partners_are_a_permutation_of_the_split():
    for view in (1, 2):
        assert torch.equal(draws(501, view).partner.sort().values, torch.arange(501))
    assert not torch.equal(draws(501, 1).partner, draws(501, 2).partner)
    assert not torch.equal(draws(501, 1).partner, draws(501, 1, seed=1).partner)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_weights_follow_the_beta_distribution(alpha):
    weight = draws(alpha=alpha).weight
    assert weight.dtype == torch.float32
    assert stats.kstest(weight.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_only_the_asked_share_is_mixed_and_the_rest_is_its_own():
    mix = draws(probability=0.25)
    mixed = mix.partner != torch.arange(4000)
    assert 0.22 < mixed.float().mean() < 0.28
    assert (mix.weight[~mixed] == 1).float().mean() > 0.999
    assert (draws(probability=0.0).weight == 1).all()


def test_the_clean_view_is_never_mixed():
    mix = draws(view=0)
    assert torch.equal(mix.partner, torch.arange(4000))
    assert (mix.weight == 1).all()


def test_a_draw_depends_on_its_row_and_view_alone():
    whole, rows = draws(100), torch.tensor([90, 3, 3, 41])
    part = draw_mix(rows, torch.ones(4, dtype=torch.int64), 100, alpha=0.3, probability=1.0, seed=0)
    for name in ("partner", "weight", "centre"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[rows])


def test_mixup_weighs_whole_images():
    images, partners = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    weight = torch.tensor([1.0, 0.0, 0.25])
    mixed, left = mixup(images, partners, Mix(torch.arange(3), weight, torch.zeros(3, 2)))
    assert torch.equal(left, weight)
    assert torch.equal(mixed[0], images[0])
    assert torch.equal(mixed[1], partners[1])
    torch.testing.assert_close(mixed[2], 0.25 * images[2] + 0.75 * partners[2])


def test_the_weight_of_cutmix_is_the_area_that_was_not_pasted():
    mix = draws(200, alpha=1.0)
    pasted, weight = cutmix(torch.zeros(200, 3, 9, 7), torch.ones(200, 3, 9, 7), mix)
    assert set(pasted.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(weight, 1 - pasted[:, 0].mean(dim=(1, 2)))
    assert torch.equal(pasted[:, 0], pasted[:, 2])


def test_cutmix_pastes_one_box_of_the_area_that_was_drawn():
    side, count = 64, 200
    mix = draws(count, alpha=1.0)
    inner = Mix(mix.partner, mix.weight.clamp(min=0.7), torch.full((count, 2), 0.5, dtype=torch.float64))
    pasted, weight = cutmix(torch.zeros(count, 1, side, side), torch.ones(count, 1, side, side), inner)
    assert (weight - inner.weight).abs().max() < 0.03  # a pixel of rounding on each side
    for box in pasted[:, 0].numpy():
        rows, columns = np.flatnonzero(box.any(axis=1)), np.flatnonzero(box.any(axis=0))
        assert box.sum() == len(rows) * len(columns)
        assert box[rows[:1].sum() : rows.max(initial=-1) + 1, columns[:1].sum() : columns.max(initial=-1) + 1].all()


def test_unmixed_images_stay_as_they_are():
    images, partners = torch.randn(5, 1, 6, 6), torch.randn(5, 1, 6, 6)
    own = Mix(torch.arange(5), torch.ones(5), torch.rand(5, 2))
    for blend in (mixup, cutmix):
        mixed, weight = blend(images, partners, own)
        assert torch.equal(mixed, images)
        assert (weight == 1).all()
