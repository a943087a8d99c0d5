"""A stream of cached batches is a function of (seed, epoch), whatever the workers and ranks, wherever it is left."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest
import torch
from builders import Plan, make_split
from faraway import far_store
from forked import preload
from torch.utils.data import DataLoader

from logitcache.errors import InputError
from logitcache.soft_targets import CachedStream, open_store
from logitcache.store import LogitsReader
from logitcache.views import Renderer, ViewOptions, view_policy

preload()

VIEWS = ViewOptions(kind="crop_flip", count=2, padding=1)
SPLIT = make_split(30)
POLICY = tuple(view_policy(SPLIT, VIEWS).items())
PLAN = Plan(views=3, samples=30, classes=3, block_rows=8, fingerprint=SPLIT.fingerprint, policy=POLICY, features=5)
STATEFUL = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata says it of itself
WINDOWED = 100  # bytes for soft targets: two blocks


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "store"
    PLAN.write(path)
    return path


@pytest.fixture
def soft(path):
    return open_store(path).soft_targets()


def make(soft, batch=4, **options):
    return CachedStream(SPLIT, soft, VIEWS, batch=batch, seed=5, **options)


def load(stream, workers=0, start="fork"):
    extra = {"multiprocessing_context": start, "timeout": 100} if workers else {}
    return DataLoader(stream, batch_size=None, num_workers=workers, **extra)


def inputs(view):
    return torch.cat([part.inputs for part in Renderer(SPLIT, VIEWS).stream([(torch.arange(30), view)], 64)])


def rows_of(batch, soft, view):
    """The rows of a batch, each part of it checked against the renderer, the labels and the gathered logits."""
    images, labels, logits = batch
    found = [torch.nonzero((inputs(view) == image).flatten(1).all(1)).flatten().tolist() for image in images]
    rows = [row for [row] in found]
    assert torch.equal(labels, SPLIT.labels[rows])
    assert torch.equal(logits, soft.gather(torch.tensor(rows), view))
    return rows


def passes(loader, soft, *epochs):
    """The rows of each batch of some epochs."""
    found = []
    for epoch in epochs:
        getattr(loader, "dataset", loader).set_epoch(epoch)
        found.append([rows_of(batch, soft, 1 + epoch % 2) for batch in loader])
    return found


def expected(soft, epoch, batch=4):
    return [rows.tolist() for rows in soft.order(5, epoch).split(batch)]


@pytest.mark.parametrize("memory", [1 << 20, WINDOWED], ids=["resident", "windowed"])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_come_in_the_order_of_the_soft_targets(path, memory, workers):
    soft = open_store(path).soft_targets(memory=memory)
    assert (soft.window is not None) == (memory == WINDOWED)
    stream = make(soft)
    assert len(stream) == len(load(stream, workers)) == 8
    assert passes(load(stream, workers), soft, 0, 1, 2) == [expected(soft, epoch) for epoch in range(3)]


@pytest.mark.parametrize("start", ["fork", "forkserver"])
def test_workers_of_any_start_method_that_live_on_are_told_of_the_next_epoch(soft, start):
    loader = DataLoader(
        make(soft),
        batch_size=None,
        num_workers=2,
        multiprocessing_context=start,
        persistent_workers=True,
        timeout=100,
    )
    assert passes(loader, soft, 0, 3) == [expected(soft, 0), expected(soft, 3)]


def test_a_store_that_does_not_fit_is_decoded_once_an_epoch(path, monkeypatch):
    counted, real = Counter(), LogitsReader.values

    def values(self, view, block):
        counted[view, block] += 1
        return real(self, view, block)

    monkeypatch.setattr(LogitsReader, "values", values)
    stream = make(open_store(path).soft_targets(memory=WINDOWED))
    list(stream)
    assert counted == dict.fromkeys([(1, block) for block in range(4)], 1)


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_out_the_global_batches(soft, world):
    streams = [make(soft, rank=rank, world=world) for rank in range(world)]
    assert {len(stream) for stream in streams} == {8}
    each = [passes(stream, soft, 1)[0] for stream in streams]
    together = [[row for part in parts for row in part] for parts in zip(*each, strict=True)]
    if world == 3:  # two rows for three ranks: the third repeats the first row
        assert together[-1].pop() == together[-1][0]
    assert together == expected(soft, 1)


def test_the_last_batch_can_be_left_out(soft):
    stream = make(soft, drop_last=True)
    assert len(stream) == 7
    assert passes(load(stream, 2), soft, 0) == [expected(soft, 0)[:7]]


def test_chosen_rows_other_labels_and_features_come_along(path, soft):
    features = open_store(path).feature_targets(memory=100)
    rows, labels = torch.tensor([21, 4, 9, 0, 29]), torch.arange(30) + 100
    stream = make(soft, rows=rows, labels=labels, features=features)
    batches = list(stream)
    seen = torch.cat([batch[1] for batch in batches]) - 100
    order = features.order(5, 0)  # the tighter window
    assert features.window is not None
    assert seen.tolist() == order[torch.isin(order, rows)].tolist()
    assert [len(batch[0]) for batch in batches] == [4, 1]
    for images, given, logits, penultimate in batches:
        assert torch.equal(images, inputs(1)[given - 100])
        assert torch.equal(logits, soft.gather(given - 100, 1))
        assert torch.equal(penultimate, features.gather(given - 100, 1))


@STATEFUL
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("done", [0, 1, 3, 7, 8])
def test_a_stateful_loader_goes_on_with_the_next_batch(soft, workers, done):
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")

    def loader():
        stream = make(soft)
        stream.set_epoch(1)
        return torchdata.StatefulDataLoader(stream, batch_size=None, num_workers=workers)

    first = loader()
    left = iter(first)
    before = [rows_of(next(left), soft, 2) for _ in range(done)]
    state = pickle.loads(pickle.dumps(first.state_dict()))  # noqa: S301
    second = loader()
    second.load_state_dict(state)
    after = [rows_of(batch, soft, 2) for batch in second]
    assert before + after == expected(soft, 1)
    assert passes(second, soft, 2) == [expected(soft, 2)]


@STATEFUL
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("done", [0, 1, 2])
def test_the_epoch_that_was_left_is_in_the_state(soft, workers, done):
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")
    first, second = (torchdata.StatefulDataLoader(make(soft), batch_size=None, num_workers=workers) for _ in range(2))
    first.dataset.set_epoch(3)
    left = iter(first)
    for _ in range(done):
        next(left)
    second.load_state_dict(first.state_dict())  # of which the second has not been told
    assert [rows_of(batch, soft, 2) for batch in second] == expected(soft, 3)[done:]


@STATEFUL
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_whose_epoch_was_over_goes_on_with_the_one_that_is_set(soft, workers):
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")
    first, second = (torchdata.StatefulDataLoader(make(soft), batch_size=None, num_workers=workers) for _ in range(2))
    passes(first, soft, 1)
    second.load_state_dict(first.state_dict())
    assert passes(second, soft, 2, 3) == [expected(soft, 2), expected(soft, 3)]


def test_the_stream_itself_keeps_its_place(soft):
    stream, other = make(soft), make(soft)
    stream.set_epoch(4)
    assert (stream.state_dict()["epoch"], stream.state_dict()["step"]) == (4, 0)
    left = iter(stream)
    for step in range(1, 4):
        next(left)
        assert (stream.state_dict()["epoch"], stream.state_dict()["step"]) == (4, step)
    other.load_state_dict(stream.state_dict())
    assert other.state_dict() == stream.state_dict()
    assert passes(other, soft, 4, 5) == [expected(soft, 4)[3:], expected(soft, 5)]
    assert other.state_dict()["step"] == 0


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_position_given_by_hand_serves_any_number_of_workers(soft, workers):
    stream = make(soft)
    stream.load_state_dict({"epoch": 1, "step": 3})
    assert passes(load(stream, workers), soft, 1, 2) == [expected(soft, 1)[3:], expected(soft, 2)]


def test_a_loaded_position_is_forgotten_where_another_epoch_is_set(soft):
    stream = make(soft)
    stream.load_state_dict({"epoch": 1, "step": 3})
    assert passes(stream, soft, 2, 1) == [expected(soft, 2), expected(soft, 1)]


def test_a_second_pass_begins_at_the_beginning(soft):
    stream = make(soft)
    stream.load_state_dict({"epoch": 0, "step": 6})
    assert [len(list(stream)) for _ in range(2)] == [2, 8]
    next(iter(stream))
    assert len(list(stream)) == 8


@pytest.mark.parametrize(
    ("change", "fault"),
    [({"batch": 5}, r"batch 4 \(here 5\)"), ({"seed": 6}, "order"), ({"rows": torch.arange(9)}, "order")],
)
def test_a_position_in_another_order_is_refused(soft, change, fault):
    state = make(soft).state_dict()
    other = CachedStream(SPLIT, soft, VIEWS, **{"batch": 4, "seed": 5, **change})
    with pytest.raises(InputError, match=f"the position is of another order, {fault}"):
        other.load_state_dict({**state, "step": 2})


def test_memory_that_makes_another_order_is_noticed(path, soft):
    state = {**make(soft).state_dict(), "step": 2}
    with pytest.raises(InputError, match="memory for soft targets"):
        make(open_store(path).soft_targets(memory=WINDOWED)).load_state_dict(state)


def test_negative_positions_are_refused(soft):
    with pytest.raises(InputError, match="epoch 1, step -1: both must be 0 or more"):
        make(soft).load_state_dict({"epoch": 1, "step": -1})


@pytest.mark.parametrize(("rank", "world", "batch"), [(2, 2, 4), (-1, 2, 4), (0, 5, 4), (0, 0, 4), (0, 1, 0)])
def test_ranks_and_batches_that_do_not_fit_are_refused(soft, rank, world, batch):
    with pytest.raises(InputError, match=f"rank {rank} of {world}, batch {batch}; it must be that"):
        make(soft, batch=batch, rank=rank, world=world)


def test_a_remote_store_is_refused_in_forked_workers_only(path):
    far = far_store(path).soft_targets()
    stream = make(far)
    assert passes(stream, far, 0) == [expected(far, 0)]
    with pytest.raises(InputError, match=r'far://store is remote.*multiprocessing_context="forkserver" or "spawn"'):
        next(iter(load(stream, 1)))
    assert passes(load(stream, 1, "forkserver"), far, 0) == [expected(far, 0)]
