"""Suspicious labels and the noise rate: equal to loops over rows, whatever the cut, and near the truth where known."""

from __future__ import annotations

import numpy as np
import pytest
from cuts import measured
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from logitcache.statistics.block import Block
from logitcache.statistics.label_quality import BINS, LabelQuality, calibrated_joint, odds_bin
from logitcache.statistics.measure import Measure

CLASSES = 4
SEEDS = st.integers(0, 10**6)


def random_rows(seed, rows=60, noise=0.3, sure=5.0, classes=CLASSES):
    """Logits that know the true class, and labels of which some are wrong or unknown."""
    random = np.random.default_rng(seed)
    true = random.integers(0, classes, rows)
    logits = random.normal(0, 1, (rows, classes)).astype(np.float32)
    logits[np.arange(rows), true] += np.float32(sure)
    labels = np.where(random.random(rows) < noise, random.integers(0, classes, rows), true)
    return logits, labels.astype(np.int64)


def measure_rows(measure, logits, labels, **options):
    return measured(measure, Block(logits, labels), **options)


def softmax(logits):
    exact = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exact / exact.sum(axis=1, keepdims=True)


def odds(p):
    return np.log(p) - np.log1p(-p)


def reference_joint(logits, labels):
    """The confident joint row by row, thresholds rounded down to their bins as the measure states.

    Cases that float32 may see on the other side of an edge are left out.
    """
    p, classes = softmax(logits), logits.shape[1]
    known = np.flatnonzero(labels >= 0)
    threshold = [p[labels == j, j].mean() if (labels == j).any() else np.inf for j in range(classes)]
    joint = np.zeros((classes, classes), np.int64)
    edge = [np.floor((odds(t) + 8) * 8) / 8 - 8 if t < 1 else np.inf for t in threshold]
    assume(all(1e-3 < (odds(t) * 8) % 1 < 1 - 1e-3 for t in threshold if t < 1))
    for row in known:
        j = p[row].argmax()
        assume(abs(odds(p[row, j]) - edge[j]) > 1e-3)
        joint[labels[row], j] += odds(p[row, j]) >= edge[j]
    return joint, threshold


def test_it_is_a_measure():
    assert isinstance(LabelQuality(), Measure)


@given(SEEDS)
def test_the_joint_is_that_of_a_loop_over_rows(seed):
    logits, labels = random_rows(seed, sure=3.0)
    labels[::7] = -1
    found = measure_rows(LabelQuality(), logits, labels)
    joint, threshold = reference_joint(logits, labels)
    rows = np.bincount(labels[labels >= 0], minlength=CLASSES)
    shares = np.stack(
        [
            (joint[i] / joint[i].sum() if joint[i].sum() else np.eye(CLASSES)[i]) * rows[i] / rows.sum()
            for i in range(CLASSES)
        ]
    )
    assert found.label_joint.values == pytest.approx(100 * shares)
    assert float(found.label_noise_rate) == pytest.approx(100 * (1 - np.trace(shares)))
    present = rows > 0
    assert found.label_threshold.values[present] == pytest.approx(np.array(threshold)[present], abs=1e-6)
    assert found.label_class_rows.values.tolist() == rows.tolist()


@given(SEEDS)
def test_suspects_are_ranked_by_margin_and_contradict_their_labels(seed):
    logits, labels = random_rows(seed)
    labels[::5] = -1
    found = measure_rows(LabelQuality(count=7, per_class=3), logits, labels, index=np.arange(60) * 10)
    p, top = softmax(logits), logits.argmax(axis=1)
    wrong = [row for row in range(60) if labels[row] >= 0 and top[row] != labels[row]]
    wrong.sort(key=lambda row: (p[row, labels[row]] - p[row, top[row]], row))
    rows = found.suspect_row.values.tolist()
    assert rows[:7] == wrong[:7]
    by_class = [row for k in range(CLASSES) for row in [r for r in wrong if labels[r] == k][:3]]
    assert set(rows) == set(wrong[:7]) | set(by_class)
    for k in range(CLASSES):
        of_class = [row for row, place in zip(rows, found.suspect_class_rank.values, strict=True) if labels[row] == k]
        assert of_class[:3] == [r for r in wrong if labels[r] == k][:3]
        assert [int(p) for r, p in zip(rows, found.suspect_class_rank.values, strict=True) if labels[r] == k] == list(
            range(len(of_class))
        )
    assert found.suspect_index.values.tolist() == [10 * row for row in rows]
    assert found.suspect_label.values.tolist() == labels[rows].tolist()
    assert found.suspect_predicted.values.tolist() == top[rows].tolist()
    assert found.suspect_p_label.values == pytest.approx(p[rows, labels[rows]], abs=1e-6)
    assert found.suspect_margin.values == pytest.approx(p[rows, labels[rows]] - p[rows, top[rows]], abs=1e-6)


