"""The pass reads each block once, gives the same on every scheduler and cut, and compares rows with rows."""

from __future__ import annotations

import tracemalloc
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_logits import MemoryStore, memory_store

from logitcache import statistics
from logitcache.errors import InputError, MissingError
from logitcache.statistics import Other, block, sources
from logitcache.statistics.arrays import MOST_TASKS, task_blocks

LOGITS = (*statistics.LOGIT_MEASURES, "covariance")


@dataclass(frozen=True)
class Rows:
    """A measure that adds up row numbers, labels, and the other's logits beside its own."""

    name: str = "rows"
    needs: frozenset[str] = frozenset()
    seen: list[tuple[int, int]] = field(default_factory=list, compare=False)

    def tally(self, found):
        self.seen.append((found.view, found.first))
        other = 0.0 if found.other is None else float((found.other.logits - found.logits).sum())
        numbers = np.arange(found.first, found.first + found.rows)
        return {"sums": np.array([numbers.sum(), found.labels[found.known].sum(), found.rows, other])}

    def merge(self, a, b):
        return {"sums": a["sums"] + b["sums"]}

    def dataset(self, total, about):
        return xr.Dataset({"sums": (("what",), total["sums"])}, attrs={"other": about.other})


class Steps:
    """A bar that counts."""

    def __init__(self):
        self.steps = self.done = 0

    @contextmanager
    def __call__(self, what, steps):
        self.steps += steps
        yield self

    def advance(self, count):
        self.done += count


@dataclass(frozen=True)
class Spread:
    """The summed variance over views."""

    name: str = "spread"
    needs: frozenset[str] = frozenset({"views"})

    def tally_views(self, blocks):
        stack = [each.logits.astype(np.float64) for each in blocks]
        return {"spread": np.var(stack, axis=0).sum()}

    def merge(self, a, b):
        return {"spread": a["spread"] + b["spread"]}

    def dataset(self, total, about):
        return xr.Dataset({"spread": ((), total["spread"])})


def assert_alike(one, other, close):
    assert set(one.children) == set(other.children)
    for name, group in one.children.items():
        for variable, values in group.data_vars.items():
            same = other[name][variable]
            assert np.allclose(values, same, rtol=close, atol=close, equal_nan=True), (name, variable)


def test_each_clean_block_is_read_once_for_all_measures():
    store = memory_store(20)
    statistics.compute(store, LOGITS)
    for reader in store.readers.values():
        assert sorted(reader.reads) == [(0, 0), (0, 1), (0, 2)]


def test_measures_of_views_share_what_the_others_read():
    store = memory_store(20)
    found = statistics.compute(store, [Rows(), Spread()], teachers=["big"], splits=["test"])
    reader = store.readers["big", "test"]
    assert sorted(reader.reads) == [(view, number) for view in range(3) for number in range(3)]
    assert found["spread"].spread.item() == pytest.approx(reader.values.astype(np.float64).var(axis=0).sum())
    assert found["rows"].sums.values.squeeze()[2] == 53


def test_all_views_are_measured_when_asked_for():
    found = statistics.compute(memory_store(), ["moments"], views="all")
    assert (found["moments"].samples == 3 * 53).all()
    assert found.attrs["views"] == "all"


@settings(max_examples=4, deadline=None)
@given(block_rows=st.integers(4, 60))
def test_results_do_not_depend_on_blocks(block_rows):
    stores = (memory_store(size) for size in (53, block_rows))
    one, other = (statistics.compute(store, LOGITS, splits=["test"], scheduler="sync") for store in stores)
    assert_alike(one, other, 2e-5)


def test_of_very_many_blocks_a_task_measures_several(monkeypatch):
    whole = statistics.compute(memory_store(9), [*LOGITS, Spread()], scheduler="sync")
    monkeypatch.setattr("logitcache.statistics.arrays.MOST_TASKS", 3)
    store, bar = memory_store(9), Steps()
    measured = statistics.compute(store, [*LOGITS, Spread()], scheduler="sync", watch=bar)
    assert_alike(whole, measured, 2e-5)
    reader = store.readers["big", "test"]
    assert {(0, number) for number in range(6)} == {place for place in reader.reads if place[0] == 0}
    assert bar.steps == bar.done == 3 * len(store.readers)


@pytest.mark.parametrize("blocks", [1, 4096, 4097, 10**6])
def test_tasks_have_every_block_once_and_are_never_many(blocks):
    parts = task_blocks(blocks)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == blocks
    assert len(parts) <= MOST_TASKS
    assert (max(map(len, parts)) == 1) == (blocks <= MOST_TASKS)


def test_results_are_the_same_bits_under_threads_and_without():
    store = memory_store(9)
    threads, plain = (
        statistics.compute(store, LOGITS, teachers=["big"], scheduler=name) for name in ("threads", "sync")
    )
    assert_alike(threads, plain, 0)


def test_a_client_gives_what_threads_give():
    distributed = pytest.importorskip("distributed")
    store = memory_store(9)
    names = ["moments", "tau"]
    with distributed.Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as client:
        ours = statistics.compute(store, names, scheduler=client)
        address = statistics.compute(store, names, scheduler=client.scheduler.address)
    plain = statistics.compute(store, names)
    assert_alike(ours, plain, 0)
    assert_alike(address, plain, 0)


