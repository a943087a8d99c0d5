"""An encoded teacher beside the lossless one: the numbers are those that the store measured, and NumPy's."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from builders import Plan
from compared import cut, kl, make_block, random_logits, soft
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.errors import InputError
from logitcache.statistics.fidelity import EDGES, QUANTILES, EncodingFidelity
from logitcache.statistics.measure import About, Measure
from logitcache.store import EncodingOptions, open_store
from logitcache.store.encodings.fidelity import TAUS, combine

ROWS, CLASSES = 300, 6
LABELS = np.random.default_rng(5).integers(-1, CLASSES, ROWS)
LOSSLESS = random_logits(ROWS, CLASSES, 1)
ENCODED = LOSSLESS + random_logits(ROWS, CLASSES, 2, 0.1)
ABOUT = About("small", "test", tuple("abcdef"), ROWS, other="lossless")
MEASURE = EncodingFidelity()


def measured(*pieces):
    return MEASURE.dataset(reduce(MEASURE.merge, map(MEASURE.tally, pieces)), ABOUT)


WHOLE = measured(make_block(ENCODED, LOSSLESS, labels=LABELS))


def test_it_is_a_measure():
    assert isinstance(MEASURE, Measure)


def test_errors_are_those_of_float64():
    error = ENCODED.astype(np.float64) - LOSSLESS
    assert float(WHOLE["rmse"]) == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-5)
    assert float(WHOLE["largest_error"]) == pytest.approx(np.abs(error).max(), rel=1e-5)
    assert float(WHOLE["largest_range"]) == pytest.approx(np.ptp(error, axis=1).max(), rel=1e-5)
    assert float(WHOLE["largest_shift"]) == pytest.approx(np.abs(error.mean(1)).max(), rel=1e-5)
    assert float(WHOLE["top1_kept"]) == pytest.approx(100 * (ENCODED.argmax(1) == LOSSLESS.argmax(1)).mean())
    known = LABELS >= 0
    for name, z in (("accuracy", ENCODED), ("accuracy_lossless", LOSSLESS)):
        assert float(WHOLE[name]) == pytest.approx(100 * (z.argmax(1) == LABELS)[known].mean())


@pytest.mark.parametrize("place", range(len(TAUS)))
def test_kl_and_its_quantiles_are_those_of_float64(place):
    exact = kl(soft(LOSSLESS, TAUS[place]), soft(ENCODED, TAUS[place]))
    found = WHOLE.isel(tau=place)
    assert float(found["kl_mean"]) == pytest.approx(exact.mean(), rel=1e-4)
    assert float(found["kl_largest"]) == pytest.approx(exact.max(), rel=1e-4)
    for q, value in zip(QUANTILES, found["kl_quantile"].values, strict=True):
        true = np.sort(exact)[int(np.ceil(q * ROWS)) - 1]
        assert true * (1 - 1e-4) <= value <= true * 2**0.125 * (1 + 1e-4)


def test_it_finds_what_the_store_recorded(tmp_path):
    plan = Plan(samples=40, classes=5, views=1, block_rows=16, encoding=EncodingOptions(kind="uniform", max_kl=0.01))
    plan.write(tmp_path / "store")
    reader = open_store(tmp_path / "store").logits("big", "train")
    blocks = [
        make_block(reader.read(0, block), plan.logits[0, rows.start : rows.stop], labels=np.zeros(len(rows), np.int64))
        for block in range(reader.blocks)
        for rows in [reader.rows(block)]
    ]
    found = measured(*blocks)
    recorded = combine(f for block in range(reader.blocks) if (f := reader.commit(0, block).fidelity) is not None)
    assert recorded is not None
    assert found["kl_largest"].values == pytest.approx(recorded.kl_largest, rel=1e-5)
    assert found["kl_mean"].values == pytest.approx(recorded.kl_mean, rel=1e-5)
    assert float(found["rmse"]) == pytest.approx(recorded.rmse, rel=1e-5)
    assert float(found["kl_largest"].sel(tau=1)) <= 0.01


@settings(max_examples=10, deadline=None)
@given(edges=st.lists(st.integers(1, ROWS - 1), max_size=4), seed=st.integers(0, 99))
def test_no_cut_and_no_order_changes_a_number(edges, seed):
    pieces = cut(make_block(ENCODED, LOSSLESS, labels=LABELS), edges)
    order = np.random.default_rng(seed).permutation(len(pieces))
    found = measured(*(pieces[place] for place in order))
    for name, values in WHOLE.items():
        assert found[name].values == pytest.approx(values.values, rel=1e-6, nan_ok=True), name


def test_an_exact_copy_is_at_the_lowest_edge():
    found = measured(make_block(LOSSLESS, LOSSLESS, labels=LABELS))
    assert float(found["kl_largest"].max()) == 0
    assert np.all(found["kl_quantile"] == EDGES[0])


def test_what_is_far_beyond_the_bins_is_the_largest_value():
    found = measured(make_block(LOSSLESS, LOSSLESS[::-1] * np.float32(1e4), labels=LABELS))
    assert np.array_equal(found["kl_quantile"].sel(quantile=0.999, tau=0.5), found["kl_largest"].sel(tau=0.5))


def test_the_lossless_logits_must_be_there():
    with pytest.raises(InputError, match="lossless"):
        MEASURE.tally(make_block(ENCODED, labels=LABELS))
