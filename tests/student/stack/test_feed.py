"""Feeds in step give what each gives alone, and make what is equal once."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from builders import make_split

from logitcache.errors import InputError
from logitcache.student.feed import FeedOptions, ViewFeed
from logitcache.student.stack.feed import StackFeed
from logitcache.views import MixOptions, Renderer, ViewOptions

SAMPLES, CLASSES, BATCH = 30, 3, 8


class Counting:
    """Soft targets that say what was gathered; a pure function of row and view."""

    whole, window, staged = True, None, False

    def __init__(self):
        self.gathered = self.prefetched = 0

    def prefetch(self, view):
        self.prefetched += 1

    def gather(self, rows, view):
        self.gathered += 1
        return torch.stack([rows, rows * 0 + view, -rows], dim=1).float()


class CountingRenderer(Renderer):
    """Counts the batches that it renders."""

    rendered = 0

    def stream(self, jobs, batch):
        for each in super().stream(jobs, batch):
            self.rendered += 1
            yield each


@pytest.fixture
def renderer():
    views = ViewOptions(kind="crop_flip", padding=2, count=2, seed=5, mix=MixOptions(kind="mixup", alpha=0.4))
    return CountingRenderer(make_split(SAMPLES, CLASSES), views)


def feed(renderer, seed=0, rows=None, batch=BATCH, **given):
    return ViewFeed(renderer, rows, FeedOptions(batch=batch, seed=seed, views=2), **given)


def same(one, other):
    for name in (field.name for field in fields(one)):
        values = getattr(one, name), getattr(other, name)
        if isinstance(values[0], torch.Tensor):
            assert torch.equal(*values), name
        else:
            assert values[0] == values[1], name


@pytest.mark.parametrize("start", [0, 1, 3])
def test_members_get_the_batches_of_their_own_feeds(renderer, start):
    soft, noisy = Counting(), (renderer.split.labels + 1) % CLASSES
    feeds = [
        feed(renderer),
        feed(renderer, soft=soft),
        feed(renderer, seed=1, soft=soft),
        feed(renderer, soft=soft, labels=noisy),
        feed(renderer, soft=soft),
    ]
    stack = StackFeed(feeds)
    assert (stack.steps, stack.samples) == (4, SAMPLES)
    for epoch in (0, 1):
        given = list(stack.epoch(epoch, start))
        assert len(given) == 4 - start
        for member, own in enumerate(feeds):
            for batches, expected in zip(given, own.epoch(epoch, start), strict=True):
                same(batches[member], expected)


def test_equal_inputs_are_rendered_and_equal_targets_gathered_once_a_step(renderer):
    soft = Counting()
    stack = StackFeed([feed(renderer, soft=soft), feed(renderer), feed(renderer, soft=soft), feed(renderer, seed=1)])
    batches = next(stack.epoch(0))
    assert len(list(stack.epoch(1))) == 4
    renderer.rendered = soft.gathered = 0
    assert len(list(stack.epoch(0))) == 4
    assert renderer.rendered == 2 * 4
    assert soft.gathered == 4
    assert batches[0] is batches[2]
    assert batches[0].inputs is batches[1].inputs
    assert batches[0].inputs is not batches[3].inputs


def test_soft_targets_are_prefetched(renderer):
    soft = Counting()
    next(StackFeed([feed(renderer, soft=soft), feed(renderer, soft=soft)]).epoch(0))
    assert soft.prefetched == 2  # this epoch's view and the next one's


@pytest.mark.parametrize("other", [{"rows": torch.arange(20)}, {"batch": 10}])
def test_feeds_of_other_lengths_are_refused(renderer, other):
    with pytest.raises(InputError, match="equally many samples and steps; given were"):
        StackFeed([feed(renderer), feed(renderer, **other)])


def test_a_stack_needs_a_feed():
    with pytest.raises(InputError, match="equally many samples and steps"):
        StackFeed([])


def test_other_samples_in_equal_number_go_together(renderer):
    feeds = [feed(renderer, rows=torch.arange(20)), feed(renderer, rows=torch.arange(10, 30))]
    for batches, *own in zip(StackFeed(feeds).epoch(0), *(each.epoch(0) for each in feeds), strict=True):
        for batch, expected in zip(batches, own, strict=True):
            same(batch, expected)
