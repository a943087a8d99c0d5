"""The top entries of a row come back in order, the top class stays the top class, and nothing is above the head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from textbook import KINDS, realistic

from logitcache.store.encodings.head import Head, apply_head, head_of

coarse = st.integers(-8, 8).map(lambda n: n / 2)
"""Logits with many ties."""


def decoded(logits, entries, step, level=None, noise=2.0):
    """A row's noisy logits with its head applied."""
    head = head_of(logits, entries, step, level)
    generator = torch.Generator().manual_seed(0)
    rough = logits + noise * torch.randn(logits.shape, generator=generator)
    return apply_head(rough, head.classes, head.values(step, level))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.data())
def test_gaps_come_back_as_the_codes(entries, data):
    codes = data.draw(arrays(np.int32, (3, entries), elements=st.integers(-(2**20), 2**20)))
    head = Head(torch.zeros(3, entries, dtype=torch.int64), torch.from_numpy(-np.sort(-codes, axis=1)))
    gaps = head.gaps
    assert gaps.dtype == torch.int32
    assert (gaps[:, 1:] >= 0).all()
    back = Head.from_gaps(head.classes.to(torch.int16), gaps)
    assert torch.equal(back.codes, head.codes)
    assert (back.codes.dtype, back.classes.dtype) == (torch.int32, torch.int64)


@settings(max_examples=150, deadline=None)
@given(arrays(np.float32, (4, 9), elements=coarse), st.integers(1, 8), st.sampled_from([0.25, 1.0, 7.0]))
def test_the_top_class_survives_ties_and_the_coarsest_step(logits, entries, step):
    """Equal logits, equal codes, and classes beside the head that are clamped to its end."""
    logits = torch.from_numpy(logits)
    assert torch.equal(decoded(logits, entries, step).argmax(1), logits.argmax(1))


@pytest.mark.parametrize("entries", [1, 2, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_the_top_class_survives_in_logits_like_a_networks(kind, entries):
    logits = torch.from_numpy(realistic(400, 60, kind=kind))
    assert torch.equal(decoded(logits, entries, 0.25).argmax(1), logits.argmax(1))
    bf16 = logits.bfloat16().float()  # what a network in bf16 gives has ties
    assert torch.equal(decoded(bf16, entries, 0.25).argmax(1), bf16.argmax(1))


@settings(max_examples=100, deadline=None)
@given(arrays(np.float32, (4, 9), elements=coarse), st.integers(1, 8))
def test_a_head_is_made_of_different_classes_that_none_is_above(logits, entries):
    logits = torch.from_numpy(logits)
    classes = head_of(logits, entries, 0.25).classes
    for row, chosen in zip(logits, classes.tolist(), strict=True):
        assert len(set(chosen)) == entries
        assert torch.equal(row[chosen], row.sort(descending=True).values[:entries])


@pytest.mark.parametrize("level", [None, 0, 1, 5])
def test_entries_are_off_by_half_a_step_and_what_keeps_them_apart(level):
    logits, step = torch.from_numpy(realistic(200, 60)), 0.25
    levels = None if level is None else torch.full((200,), level, dtype=torch.int8)
    head = head_of(logits, 8, step, levels)
    finer = step * 0.5 ** (level or 0)
    error = head.values(step, levels)[:, :8] - logits.gather(1, head.classes)
    assert error.max() <= finer / 2 + 1e-5
    assert error.min() >= -finer * (1 / 2 + 7 / 64) - 1e-5
    assert (head.values(step, levels).diff() <= -finer / 64 + 1e-6).all()


def test_each_row_has_a_level_of_its_own():
    logits = torch.from_numpy(realistic(4, 60))
    levels = torch.tensor([0, 3, 0, 1], dtype=torch.int8)
    together = head_of(logits, 8, 0.5, levels)
    values = together.values(0.5, levels)
    for row in range(4):
        cut, one = slice(row, row + 1), levels[row : row + 1]
        alone = head_of(logits[cut], 8, 0.5, one)
        assert torch.equal(alone.codes, together.codes[cut])
        assert torch.equal(alone.values(0.5, one), values[cut])


def test_nothing_beside_the_head_is_above_it():
    logits = torch.from_numpy(realistic(100, 60))
    head = head_of(logits, 8, 0.25)
    found = apply_head(torch.full((100, 60), 1e3), head.classes, head.values(0.25, None))
    beside = torch.ones(100, 60, dtype=torch.bool).scatter_(1, head.classes, False)
    last = found.gather(1, head.classes).amin(1)
    others = found[beside].reshape(100, 52)
    assert torch.equal(others, (last - 0.25 / 64)[:, None].expand(100, 52))
    low = apply_head(torch.full((100, 60), -1e3), head.classes, head.values(0.25, None))
    assert (low[beside] == -1e3).all()
