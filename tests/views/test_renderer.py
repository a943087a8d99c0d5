"""A view is a function of (seed, sample, view): the same in any batch, order, process, and on any device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from builders import lazy, make_split
from torch.nn.functional import pad

from logitcache.data import Preprocess
from logitcache.views import MixOptions, Renderer, ViewOptions
from logitcache.views.batched import crop_flip_elements

SPLIT = make_split(40)
CROPS = ViewOptions(kind="crop_flip", count=6, padding=2, seed=5)
ROWS = torch.arange(40)
POLICIES = {
    "none": ViewOptions(),
    "crop_flip": CROPS,
    "mixup": CROPS.model_copy(update={"mix": MixOptions(kind="mixup", alpha=1.0)}),
    "cutmix": CROPS.model_copy(update={"mix": MixOptions(kind="cutmix", alpha=1.0)}),
}


def render(options, rows=ROWS, view=3, *, split=SPLIT, batch=64, workers=0, device="cpu"):
    """(inputs, partner, weight) of all rows, put together again."""
    parts = list(Renderer(split, options, device, workers).stream([(rows, view)], batch))
    assert torch.equal(torch.cat([part.rows for part in parts]), rows)
    assert all(len(part.rows) == batch for part in parts[:-1])
    inputs = torch.cat([part.inputs for part in parts])
    if parts[0].partner is None:
        return inputs, None, None
    return inputs, torch.cat([part.partner for part in parts]), torch.cat([part.weight for part in parts])


def same(a, b):
    """Whether two renderings are equal."""
    return all((x is None and y is None) or torch.equal(x, y) for x, y in zip(a, b, strict=True))


def plain_input(row, view, options=CROPS, split=SPLIT):
    """Pad, crop, flip, normalise: one image at a time."""
    where = crop_flip_elements(split.index[row], torch.tensor(view), options.padding, options.seed)
    image = pad(split.images[row], (options.padding,) * 4)[:, where.top : where.top + 8, where.left : where.left + 8]
    image = image.flip(2) if where.flip else image
    return (image.double() / 255 - 0.3) / 0.7


def test_inputs_are_the_normalised_crops_of_a_plain_loop():
    for view in (0, 1, 6):
        inputs, _, _ = render(CROPS, view=view)
        assert inputs.dtype == torch.float32
        expected = torch.stack([plain_input(row, view) for row in range(40)])
        torch.testing.assert_close(inputs.double(), expected, rtol=0, atol=1e-6)


def test_zero_padding_comes_before_normalising():
    inputs, _, _ = render(CROPS)
    assert (inputs - (0 - 0.3) / 0.7).abs().min() < 1e-6


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("batch", [1, 7, 40])
def test_a_view_is_the_same_in_any_batch(policy, batch):
    options, view = POLICIES[policy], 0 if policy == "none" else 3
    assert same(render(options, view=view, batch=batch), render(options, view=view))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_view_is_the_same_in_any_order_and_beside_other_views(policy):
    options = POLICIES[policy]
    rows = torch.tensor([17, 3, 39, 3, 0])
    views = torch.tensor([0, 0, 0, 0, 0]) if policy == "none" else torch.tensor([3, 1, 3, 0, 6])
    mixed = render(options, rows, views)
    for place, (row, view) in enumerate(zip(rows.tolist(), views.tolist(), strict=True)):
        for one, whole in zip(mixed, render(options, view=view), strict=True):
            assert (one is None and whole is None) or torch.equal(one[place], whole[row])


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("workers", [0, 2])
def test_images_opened_one_by_one_give_the_same_views(policy, workers):
    options, view = POLICIES[policy], 0 if policy == "none" else 3
    found = render(options, view=view, split=lazy(SPLIT), batch=16, workers=workers)
    assert same(found, render(options, view=view))


def test_pieces_of_large_jobs_join_without_a_seam(monkeypatch):
    whole = render(POLICIES["mixup"], view=ROWS % 7, batch=6)
    monkeypatch.setattr("logitcache.views.renderer._PIECE", 13)
    assert same(render(POLICIES["mixup"], view=ROWS % 7, batch=6), whole)


def test_batches_are_cut_from_each_jobs_start():
    jobs = [(torch.arange(10), 1), (torch.arange(10, 25), 2)]
    for split in (SPLIT, lazy(SPLIT)):
        sizes = [len(part.rows) for part in Renderer(split, CROPS).stream(jobs, 8)]
        assert sizes == [8, 2, 8, 7]


def test_a_subset_shows_its_samples_the_same_views():
    rows = torch.tensor([4, 11, 30])
    subset, whole = render(CROPS, torch.arange(3), split=SPLIT.take(rows))[0], render(CROPS)[0]
    assert torch.equal(subset, whole[rows])


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_inputs_are_blends_of_the_partners_own_views(kind):
    inputs, partner, weight = render(POLICIES[kind])
    own, _, _ = render(CROPS)
    assert torch.equal(partner.sort().values, ROWS)
    if kind == "mixup":
        w = weight[:, None, None, None]
        torch.testing.assert_close(inputs, w * own + (1 - w) * own[partner], rtol=0, atol=1e-5)
    else:
        pasted = inputs != own
        assert torch.equal(inputs[pasted], own[partner][pasted])
        share = pasted.float().mean(dim=(1, 2, 3))
        assert (share <= 1 - weight + 1e-6).all()  # where both show the same pixel, pasting is not seen
        assert (1 - weight - share).mean() < 0.1


def test_clean_views_of_files_are_resized_and_cropped_in_the_centre():
    size = Preprocess((0.0,), (1.0,), resize=8, size=4)
    split = replace(lazy(SPLIT), preprocess=size, shape=(1, 4, 4))
    inputs, _, _ = render(ViewOptions(), view=0, split=split)
    torch.testing.assert_close(inputs, SPLIT.images[:, :, 2:6, 2:6].float() / 255)


def probe(options=CROPS, split=SPLIT):
    return Renderer(split, options).probe()


def test_the_probe_depends_on_the_policy_and_not_on_the_count_or_the_path():
    assert probe() == probe(CROPS.model_copy(update={"count": 1})) == probe(split=lazy(SPLIT))
    assert len({probe(), probe(CROPS.model_copy(update={"seed": 6})), probe(split=make_split(40, seed=1))}) == 3
    assert probe(ViewOptions()) == probe(ViewOptions(), lazy(SPLIT))


def test_the_probe_notices_a_renderer_that_changed(monkeypatch):
    before = probe()
    monkeypatch.setattr("logitcache.views.renderer.crop_flip", lambda images, where, padding: images + where.flip.sum())
    assert probe() != before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("opened", ["in memory", "one by one"])
def test_a_view_is_the_same_on_a_gpu(policy, opened):
    options, view = POLICIES[policy], 0 if policy == "none" else 3
    split = SPLIT if opened == "in memory" else lazy(SPLIT)
    expected, found = render(options, view=view), render(options, view=view, split=split, device="cuda")
    torch.testing.assert_close(found[0].cpu(), expected[0], rtol=0, atol=1e-6)
    if options.mix is not None:
        assert torch.equal(found[1], expected[1])
        assert torch.equal(found[2].cpu(), expected[2])
    pixels = Renderer(split, options, "cuda").pixels(ROWS, torch.full_like(ROWS, view))
    assert torch.equal(pixels.cpu(), Renderer(SPLIT, options).pixels(ROWS, torch.full_like(ROWS, view)))
