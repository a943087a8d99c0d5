"""Two teachers on the same rows: every number is NumPy's, whatever the cut, and digits stay where they are alike."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from compared import cut, js, kl, make_block, random_logits, soft
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from logitcache.errors import InputError
from logitcache.statistics.divergence import divergences
from logitcache.statistics.measure import About, Measure
from logitcache.statistics.pairs import OUTCOMES, Pair
from logitcache.statistics.rank_correlation import mean_ranks, spearman_rows

TAUS = (0.5, 1.0, 4.0, 20.0)
ROWS, CLASSES = 97, 7
LABELS = np.random.default_rng(5).integers(-1, CLASSES, ROWS)
THIS, OTHER = random_logits(ROWS, CLASSES, 1) + np.float32(2), random_logits(ROWS, CLASSES, 2)
ABOUT = About("student", "test", tuple("abcdefg"), ROWS, taus=TAUS, other="big")
PAIR = Pair(TAUS)


def measured(*pieces):
    return PAIR.dataset(reduce(PAIR.merge, map(PAIR.tally, pieces)), ABOUT)


WHOLE = measured(make_block(THIS, OTHER, labels=LABELS))


def test_it_is_a_measure():
    assert isinstance(PAIR, Measure)


@pytest.mark.parametrize("place", range(len(TAUS)))
def test_divergences_are_those_of_float64(place):
    p, q = soft(OTHER, TAUS[place]), soft(THIS, TAUS[place])
    found = WHOLE.isel(tau=place)
    assert float(found["tau"]) == TAUS[place]
    assert float(found["kl_other_this"]) == pytest.approx(kl(p, q).mean(), rel=1e-9)
    assert float(found["kl_this_other"]) == pytest.approx(kl(q, p).mean(), rel=1e-9)
    assert float(found["js"]) == pytest.approx(js(p, q).mean(), rel=1e-9)


def test_distances_are_those_of_float64():
    apart = THIS.astype(np.float64) - OTHER
    shift = apart.mean(axis=1)
    squares = np.square(apart).sum(axis=1)
    assert float(WHOLE["distance"]) == pytest.approx(np.sqrt(squares).mean(), rel=1e-6)
    assert float(WHOLE["distance_rms"]) == pytest.approx(np.sqrt(squares.mean()), rel=1e-6)
    assert float(WHOLE["mean_shift"]) == pytest.approx(shift.mean(), rel=1e-6)
    assert float(WHOLE["shift_share"]) == pytest.approx(CLASSES * np.square(shift).sum() / squares.sum(), rel=1e-6)


def test_logits_that_differ_by_a_constant_are_apart_by_the_shift_alone():
    found = measured(make_block(OTHER + np.float32(1), OTHER, labels=LABELS))
    assert float(found["shift_share"]) == pytest.approx(1, rel=1e-6)
    assert float(found["mean_shift"]) == pytest.approx(1, rel=1e-6)
    assert float(found["agreement"]) == 100
    assert float(found["js"].max()) < 1e-12


def test_outcomes_count_who_is_right_of_the_known_rows_by_true_class():
    ours, theirs = THIS.argmax(1), OTHER.argmax(1)
    expected = np.zeros((CLASSES, 4), dtype=int)
    for truth, a, b in zip(LABELS, ours, theirs, strict=True):
        if truth >= 0:
            expected[truth, OUTCOMES.index(f"{'TF'[int(a != truth)]}/{'TF'[int(b != truth)]}")] += 1
    assert (LABELS < 0).any()
    assert np.array_equal(WHOLE["outcome_rows"], expected)
    assert WHOLE["outcome_share"].values == pytest.approx(100 * expected.sum(0) / expected.sum())
    known = LABELS >= 0
    same = (ours == theirs) & (ours != LABELS) & known
    assert float(WHOLE["same_error_share"]) == pytest.approx(100 * same.sum() / known.sum())
    assert float(WHOLE["agreement"]) == pytest.approx(100 * (ours == theirs).mean())


def test_rank_correlation_is_scipys_with_equal_values():
    coarse, other = np.rint(THIS), np.rint(OTHER / 2)
    expected = [spearmanr(a, b).statistic for a, b in zip(coarse, other, strict=True)]
    assert spearman_rows(coarse, other) == pytest.approx(expected)
    assert mean_ranks(coarse) == pytest.approx(rankdata(coarse, axis=1) - 1)
    plain = np.mean([spearmanr(a, b).statistic for a, b in zip(THIS, OTHER, strict=True)])
    assert float(WHOLE["rank_correlation"]) == pytest.approx(plain)


def test_rows_whose_values_are_all_equal_have_no_rank_correlation():
    flat = THIS.copy()
    flat[:5] = 1
    assert np.isnan(spearman_rows(flat, OTHER)[:5]).all()
    found = measured(make_block(flat, OTHER, labels=LABELS))
    assert float(found["rank_correlation"]) == pytest.approx(spearman_rows(flat[5:], OTHER[5:]).mean())


@settings(max_examples=15, deadline=None)
@given(edges=st.lists(st.integers(1, ROWS - 1), max_size=5), seed=st.integers(0, 99))
def test_no_cut_and_no_order_changes_a_number(edges, seed):
    pieces = cut(make_block(THIS, OTHER, labels=LABELS), edges)
    order = np.random.default_rng(seed).permutation(len(pieces))
    found = measured(*(pieces[place] for place in order))
    for name, values in WHOLE.items():
        assert found[name].values == pytest.approx(values.values, rel=1e-12, abs=1e-12, nan_ok=True), name


def test_which_is_the_other_only_swaps_directions():
    swapped = measured(make_block(OTHER, THIS, labels=LABELS))
    assert np.allclose(swapped["kl_other_this"], WHOLE["kl_this_other"], rtol=1e-6)
    assert np.allclose(swapped["js"], WHOLE["js"], rtol=1e-6)
    assert float(swapped["mean_shift"]) == pytest.approx(-float(WHOLE["mean_shift"]))
    assert np.array_equal(swapped["outcome_rows"].sel(outcome="T/F"), WHOLE["outcome_rows"].sel(outcome="F/T"))


@settings(max_examples=25, deadline=None)
@given(apart=st.floats(1e-3, 30), tau=st.floats(0.1, 50), seed=st.integers(0, 999))
def test_small_divergences_keep_their_digits(apart, tau, seed):
    other = random_logits(9, 11, seed)
    this = other + np.float32(apart) * random_logits(9, 11, seed + 1, 1.0)
    p, q = soft(other, tau), soft(this, tau)
    assume(min(p.min(), q.min()) > 0)  # the reference takes logarithms of probabilities
    forward, reverse, mixed = divergences(this, other, tau)
    assert forward == pytest.approx(kl(p, q), rel=1e-9, abs=1e-13)
    assert reverse == pytest.approx(kl(q, p), rel=1e-9, abs=1e-13)
    assert mixed == pytest.approx(js(p, q), rel=1e-9, abs=1e-13)


def test_divergences_of_logits_far_apart_are_finite():
    far = np.array([[1e4, 0, 0], [0, 0, 0]], dtype=np.float32)
    forward, reverse, mixed = divergences(far, far[:, ::-1].copy(), 0.5)
    assert forward == pytest.approx([2e4, 0])
    assert reverse == pytest.approx([2e4, 0])
    assert mixed == pytest.approx([np.log(2), 0])
    assert all(float(each.max()) == 0 for each in divergences(far, far, 1.0))


def test_without_another_teacher_or_with_a_bad_temperature_it_is_refused():
    with pytest.raises(InputError, match="--against"):
        PAIR.tally(make_block(THIS, labels=LABELS))
    for wrong in ((), (0.0,), (1.0, float("nan"))):
        with pytest.raises(InputError, match="above 0"):
            Pair(wrong)


def test_of_labels_that_nobody_knows_there_are_no_outcomes():
    found = measured(make_block(THIS, OTHER, labels=np.full(ROWS, -1)))
    assert np.isnan(found["outcome_share"]).all()
    assert float(found["agreement"]) == float(WHOLE["agreement"])


def test_every_variable_says_its_units():
    assert all({"units", "long_name"} <= set(values.attrs) for values in WHOLE.values())
    assert WHOLE.attrs["other"] == "big"
