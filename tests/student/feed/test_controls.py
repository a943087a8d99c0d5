"""Labels that are not shown, and soft targets of the clean view beside another one."""

from __future__ import annotations

import pytest
import torch
from known_rows import SAMPLES, Known, feed

from logitcache.soft_targets import FeatureTargets, SoftTargets
from logitcache.student.batches import HIDDEN

SHOWN = torch.tensor([2, 3, 11, 17, 29])


def test_only_labels_of_the_chosen_samples_are_shown(split, soft):
    for batch in feed(split, soft, labelled=SHOWN).epoch(0):
        rows = Known.of([batch]).rows
        known = torch.isin(rows, SHOWN)
        assert torch.equal(batch.labels, split.labels[rows].where(known, torch.tensor(HIDDEN)))
        assert batch.labelled == known.sum()
    assert (split.labels >= 0).all(), "the split keeps its own"


def test_noisy_labels_are_hidden_like_others(split, soft):
    noisy = split.labels.flip(0)
    for batch in feed(split, soft, labels=noisy, labelled=SHOWN).epoch(0):
        rows = Known.of([batch]).rows
        assert torch.equal(batch.labels, noisy[rows].where(torch.isin(rows, SHOWN), torch.tensor(HIDDEN)))


def test_where_all_labels_are_shown_nothing_is_divided_otherwise(split, soft):
    assert {batch.labelled for batch in feed(split, soft).epoch(0)} == {None}


@pytest.mark.parametrize("world", [1, 2, 3, 9])
@pytest.mark.parametrize("start", [0, 3])
def test_the_parts_of_all_ranks_make_the_mean_over_all_labelled_rows(split, soft, world, start):
    whole = feed(split, soft, labelled=SHOWN).epoch(1, start)
    ranks = [feed(split, soft, labelled=SHOWN, rank=rank, world=world).epoch(1, start) for rank in range(world)]
    for batch, *parts in zip(whole, *ranks, strict=True):
        known = batch.labels != HIDDEN
        if not known.any():
            assert {part.labelled for part in parts} == {0.0}
            continue
        sums = [part.teacher[part.labels != HIDDEN, 0].sum().item() for part in parts]
        counted = [(part, total) for part, total in zip(parts, sums, strict=True) if part.share]
        mean = sum(part.share * total / part.labelled for part, total in counted) / world
        assert mean == pytest.approx(batch.teacher[known, 0].mean().item(), rel=1e-5)


def test_clean_targets_are_those_of_view_0_whatever_is_shown(split, soft):
    for epoch in range(3):
        for plain, clean in zip(
            feed(split, soft).epoch(epoch), feed(split, soft, clean=True).epoch(epoch), strict=True
        ):
            assert torch.equal(plain.inputs, clean.inputs)
            assert (Known.of([plain]).views == 1 + epoch % 2).all()
            assert (Known.of([clean]).views == 0).all()
            assert torch.equal(Known.of([plain]).rows, Known.of([clean]).rows)


def test_clean_targets_bring_the_features_and_members_of_view_0(split, store):
    both = SoftTargets([store.logits("big"), store.logits("other")])
    source = feed(split, both, features=FeatureTargets(store.logits("big")), members=True, clean=True)
    for batch in source.epoch(1):
        assert (batch.members[:, :, 1] == 0).all()
        assert (batch.features[:, 1] == 0).all()


def test_only_what_is_read_is_decoded(split, soft, monkeypatch):
    asked = []
    monkeypatch.setattr(SoftTargets, "prefetch", lambda _, view: asked.append(view))
    list(feed(split, soft, clean=True).epoch(0))
    assert set(asked) == {0}
    list(feed(split, soft).epoch(0))
    assert set(asked) == {0, 1, 2}


def test_controls_share_inputs_and_not_batches(split, soft):
    plain = feed(split, soft)
    controls = [feed(split, soft, clean=True), feed(split, soft, labelled=SHOWN), feed(split, soft, labelled=SHOWN[1:])]
    for control in controls:
        control._renderer = plain._renderer
    assert {each.inputs_key for each in controls} == {plain.inputs_key}
    assert len({each.batch_key for each in (plain, *controls)}) == 4
    assert plain.samples == SAMPLES == controls[1].samples
