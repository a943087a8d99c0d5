"""What a training loop is fed: every sample once an epoch, each beside the label and the logits that belong to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from builders import make_split

from logitcache.soft_targets import SoftTargets
from logitcache.store import (
    EncodingOptions,
    SplitContent,
    SplitRecord,
    StoreRecord,
    TeacherContent,
    TeacherRecord,
    create_store,
    open_store,
    resolve,
)
from logitcache.student.feed import FeedOptions, ViewFeed
from logitcache.views import MixOptions, Renderer, ViewOptions

SAMPLES, CLASSES = 30, 3
VIEWS = ViewOptions(kind="crop_flip", padding=2, count=2, seed=5)


@dataclass(frozen=True)
class Known:
    """Batches whose rows can be told from their logits: row r of view v has logits (r, v, -1)."""

    rows: torch.Tensor
    views: torch.Tensor

    @staticmethod
    def of(batches) -> Known:
        logits = torch.cat([batch.teacher for batch in batches])
        assert (logits[:, 2] == -1).all()
        return Known(logits[:, 0].long(), logits[:, 1].long())


@pytest.fixture(scope="module")
def split():
    return make_split(SAMPLES, CLASSES)


@pytest.fixture(scope="module")
def soft(tmp_path_factory):
    """Soft targets that say where they come from."""
    path = tmp_path_factory.mktemp("feed") / "store.zarr"
    record = TeacherRecord(
        name="big",
        model="cnn",
        weights="w",
        precision="float32",
        provenance="network",
        encoding=resolve(EncodingOptions(kind="lossless")),
        views=1 + VIEWS.count,
        samples=SAMPLES,
        classes=CLASSES,
        block_rows=8,
        chunk_rows=4,
    )
    content = SplitContent(SplitRecord("train", SAMPLES, "f"), np.arange(SAMPLES) % CLASSES, np.arange(SAMPLES))
    root = StoreRecord("noise", ("a", "b", "c"), {"kind": "crop_flip"})
    [writer] = create_store(path, root, [content], [TeacherContent("train", record, {})])
    for view, block in writer.pending():
        rows = np.arange(writer.rows(block).start, writer.rows(block).stop)
        writer.write(view, block, np.stack([rows, np.full_like(rows, view), -np.ones_like(rows)], 1).astype(np.float32))
    return SoftTargets([open_store(path).logits("big")])


def feed(split, soft=None, *, rows=None, batch=7, seed=0, views=2, options=VIEWS, online=None) -> ViewFeed:
    return ViewFeed(Renderer(split, options), rows, FeedOptions(batch, seed, views), soft=soft, online=online)


@pytest.mark.parametrize("batch", [1, 7, 30, 64])
def test_each_sample_comes_once_an_epoch(split, soft, batch):
    batches = list(feed(split, soft, batch=batch).epoch(0))
    assert sorted(Known.of(batches).rows.tolist()) == list(range(SAMPLES))
    assert len(batches) == feed(split, soft, batch=batch).steps


def test_of_some_rows_each_comes_once_and_no_other(split, soft):
    chosen = torch.tensor([2, 3, 11, 29, 17])
    some = feed(split, soft, rows=chosen, batch=2)
    assert (some.samples, some.steps) == (5, 3)
    for epoch in range(3):
        assert sorted(Known.of(some.epoch(epoch)).rows.tolist()) == sorted(chosen.tolist())


def test_soft_targets_and_labels_belong_to_the_row_and_view_of_the_input(split, soft):
    renderer = Renderer(split, VIEWS)
    for epoch in range(3):
        for batch in feed(split, soft).epoch(epoch):
            known = Known.of([batch])
            assert (known.views == 1 + epoch % 2).all()
            assert torch.equal(batch.labels, split.labels[known.rows])
            [plain] = renderer.stream([(known.rows, known.views)], len(known.rows))
            assert torch.equal(batch.inputs, plain.inputs)


def test_without_augmented_views_the_clean_one_is_shown(split, soft):
    for epoch in (0, 1, 5):
        assert (Known.of(feed(split, soft, views=0).epoch(epoch)).views == 0).all()


def test_an_epoch_is_the_same_again_and_another_one_is_in_another_order(split, soft):
    first, again, other = (
        Known.of(feed(split, soft, seed=seed).epoch(epoch)).rows.tolist() for seed, epoch in ((3, 1), (3, 1), (3, 2))
    )
    assert first == again != other
    assert Known.of(feed(split, soft, seed=4).epoch(1)).rows.tolist() != first


def test_hard_labels_and_soft_targets_walk_in_the_same_order(split, soft):
    hard = torch.cat([batch.labels for batch in feed(split).epoch(0)])
    assert torch.equal(hard, torch.cat([batch.labels for batch in feed(split, soft).epoch(0)]))


def test_hard_labels_come_without_teacher_and_partner(split):
    batch = next(iter(feed(split).epoch(0)))
    assert (batch.teacher, batch.partner_labels, batch.weight) == (None, None, None)


def test_an_online_teacher_is_given_the_very_inputs(split):
    for batch in feed(split, online=lambda inputs: inputs.flatten(1)[:, :CLASSES] * 2).epoch(0):
        assert torch.equal(batch.teacher, batch.inputs.flatten(1)[:, :CLASSES] * 2)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_samples_carry_their_partners_label_and_their_own_share(split, soft, kind):
    options = VIEWS.model_copy(update={"mix": MixOptions(kind=kind, alpha=1.0)})
    seen = 0
    for batch in feed(split, soft, options=options).epoch(0):
        known = Known.of([batch])
        [plain] = Renderer(split, options).stream([(known.rows, known.views)], len(known.rows))
        assert torch.equal(batch.labels, split.labels[known.rows])
        assert torch.equal(batch.partner_labels, split.labels[plain.partner])
        assert torch.equal(batch.weight, plain.weight)
        seen += int((batch.partner_labels != batch.labels).sum())
    assert seen > 5


def test_mixup_mixes_inputs_as_the_weight_says(split, soft):
    options = VIEWS.model_copy(update={"mix": MixOptions(kind="mixup", alpha=1.0)})
    plain = Renderer(split, VIEWS)
    for batch in feed(split, soft, options=options).epoch(0):
        known = Known.of([batch])
        [mixed] = Renderer(split, options).stream([(known.rows, known.views)], len(known.rows))
        [own] = plain.stream([(known.rows, known.views)], len(known.rows))
        [partner] = plain.stream([(mixed.partner, known.views)], len(known.rows))
        weight = batch.weight[:, None, None, None]
        expected = weight * own.inputs + (1 - weight) * partner.inputs
        torch.testing.assert_close(batch.inputs, expected, rtol=1e-5, atol=1e-5)
