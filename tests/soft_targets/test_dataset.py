"""A DataLoader over cached targets gives each sample its own input, label and logits, in the epoch's view."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from builders import Plan, make_split
from torch.utils.data import DataLoader

from logitcache.errors import InputError, MismatchError, MissingError, UnknownOriginWarning
from logitcache.soft_targets import CachedDataset, open_store
from logitcache.store import UNKNOWN
from logitcache.views import Renderer, ViewOptions, view_policy

VIEWS = ViewOptions(kind="crop_flip", count=2, padding=1)
SPLIT = make_split(30)
POLICY = tuple(view_policy(SPLIT, VIEWS).items())
PLAN = Plan(views=3, samples=30, classes=3, block_rows=8, fingerprint=SPLIT.fingerprint, policy=POLICY)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("cached") / "store"
    PLAN.write(path)
    return path


@pytest.fixture(params=[1 << 20, 1], ids=["resident", "windowed"])
def soft(path, request):
    return open_store(path).soft_targets(memory=request.param)


def inputs(view):
    return torch.cat([part.inputs for part in Renderer(SPLIT, VIEWS).stream([(torch.arange(30), view)], 64)])


def test_set_epoch_chooses_the_view_of_input_and_logits(soft):
    dataset = CachedDataset(SPLIT, soft, VIEWS)
    assert len(dataset) == 30
    for epoch, view in enumerate((1, 2, 1)):
        dataset.set_epoch(epoch)
        image, label, logits = dataset[17]
        assert torch.equal(image, inputs(view)[17])
        assert label.item() == SPLIT.labels[17]
        assert torch.equal(logits, soft.gather(torch.tensor([17]), view)[0])


def test_without_views_the_clean_one_is_shown(soft):
    dataset = CachedDataset(SPLIT, soft)
    dataset.set_epoch(5)
    assert torch.equal(dataset[3][0], inputs(0)[3])
    assert torch.equal(dataset[3][2], soft.gather(torch.tensor([3]), 0)[0])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("begin", ["set_epoch", "prefetch", "nothing"])
def test_a_shuffling_loader_gives_what_gathering_gives(soft, workers, begin):
    dataset = CachedDataset(SPLIT, soft, VIEWS)
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(
        dataset, batch_size=7, shuffle=True, num_workers=workers, generator=generator, timeout=workers * 20
    )
    for epoch, view in enumerate((1, 2) if begin == "set_epoch" else (1,)):
        if begin == "set_epoch":
            dataset.set_epoch(epoch)
        if begin == "prefetch":
            soft.prefetch(view)  # may still be on its way when the workers are forked
        images, labels, logits = (torch.cat(parts) for parts in zip(*loader, strict=True))
        rows = [find(image, inputs(view)) for image in images]
        assert sorted(rows) == list(range(30)) != rows
        assert torch.equal(labels, SPLIT.labels[rows])
        assert torch.equal(logits, soft.gather(torch.tensor(rows), view))


def find(image, images):
    [row] = [row for row in range(len(images)) if torch.equal(images[row], image)]
    return row


def test_a_missing_view_is_said_before_the_epoch(tmp_path, unsynced):
    PLAN.write(tmp_path, leave_out={(2, 1)})
    dataset = CachedDataset(SPLIT, open_store(tmp_path).soft_targets(), VIEWS)
    dataset.set_epoch(0)
    with pytest.raises(MissingError, match="block 1 of view 2"):
        dataset.set_epoch(1)


def test_views_beyond_those_stored_are_not_shown(soft):
    dataset = CachedDataset(SPLIT, soft, VIEWS.model_copy(update={"count": 9}))
    seen = set()
    for epoch in range(9):
        dataset.set_epoch(epoch)
        seen.add(dataset.view)
    assert seen == {1, 2}


def test_another_number_of_samples_is_refused(soft):
    with pytest.raises(InputError, match="the data set has 29 samples, the soft targets have 30"):
        CachedDataset(make_split(29), soft)


def test_other_samples_and_another_view_policy_are_refused(soft):
    other = replace(SPLIT, fingerprint="0" * 16)
    with pytest.raises(MismatchError, match=rf"{SPLIT.fingerprint} .*given was {'0' * 16}"):
        CachedDataset(other, soft)
    with pytest.raises(MismatchError, match=r"the view policy differs: .*padding = 1.*padding = 2"):
        CachedDataset(SPLIT, soft, VIEWS.model_copy(update={"padding": 2}))


def test_imported_logits_are_accepted_by_their_count(tmp_path, unsynced):
    plan = replace(PLAN, fingerprint=UNKNOWN, policy=(("kind", UNKNOWN),))
    plan.write(tmp_path / "store")
    soft = open_store(tmp_path / "store").soft_targets()
    with pytest.warns(UnknownOriginWarning, match="of which samples and views its logits are is not known"):
        assert len(CachedDataset(SPLIT, soft, VIEWS)) == 30
