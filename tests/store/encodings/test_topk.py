"""Top-k rows are the formula's, keep their order and their mass, and go through the stored arrays unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from logitcache.errors import InputError
from logitcache.store.encodings.topk import (
    NOTHING,
    TopK,
    class_dtype,
    cut,
    from_arrays,
    to_arrays,
    to_logits,
    top_k,
)

# few distinct values, so that ties are common, and wide ones, so that probabilities underflow
LOGITS = st.tuples(st.integers(1, 5), st.integers(2, 9)).flatmap(
    lambda shape: arrays(
        np.float32,
        shape,
        elements=st.one_of(st.sampled_from([-2.0, 0.0, 1.0]), st.floats(-300, 300, width=32)),
    )
)


def log_softmax(logits):
    wide = logits.astype(np.float64)
    return wide - np.logaddexp.reduce(wide, axis=1, keepdims=True)


def reference(logits, k):
    """By sorting Python tuples: classes, log-probabilities, tail."""
    exact = log_softmax(logits)
    classes = [sorted(range(logits.shape[1]), key=lambda c, r=row: (-r[c], c))[:k] for row in logits]
    chosen = np.take_along_axis(exact, np.array(classes), axis=1)
    left = np.array([np.delete(row, each) for row, each in zip(exact, classes, strict=True)])
    return np.array(classes), chosen, np.logaddexp.reduce(left, axis=1, initial=-np.inf)


def close(found, exact):
    """Equal to float32's precision, down to where its exponentials lose their digits."""
    tiny = exact < -80
    assert (found[tiny] < -79).all()
    return bool((np.abs(found[~tiny] - exact[~tiny]) <= 1e-5 * np.maximum(1, np.abs(exact[~tiny]))).all())


@given(LOGITS, st.data())
def test_top_k_is_the_formula_in_float64(logits, data):
    k = data.draw(st.integers(1, logits.shape[1]))
    found, (classes, log_probs, tail) = top_k(logits, k), reference(logits, k)
    assert (found.classes == classes).all()
    assert close(found.log_probs, log_probs)
    assert close(found.tail, tail)
    assert (found.classes.dtype, found.log_probs.dtype, found.tail.dtype) == (np.int64, np.float32, np.float32)


@given(LOGITS, st.data())
def test_top_p_keeps_no_more_entries_than_hold_it(logits, data):
    k = data.draw(st.integers(1, logits.shape[1]))
    top_p = data.draw(st.floats(0.05, 1))
    whole, found = top_k(logits, k), top_k(logits, k, top_p)
    entries = (found.classes >= 0).sum(axis=1)
    probs = np.exp(whole.log_probs.astype(np.float64))
    for row, count in enumerate(entries):
        assert count >= 1
        assert (found.classes[row, :count] == whole.classes[row, :count]).all()
        assert (found.classes[row, count:] == -1).all()
        assert np.isneginf(found.log_probs[row, count:]).all()
        assert probs[row, : count - 1].sum() < top_p, "an entry too many"
        assert count == k or probs[row, :count].sum() >= top_p, "an entry too few"


@pytest.mark.parametrize(("top_p", "entries"), [(0.495, 1), (0.505, 2), (0.745, 2), (0.755, 3), (1.0, 4)])
def test_top_p_of_known_probabilities(top_p, entries):
    found = top_k(np.log(np.array([[0.1, 0.5, 0.15, 0.25]])), 4, top_p)
    assert found.classes.tolist() == [[1, 3, 2, 0][:entries] + [-1] * (4 - entries)]


@given(LOGITS, st.data())
def test_no_probability_is_lost_or_made(logits, data):
    k = data.draw(st.integers(1, logits.shape[1]))
    found = top_k(logits, k, data.draw(st.none() | st.floats(0.05, 1)))
    total = np.exp(found.log_probs.astype(np.float64)).sum(axis=1) + np.exp(found.tail.astype(np.float64))
    assert total == pytest.approx(1, abs=1e-5)
    dense = np.exp(to_logits(found, logits.shape[1]).astype(np.float64))
    assert dense.sum(axis=1) == pytest.approx(1, abs=1e-5)


@given(LOGITS)
def test_all_classes_give_the_whole_softmax_back(logits):
    dense = to_logits(top_k(logits, logits.shape[1]), logits.shape[1])
    assert close(dense, log_softmax(logits))


@given(LOGITS, st.data(), st.sampled_from(["float16", "float32"]))
def test_stored_arrays_give_the_rows_back(logits, data, dtype):
    k = data.draw(st.integers(1, logits.shape[1]))
    rows = top_k(logits, k, data.draw(st.none() | st.floats(0.05, 1)))
    stored = to_arrays(rows, logits.shape[1], dtype)
    back = from_arrays(stored)
    assert stored["top_values"].shape == stored["top_classes"].shape == (k, len(logits))
    assert (stored["top_values"].dtype, stored["top_classes"].dtype) == (dtype, "int16")
    assert (back.classes == rows.classes).all()
    assert (back.log_probs == rows.log_probs.astype(dtype)).all()
    assert (back.tail == rows.tail).all()