@settings(max_examples=30)
@given(SEEDS, st.sets(st.integers(1, 59), max_size=8), st.integers(0, 100))
def test_no_cut_and_no_order_changes_anything(seed, cuts, order):
    logits, labels = random_rows(seed)
    measure = LabelQuality(count=5, per_class=2)
    whole, cut = measure_rows(measure, logits, labels), measure_rows(measure, logits, labels, cuts=cuts, order=order)
    for name in whole.data_vars:
        assert cut[name].values == pytest.approx(whole[name].values, nan_ok=True, rel=1e-12), name


def test_planted_noise_is_estimated():
    random = np.random.default_rng(0)
    logits, true = random_rows(1, rows=20_000, noise=0.0, sure=7.0)
    wrong = random.random(20_000) < 0.12
    labels = np.where(wrong, (true + random.integers(1, CLASSES, 20_000)) % CLASSES, true)
    found = measure_rows(LabelQuality(count=1000), logits, labels, cuts=range(0, 20_000, 3000))
    assert float(found.label_noise_rate) == pytest.approx(100 * wrong.mean(), abs=0.5)
    assert wrong[found.suspect_row.values[:1000]].mean() > 0.99


def test_where_nothing_contradicts_nothing_is_listed():
    logits, true = random_rows(2, noise=0.0, sure=50.0)
    found = measure_rows(LabelQuality(), logits, true)
    assert (float(found.label_noise_rate), float(found.label_contradicted)) == (0.0, 0.0)
    assert found.sizes["rank"] == 0


def test_saturated_rows_are_told_apart_by_their_logits():
    logits = np.zeros((3, CLASSES), np.float32)
    logits[:, 1] = [400, 600, 500]
    found = measure_rows(LabelQuality(), logits, np.zeros(3, np.int64))
    assert found.suspect_margin.values.tolist() == [-1, -1, -1]
    assert found.suspect_row.values.tolist() == [1, 2, 0]


def test_a_confidence_near_one_keeps_its_bin():
    logits = np.zeros((2, CLASSES), np.float32)
    logits[:, 1] = [15.9, 16.2]
    keys = LabelQuality().tally(Block(logits, np.ones(2, np.int64)))["keys"]
    wanted = np.floor((np.array([15.9, 16.2]) - np.log(3) + 8) * 8)
    assert (keys % BINS).tolist() == wanted.tolist()


def test_a_split_without_labels_says_nothing():
    logits, _ = random_rows(3)
    found = measure_rows(LabelQuality(), logits, np.full(60, -1), cuts=(20,))
    assert int(found.label_rows) == 0
    assert np.isnan(float(found.label_noise_rate))
    assert found.sizes["rank"] == 0


def test_a_label_without_confident_rows_is_taken_as_right():
    shares = calibrated_joint(np.array([[2, 2], [0, 0]]), np.array([6, 2]))
    assert shares.tolist() == [[0.375, 0.375], [0.0, 0.25]]


def test_every_variable_says_what_it_is_in():
    found = measure_rows(LabelQuality(), *random_rows(4))
    assert all(found[name].attrs["units"] and found[name].attrs["long_name"] for name in found.data_vars)
    assert odds_bin(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.5, 0.0])).tolist() == [0, 64, BINS - 1]
