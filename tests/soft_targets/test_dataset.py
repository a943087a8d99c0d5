"""A DataLoader over cached targets gives each sample its own input, label and logits, in the epoch's view."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch
from builders import Plan, make_split
from faraway import far_store
from forked import preload
from torch.utils.data import DataLoader, DistributedSampler

from logitcache.errors import InputError, MismatchError, MissingError, UnknownOriginWarning
from logitcache.soft_targets import CachedDataset, open_store
from logitcache.store import UNKNOWN
from logitcache.views import Renderer, ViewOptions, view_policy

preload()

VIEWS = ViewOptions(kind="crop_flip", count=2, padding=1)
SPLIT = make_split(30)
POLICY = tuple(view_policy(SPLIT, VIEWS).items())
PLAN = Plan(views=3, samples=30, classes=3, block_rows=8, fingerprint=SPLIT.fingerprint, policy=POLICY, features=5)


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


def find(image, images):
    [row] = [row for row in range(len(images)) if torch.equal(images[row], image)]
    return row


def rows_of(loader, soft, view):
    """The rows that a loader gives, each checked against the renderer, the labels and the gathered logits."""
    images, labels, logits = (torch.cat(parts) for parts in zip(*loader, strict=True))
    rows = [find(image, inputs(view)) for image in images]
    assert torch.equal(labels, SPLIT.labels[rows])
    assert torch.equal(logits, soft.gather(torch.tensor(rows), view))
    return rows


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


def test_a_loop_over_it_ends(soft):
    assert len(list(CachedDataset(SPLIT, soft, VIEWS))) == 30


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
        rows = rows_of(loader, soft, view)
        assert sorted(rows) == list(range(30)) != rows


@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn"])
def test_workers_of_any_start_method_follow_the_epochs_of_a_distributed_sampler(path, start):
    soft = open_store(path).soft_targets()
    dataset = CachedDataset(SPLIT, soft, VIEWS)
    sampler = DistributedSampler(dataset, num_replicas=2, rank=1, seed=3)
    loader = DataLoader(
        dataset,
        batch_size=4,
        sampler=sampler,
        num_workers=2,
        multiprocessing_context=start,
        persistent_workers=True,  # which have to be told of the second epoch
        timeout=100,
    )
    for epoch, view in enumerate((1, 2)):
        sampler.set_epoch(epoch)
        dataset.set_epoch(epoch)
        assert rows_of(loader, soft, view) == list(sampler)
        assert len(list(sampler)) == 15


def test_a_pickled_copy_goes_on_in_the_same_view(soft):
    dataset = CachedDataset(SPLIT, soft, VIEWS)
    dataset.set_epoch(1)
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    assert copy.view == 2
    for ours, theirs in zip(dataset[7], copy[7], strict=True):
        assert torch.equal(ours, theirs)


def test_chosen_rows_other_labels_and_features_come_along(path, soft):
    features = open_store(path).feature_targets()
    rows, labels = torch.tensor([21, 4, 9]), torch.arange(30) + 100
    dataset = CachedDataset(SPLIT, soft, VIEWS, rows=rows, labels=labels, features=features)
    dataset.set_epoch(1)
    assert len(dataset) == 3
    for image, label, logits, penultimate in DataLoader(dataset, batch_size=3):
        assert torch.equal(image, inputs(2)[rows])
        assert label.tolist() == [121, 104, 109]
        assert torch.equal(logits, soft.gather(rows, 2))
        assert torch.equal(penultimate, features.gather(rows, 2))


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


def test_a_remote_store_is_refused_in_forked_workers_only(path):
    far = far_store(path).soft_targets()
    dataset = CachedDataset(SPLIT, far, VIEWS)
    dataset.set_epoch(0)
    assert torch.equal(dataset[3][2], far.gather(torch.tensor([3]), 1)[0])
    with pytest.raises(InputError, match=r'far://store is remote.*multiprocessing_context="forkserver" or "spawn"'):
        next(iter(DataLoader(dataset, num_workers=1, multiprocessing_context="fork", timeout=100)))
    loader = DataLoader(dataset, batch_size=16, num_workers=1, multiprocessing_context="forkserver", timeout=100)
    assert rows_of(loader, far, 1) == list(range(30))


def test_another_number_of_samples_labels_or_features_is_refused(tmp_path, soft, unsynced):
    with pytest.raises(InputError, match="the data set has 29 samples, the soft targets have 30"):
        CachedDataset(make_split(29), soft)
    with pytest.raises(InputError, match="the data set has 30 samples, the labels are 29"):
        CachedDataset(SPLIT, soft, labels=torch.arange(29))
    replace(PLAN, samples=20).write(tmp_path)
    with pytest.raises(InputError, match="the data set has 30 samples, the features have 20"):
        CachedDataset(SPLIT, soft, features=open_store(tmp_path).feature_targets())


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (torch.tensor([3, 30]), r"rows 3\.\.30 asked; the data set has 0\.\.29"),
        (torch.tensor([-1, 3]), r"rows -1\.\.3 asked"),
        (torch.tensor([3, 4, 3]), "some of them twice"),
        (torch.tensor([3.0]), r"rows are torch.float32 of shape \(1,\)"),
        (torch.arange(0), "at least one"),
    ],
)
def test_rows_that_are_not_there_or_come_twice_are_refused(soft, rows, fault):
    with pytest.raises(InputError, match=fault):
        CachedDataset(SPLIT, soft, rows=rows)


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
