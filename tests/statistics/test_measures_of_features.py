"""Measures of features and labels through the one pass: a store in blocks measures as one block does."""

from __future__ import annotations

import numpy as np
import pytest
from builders import Plan

from logitcache.statistics.block import Block
from logitcache.statistics.label_quality import LabelQuality
from logitcache.statistics.measure import About
from logitcache.statistics.measuring import compute
from logitcache.statistics.penultimate import Penultimate
from logitcache.statistics.plane import Plane
from logitcache.statistics.similarity import Similarity
from logitcache.statistics.stores import Other
from logitcache.store import open_store

PLAN = Plan(samples=41, features=6, block_rows=8)
MEASURES = (Penultimate(count=3), Plane(), LabelQuality(count=5, per_class=2), Similarity())


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "store.zarr"
    PLAN.write(path)
    return open_store(path)


def whole(store):
    """The clean view as one block beside itself."""
    reader = store.logits("big")
    logits, features = (
        np.concatenate([read(0, block) for block in range(reader.blocks)]) for read in (reader.read, reader.features)
    )
    labels = store.labels("train")
    return Block(logits, labels, features=features, other=Block(logits, labels, features=features))


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_a_store_in_blocks_measures_as_one_block(store, scheduler):
    tree = compute(store, MEASURES, against=[Other(store, "big")], scheduler=scheduler)
    block = whole(store)
    head = store.classifier("big")
    about = About("big", "train", store.classes, 41, other="big", index=store.index("train"), weight=head["weight"])
    for measure in MEASURES:
        found = tree[measure.name].to_dataset().isel(teacher=0, split=0)
        wanted = measure.dataset(measure.tally(block), about)
        assert set(wanted.data_vars) == set(found.data_vars)
        for name, values in wanted.data_vars.items():
            assert found[name].values == pytest.approx(values.values, nan_ok=True, rel=1e-5, abs=1e-6), name


def test_lists_name_samples_of_the_full_data_set(store):
    tree = compute(store, ["labels", "penultimate"])
    for measure, prefix in (("labels", "suspect"), ("penultimate", "pca")):
        found = tree[measure]
        rows = found[f"{prefix}_row"].values[0, 0].astype(int)
        assert len(rows)
        assert found[f"{prefix}_index"].values[0, 0].tolist() == [PLAN.sample(row) for row in rows]


def test_with_all_views_every_view_of_a_row_counts(store):
    tree = compute(store, ["labels", "penultimate"], views="all")
    assert tree["labels"]["label_rows"].item() == tree["penultimate"]["feature_rows"].item() == 2 * 41
    assert set(tree["labels"]["suspect_view"].values.ravel()) == {0, 1}
