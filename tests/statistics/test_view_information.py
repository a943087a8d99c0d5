"""Views of the same rows: what each adds is NumPy's in float64, whatever the cut of the rows."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from compared import entropy, make_block, random_logits, soft
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.errors import InputError
from logitcache.statistics.measure import About, ViewsMeasure
from logitcache.statistics.view_information import Views

TAUS = (1.0, 6.0)
ROWS, CLASSES, VIEWS = 61, 6, 5
LABELS = np.random.default_rng(5).integers(-1, CLASSES, ROWS)
KNOWN = LABELS >= 0
CLEAN = random_logits(ROWS, CLASSES, 0)
LOGITS = np.stack([CLEAN + (view > 0) * random_logits(ROWS, CLASSES, view, 1.5) for view in range(VIEWS)])
ABOUT = About("big", "train", tuple("abcdef"), ROWS, views=VIEWS)
MEASURE = Views(TAUS)


def tally(logits, rows=slice(None), labels=LABELS):
    return MEASURE.tally_views(make_block(z[rows], labels=labels[rows], view=view) for view, z in enumerate(logits))


def measured(*tallies):
    return MEASURE.dataset(reduce(MEASURE.merge, tallies), ABOUT)


WHOLE = measured(tally(LOGITS))


def test_it_is_a_measure_of_views():
    assert isinstance(MEASURE, ViewsMeasure)


@pytest.mark.parametrize("place", range(len(TAUS)))
def test_variances_are_those_of_float64(place):
    p = np.stack([soft(z, TAUS[place]) for z in LOGITS])
    spread = p.var(axis=0)
    found = WHOLE.isel(tau=place)
    assert float(found["variance"]) == pytest.approx(spread.sum(1).mean(), rel=1e-5)
    assert found["variance_logit"].values == pytest.approx(spread.mean(0), rel=1e-5)
    by_class = [spread[k == LABELS].sum(1).mean() for k in range(CLASSES)]
    assert found["variance_class"].values == pytest.approx(by_class, rel=1e-5)


@pytest.mark.parametrize("place", range(len(TAUS)))
def test_information_is_entropy_of_the_mean_less_mean_entropy(place):
    p = np.stack([soft(z, TAUS[place]) for z in LOGITS])
    by_row = np.array(
        [entropy(p[:n].mean(0)) - np.mean([entropy(each) for each in p[:n]], 0) for n in range(1, VIEWS + 1)]
    )
    found = WHOLE.isel(tau=place)
    expected = by_row.mean(1)
    assert found["information"].values == pytest.approx(expected, rel=1e-5, abs=1e-12)
    sums = np.arange(1, VIEWS + 1) * expected
    assert found["gain"].values == pytest.approx(np.diff(sums, prepend=0), rel=1e-4, abs=1e-12)
    assert float(found["effective_views"]) == pytest.approx(np.exp(by_row[-1]).mean(), rel=1e-5)
    assert int(found["views_enough"]) == 1 + int(np.argmax(expected >= 0.95 * expected[-1]))


def test_first_answers_are_counted():
    tops = LOGITS.argmax(2)
    assert WHOLE["agreement"].values == pytest.approx(100 * (tops == tops[0]).mean(1))
    fresh = [100 * np.mean([tops[v, r] not in tops[:v, r] for r in range(ROWS)]) for v in range(VIEWS)]
    assert WHOLE["new_answer"].values == pytest.approx(fresh)
    assert WHOLE["accuracy"].values == pytest.approx(100 * (tops == LABELS)[:, KNOWN].mean(1))
    pairs = [(tops[a] == tops[b]).mean() for a in range(VIEWS) for b in range(VIEWS) if a != b]
    assert float(WHOLE["agreement_pairs"]) == pytest.approx(100 * np.mean(pairs))
    counts = np.array([np.bincount(column, minlength=CLASSES) for column in tops.T])
    assert float(WHOLE["consensus"]) == pytest.approx(100 * counts.max(1).mean() / VIEWS)
    assert float(WHOLE["answers"]) == pytest.approx((counts > 0).sum(1).mean())
    vote = counts.argmax(1) == LABELS
    assert float(WHOLE["accuracy_vote"]) == pytest.approx(100 * vote[KNOWN].mean())


def test_views_that_are_all_the_same_count_as_one():
    found = measured(tally(np.stack([CLEAN] * 3)))
    assert np.array_equal(found["gain"], np.zeros((2, 3)))
    assert found["effective_views"].values == pytest.approx(1)
    assert found["views_enough"].values == pytest.approx(1)
    assert float(found["agreement_pairs"]) == 100


def test_views_that_share_nothing_count_in_full():
    certain = np.stack([np.roll(np.eye(CLASSES, dtype=np.float32) * 1e4, view, axis=1) for view in range(4)])
    labels = np.arange(CLASSES)
    found = MEASURE.dataset(tally(certain, labels=labels), ABOUT)
    assert found["effective_views"].values == pytest.approx(4, rel=1e-6)
    assert float(found["agreement_pairs"]) == 0


def test_one_view_tells_nothing_of_others():
    found = measured(tally(LOGITS[:1]))
    assert found["variance"].values == pytest.approx(0)
    assert found["effective_views"].values == pytest.approx(1)
    assert np.isnan(found["agreement_pairs"])


@settings(max_examples=10, deadline=None)
@given(edge=st.integers(1, ROWS - 1), swapped=st.booleans())
def test_no_cut_and_no_order_changes_a_number(edge, swapped):
    parts = [tally(LOGITS, slice(0, edge)), tally(LOGITS, slice(edge, ROWS))]
    found = measured(*(parts[::-1] if swapped else parts))
    for name, values in WHOLE.items():
        assert found[name].values == pytest.approx(values.values, rel=1e-6, abs=1e-12, nan_ok=True), name


@settings(max_examples=20, deadline=None)
@given(apart=st.floats(1e-3, 20), seed=st.integers(0, 99))
def test_what_alike_views_add_keeps_its_digits(apart, seed):
    other = CLEAN + np.float32(apart) * random_logits(ROWS, CLASSES, 50 + seed, 1.0)
    found = measured(tally(np.stack([CLEAN, other])))
    for place, tau in enumerate(TAUS):
        p, q = soft(CLEAN, tau), soft(other, tau)
        m = (p + q) / 2
        exact = np.where(p > 0, p * np.log(p / m), 0).sum(1) + np.where(q > 0, q * np.log(q / m), 0).sum(1)
        assert float(found["gain"][place, 1]) == pytest.approx(exact.mean(), rel=2e-4)


def test_there_must_be_a_view():
    with pytest.raises(InputError, match="no views"):
        MEASURE.tally_views(iter(()))


def test_every_variable_says_its_units():
    assert all({"units", "long_name"} <= set(values.attrs) for values in WHOLE.values())