def test_of_equal_logits_the_lower_classes_are_kept_in_order():
    found = top_k(np.array([[1, 3, 3, 3, 0], [5, 5, 5, 5, 5]], np.float32), 3)
    assert found.classes.tolist() == [[1, 2, 3], [0, 1, 2]]


def test_what_is_cut_off_goes_to_the_tail():
    logits = np.random.default_rng(0).normal(0, 3, (6, 20)).astype(np.float32)
    narrow, direct = cut(top_k(logits, 12), 4), top_k(logits, 4)
    assert (narrow.classes == direct.classes).all()
    assert narrow.tail == pytest.approx(direct.tail, abs=1e-6)


def test_a_tail_far_below_float32s_rounding_of_one_is_kept():
    found = top_k(np.array([[30.0, 0.0, 0.0]], np.float32), 1)
    assert found.tail[0] == pytest.approx(np.log(2) - 30, abs=1e-5)


def test_missing_entries_are_the_types_minimum_beside_nan():
    rows = TopK(np.array([[7, -1]]), np.array([[0, -np.inf]], np.float32), np.array([-np.inf], np.float32))
    stored = to_arrays(rows, 40_000)
    assert stored["top_classes"].tolist() == [[7], [-(2**31)]]
    assert np.isnan(stored["top_values"][1, 0])


def test_no_probability_is_a_finite_number_in_whole_rows():
    rows = TopK(np.array([[1, -1]]), np.array([[0, -np.inf]], np.float32), np.array([-np.inf], np.float32))
    assert to_logits(rows, 3).tolist() == [[NOTHING, 0, NOTHING]]


def test_log_probabilities_below_float16_are_still_entries():
    rows = top_k(np.array([[0.0, -1e5]], np.float32), 2)
    back = from_arrays(to_arrays(rows, 2))
    assert back.classes.tolist() == [[0, 1]]
    assert back.log_probs[0, 1] == np.finfo(np.float16).min


def test_a_probability_of_zero_is_no_entry():
    assert top_k(np.array([[0.0, -np.inf, -1.0]], np.float32), 3).classes.tolist() == [[0, 2, -1]]


def test_half_precision_logits_are_worked_on_in_float32():
    logits = np.random.default_rng(0).normal(0, 3, (4, 30)).astype(np.float16)
    assert (top_k(logits, 5).log_probs == top_k(logits.astype(np.float32), 5).log_probs).all()


def test_200_000_classes_take_rows_piece_by_piece():
    logits = np.random.default_rng(0).normal(0, 3, (50, 200_000)).astype(np.float32)
    found = top_k(logits, 7)
    best = np.argsort(-logits, axis=1)[:, :7]
    assert (found.classes == best).all()
    stored = to_arrays(found, 200_000)
    assert stored["top_classes"].dtype == np.int32
    assert (from_arrays(stored).classes == best).all()
    assert np.exp(to_logits(found, 200_000), dtype=np.float64).sum(axis=1) == pytest.approx(1, abs=1e-4)


def test_no_rows_are_no_rows():
    found = top_k(np.zeros((0, 5), np.float32), 2)
    assert (len(found), found.classes.shape, to_logits(found, 5).shape) == (0, (0, 2), (0, 5))


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [(2, "int16"), (2**15, "int16"), (2**15 + 1, "int32"), (40_000, "int32"), (2**31, "int32")],
)
def test_class_numbers_take_the_smallest_type_that_holds_them_and_its_minimum(classes, dtype):
    assert class_dtype(classes) == dtype
    rows = TopK(np.array([[classes - 1]]), np.zeros((1, 1), np.float32), np.full(1, -np.inf, np.float32))
    assert from_arrays(to_arrays(rows, classes)).classes.tolist() == [[classes - 1]]


def test_more_classes_than_int32_can_name_are_refused():
    with pytest.raises(InputError, match=r"2147483649 classes; class numbers are stored up to 2\*\*31"):
        class_dtype(2**31 + 1)


@pytest.mark.parametrize("k", [0, 6])
def test_k_must_fit_the_classes(k):
    with pytest.raises(InputError, match=rf"{k} entries a row asked of 5 classes; allowed are 1\.\.5"):
        top_k(np.zeros((1, 5), np.float32), k)


@settings(max_examples=20)
@given(st.integers(1, 6))
def test_pieces_join_to_what_one_piece_gives(rows):
    logits = np.random.default_rng(rows).normal(0, 2, (rows, 50)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logitcache.store.encodings.topk._AT_ONCE", 100)
        pieces = top_k(logits, 4)
    assert (pieces.classes == top_k(logits, 4).classes).all()
    assert (pieces.tail == top_k(logits, 4).tail).all()
