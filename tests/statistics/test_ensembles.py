"""Members of an ensemble: pairs, votes and information are NumPy's in float64, whatever the cut."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from compared import cut, entropy, js, make_block, random_logits, soft
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.errors import InputError
from logitcache.statistics.ensembles import Ensemble
from logitcache.statistics.measure import About, Measure

TAUS = (1.0, 4.0)
ROWS, CLASSES = 83, 5
LABELS = np.random.default_rng(5).integers(-1, CLASSES, ROWS)
KNOWN = LABELS >= 0
MEMBERS = [random_logits(ROWS, CLASSES, seed) for seed in range(3)]
for member in MEMBERS:
    member[np.arange(ROWS), LABELS] += 3
ABOUT = About("one", "test", tuple("abcde"), ROWS, other="two")
ENSEMBLE = Ensemble(TAUS)


def measured(*pieces):
    return ENSEMBLE.dataset(reduce(ENSEMBLE.merge, map(ENSEMBLE.tally, pieces)), ABOUT)


WHOLE = measured(make_block(*MEMBERS, labels=LABELS))


def test_it_is_a_measure():
    assert isinstance(ENSEMBLE, Measure)


def test_members_have_their_names_and_accuracies():
    assert list(WHOLE["member"].values) == ["this", "other 1", "other 2"]
    expected = [100 * (z.argmax(1) == LABELS)[KNOWN].mean() for z in MEMBERS]
    assert WHOLE["accuracy"].values == pytest.approx(expected)


def test_pairs_are_those_of_kuncheva_and_whitaker():
    for i, a in enumerate(MEMBERS):
        for j, b in enumerate(MEMBERS):
            ours, theirs = (z.argmax(1) == LABELS for z in (a, b))
            both, neither = (ours & theirs)[KNOWN].sum(), (~ours & ~theirs)[KNOWN].sum()
            first, second = (ours & ~theirs)[KNOWN].sum(), (~ours & theirs)[KNOWN].sum()
            q = (both * neither - first * second) / (both * neither + first * second)
            assert float(WHOLE["q_statistic"][i, j]) == pytest.approx(q)
            assert float(WHOLE["double_fault"][i, j]) == pytest.approx(100 * neither / KNOWN.sum())
            assert float(WHOLE["disagreement"][i, j]) == pytest.approx(100 * (a.argmax(1) != b.argmax(1)).mean())
    assert np.diag(WHOLE["q_statistic"]) == pytest.approx(1)


def test_combined_answers_are_counted_on_known_rows():
    right = np.array([z.argmax(1) == LABELS for z in MEMBERS])
    logits = np.mean(MEMBERS, axis=0, dtype=np.float64).argmax(1) == LABELS
    mixed = np.mean([soft(z, 1) for z in MEMBERS], axis=0).argmax(1) == LABELS
    for name, each in (("mean_logits", logits), ("mean_probabilities", mixed), ("oracle", right.any(0))):
        assert float(WHOLE[f"accuracy_{name}"]) == pytest.approx(100 * each[KNOWN].mean()), name
    tops = np.array([z.argmax(1) for z in MEMBERS])
    assert float(WHOLE["unanimous"]) == pytest.approx(100 * (tops == tops[0]).all(0).mean())


def test_information_is_that_of_float64():
    for place, tau in enumerate(TAUS):
        each = [soft(z, tau) for z in MEMBERS]
        assert float(WHOLE["js"][place]) == pytest.approx(js(*each).mean(), rel=1e-5)
        assert float(WHOLE["entropy_mean"][place]) == pytest.approx(entropy(np.mean(each, 0)).mean(), rel=1e-6)
        alone = np.mean([entropy(p).mean() for p in each])
        assert float(WHOLE["entropy_members"][place]) == pytest.approx(alone, rel=1e-5)


def test_members_that_are_the_same_have_no_diversity():
    found = measured(make_block(MEMBERS[0], MEMBERS[0], labels=LABELS))
    assert float(found["js"].max()) < 1e-12
    assert float(found["disagreement"].max()) == 0
    assert float(found["unanimous"]) == 100


@settings(max_examples=10, deadline=None)
@given(edges=st.lists(st.integers(1, ROWS - 1), max_size=4), seed=st.integers(0, 99))
def test_no_cut_and_no_order_changes_a_number(edges, seed):
    pieces = cut(make_block(*MEMBERS, labels=LABELS), edges)
    order = np.random.default_rng(seed).permutation(len(pieces))
    found = measured(*(pieces[place] for place in order))
    for name, values in WHOLE.items():
        assert found[name].values == pytest.approx(values.values, rel=1e-12, nan_ok=True), name


def test_one_member_is_no_ensemble():
    with pytest.raises(InputError, match="two teachers"):
        ENSEMBLE.tally(make_block(MEMBERS[0], labels=LABELS))
