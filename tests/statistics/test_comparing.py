"""Views are compared with the same views or not at all; the clean view, which every store has, always is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr
from stored_logits import memory_store

from logitcache.errors import InputError, UnknownOriginWarning
from logitcache.statistics import Other, compute
from logitcache.store import UNKNOWN


@dataclass(frozen=True)
class Beside:
    """Which views are seen beside which, and how far apart they are."""

    name: str = "beside"
    needs: frozenset[str] = frozenset({"other"})

    def tally(self, block):
        return {"apart": np.array(float((block.logits - block.other.logits).sum())), "rows": np.array(block.rows)}

    def merge(self, a, b):
        return {name: a[name] + b[name] for name in a}

    def dataset(self, total, about):
        return xr.Dataset({name: ((), values) for name, values in total.items()})


@dataclass(frozen=True)
class Count:
    """How many views there are; compares nothing."""

    name: str = "count"
    needs: frozenset[str] = frozenset({"views"})

    def tally_views(self, blocks):
        return {"views": np.array([each.other is not None for each in blocks])}

    def merge(self, a, b):
        return a

    def dataset(self, total, about):
        return xr.Dataset({"beside": (("view",), total["views"])})


def pair_of_stores(**change):
    """Two stores with other logits of the same samples, the second one changed."""
    ours, theirs = memory_store(views=3), memory_store(views=change.pop("views", 3), seed=1)
    theirs.url = "there"
    for name, value in change.items():
        setattr(theirs, name, value)
    return ours, theirs


def apart(ours, theirs, views):
    found = compute(ours, [Beside()], against=[Other(theirs, "big")], splits=["test"], views=views)["beside"]
    return found.apart.sel(teacher="big").item()


def expected(ours, theirs, views):
    first, second = (store.readers["big", "test"].values[:views].astype(np.float64) for store in (ours, theirs))
    return float((first - second).sum())


@pytest.mark.parametrize("views", [3, 5])
def test_every_view_is_compared_with_the_same_view_of_a_store_that_has_it(views):
    ours, theirs = pair_of_stores(views=views)
    assert apart(ours, theirs, "all") == pytest.approx(expected(ours, theirs, 3), rel=1e-5)
    assert {view for view, _ in theirs.readers["big", "test"].reads} == {0, 1, 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": 2}, "'big' has 3 views in split 'test', and 'there:big', .* has 2; .*--views clean"),
        ({"policy": {"kind": "crop_flip", "seed": 1}}, r"memory are of seed = 0, those of there of seed = 1; .*clean"),
        ({"policy": {"kind": "none"}}, 'kind = "crop_flip", seed = 0, .* kind = "none", seed = null'),
        ({"probe": "2" * 16}, "in split 'test' are of one policy, but were rendered by .*--views clean"),
    ],
)
def test_views_that_are_not_the_same_are_refused_before_anything_is_read(change, message):
    ours, theirs = pair_of_stores(**change)
    ours.probe = "1" * 16
    with pytest.raises(InputError, match=message):
        apart(ours, theirs, "all")
    assert not any(reader.reads for store in (ours, theirs) for reader in store.readers.values())
    assert apart(ours, theirs, "clean") == pytest.approx(expected(ours, theirs, 1), rel=1e-5)


def test_a_store_of_the_clean_view_alone_is_compared_with_any():
    ours, theirs = pair_of_stores(policy={"kind": "none"})
    assert apart(theirs, ours, "clean") == pytest.approx(-expected(ours, theirs, 1), rel=1e-5)
    for reader in theirs.readers.values():
        reader.values = reader.values[:1]
    assert apart(theirs, ours, "all") == pytest.approx(-expected(ours, theirs, 1), rel=1e-5)


def test_teachers_of_one_store_have_views_of_one_policy_but_maybe_not_as_many():
    store = memory_store(views=3)
    assert not np.isnan(apart(store, store, "all"))
    store.readers["big", "test"].values = store.readers["big", "test"].values[:2]
    with pytest.raises(InputError, match=r"'small' has 3 views in split 'test', and 'big', .* has 2"):
        apart(store, store, "all")


def test_imported_views_are_compared_with_a_warning():
    ours, theirs = pair_of_stores(policy={"kind": "unknown"})
    with pytest.warns(UnknownOriginWarning, match="nobody knows which views"):
        found = apart(ours, theirs, "all")
    assert found == pytest.approx(expected(ours, theirs, 3), rel=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        apart(ours, theirs, "clean")


def test_measures_of_views_do_not_make_others_read_more_than_the_clean_view():
    ours, theirs = pair_of_stores(views=1)
    found = compute(ours, [Beside(), Count()], against=[Other(theirs, "big")], splits=["test"])
    assert found["count"].beside.sel(teacher="big").values.ravel().tolist() == [True, False, False]
    assert {view for view, _ in theirs.readers["big", "test"].reads} == {0}
    assert found["beside"].apart.sel(teacher="big").item() == pytest.approx(expected(ours, theirs, 1), rel=1e-5)


def test_another_data_set_is_refused_though_its_samples_have_the_same_numbers():
    ours, theirs = pair_of_stores(fingerprint="other images")
    with pytest.raises(InputError, match="has other samples"):
        apart(ours, theirs, "clean")


def test_samples_of_unknown_origin_are_compared_by_their_numbers():
    ours, theirs = pair_of_stores(fingerprint=UNKNOWN)
    assert apart(ours, theirs, "clean") == pytest.approx(expected(ours, theirs, 1))