def test_long_blocks_are_measured_in_runs(monkeypatch):
    monkeypatch.setattr(sources, "BLOCK_BYTES", 4 * 7 * 10)
    measure = Rows()
    found = statistics.compute(memory_store(53), [measure], teachers=["big"], splits=["train"])
    assert [first for _, first in measure.seen] == [0, 10, 20, 30, 40, 50]
    assert found["rows"].sums.values.squeeze()[0] == sum(range(53))
    assert block.BLOCK_BYTES > 1 << 20


def test_views_of_long_blocks_are_measured_in_runs_of_rows(monkeypatch):
    store, whole = memory_store(20), statistics.compute(memory_store(20), [Rows(), Spread(), "views"])
    monkeypatch.setattr(sources, "VIEWS_BYTES", 4 * 7 * 8 * (len(statistics.TAUS) + 1))  # 8 rows at a time
    single = Rows()
    found = statistics.compute(store, [single, Spread(), "views"])
    assert_alike(found, whole, 1e-6)
    assert sorted(single.seen) == sorted([(0, 0), (0, 20), (0, 40)] * 4), "others see whole blocks, once"
    reads = store.readers["big", "test"].reads
    assert reads.count((2, 0)) == 2 * 3, "two measures of views, three runs of a block of 20 rows"
    assert reads.count((2, 2)) == 2 * 2, "two runs of the last block of 13"


def test_what_views_keep_grows_neither_with_their_number_nor_beyond_its_bound():
    def peak(views):
        store = memory_store(400, samples=400, classes=50, views=views)
        tracemalloc.start()
        statistics.compute(store, ["views"], teachers=["big"], splits=["test"], taus=(1, 2, 4), scheduler="sync")
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    peak(2)  # what is imported on the way
    few, many = (min(peak(views) for _ in range(3)) for views in (4, 40))  # other tests' threads allocate too
    assert many < 1.1 * few
    assert few < 3e6 + 4 * 400 * 50 * (3 + 0.5)


@pytest.mark.parametrize("block_rows", [3, 20, 60])
def test_the_rows_of_another_teacher_are_the_same_rows(block_rows):
    store, other = memory_store(20), memory_store(block_rows, seed=1)
    other.url = "another"
    found = statistics.compute(store, [Rows(needs=frozenset({"other"}))], against=[Other(other, "small")])
    assert found["rows"].attrs["other"] == "another:small"
    for (teacher, split), reader in store.readers.items():
        beside = other.readers["small", split].values[0].astype(np.float64)
        expected = (beside - reader.values[0]).sum()
        assert float(found["rows"].sums.sel(teacher=teacher, split=split)[3]) == pytest.approx(expected, rel=1e-4)


def test_what_cannot_be_compared_is_refused():
    store, short, moved = memory_store(), memory_store(samples=40), memory_store()
    short.url = moved.url = "another"
    moved.indices = {split: np.arange(53) + 1 for split in moved.splits}
    with pytest.raises(InputError, match="has 40 samples"):
        statistics.compute(store, ["pair"], against=[Other(short, "big")])
    with pytest.raises(InputError, match="other samples"):
        statistics.compute(store, ["pair"], against=[Other(moved, "big")])
    with pytest.raises(InputError, match="nothing to measure"):
        statistics.compute(store, ["pair"], against=[Other(store, "nobody")])
    with pytest.raises(InputError, match="--against"):
        statistics.compute(store, ["pair"])


def test_a_missing_block_is_an_error_and_a_missing_view_is_none():
    store = memory_store()
    store.readers["big", "train"].missing = ((1, 1),)
    statistics.compute(store, ["moments"])
    store.readers["big", "train"].missing = ((0, 1),)
    with pytest.raises(MissingError, match="block 1 of view 0"):
        statistics.compute(store, ["moments"])


def test_what_a_teacher_lacks_is_nan():
    store = memory_store()
    del store.readers["small", "train"]
    found = statistics.compute(store, ["moments"])["moments"]
    assert found.sizes["teacher"] == found.sizes["split"] == 2
    assert np.isnan(found.samples.sel(teacher="small", split="train"))
    assert found["mean"].sel(teacher="big", split="train").notnull().all()
    assert found["mean"].attrs["units"] == "logits"


def test_without_names_all_are_made_whose_needs_are_met():
    store = memory_store()
    store.truth["test"][:] = -1
    found = statistics.compute(store)
    assert {*LOGITS, "labels"} == set(found.children)
    assert found["agreement"].split.values.tolist() == ["train"]
    both = statistics.compute(store, against=[Other(store, "big")])
    assert set(both.children) - set(found.children) == {"pair"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measures": ["mean"]}, "'mean' is not known; there are moments"),
        ({"measures": ["tau", "tau"]}, "asked for twice"),
        ({"measures": []}, "no measure"),
        ({"taus": (1.0, 0.0)}, "above 0"),
        ({"taus": ()}, "at least one"),
        ({"teachers": ["huge"]}, "no teacher 'huge'; it has big, small"),
        ({"splits": ["val"]}, "no split 'val'"),
        ({"measures": ["penultimate"]}, "without features"),
        ({"scheduler": "magic"}, "allowed are threads"),
    ],
)
def test_what_is_asked_wrongly_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        statistics.compute(memory_store(), **options)


def test_measures_of_labels_need_a_known_label():
    store = memory_store()
    store.truth = {split: np.full(53, 7) for split in store.truth}
    with pytest.raises(InputError, match="no true class is known"):
        statistics.compute(store, ["agreement"])


def test_an_empty_store_has_nothing_to_measure():
    with pytest.raises(InputError, match="nothing to measure"):
        statistics.compute(MemoryStore({}, {"train": np.zeros(3, np.int64)}))
