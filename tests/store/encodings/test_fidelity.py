"""The measured error is the error, however small, and blocks add up to the whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from textbook import textbook_kl

from logitcache.store.encodings.fidelity import Fidelity, combine, measure


def block(rows=40, classes=10, size=0.05, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 5, (rows, classes)).astype(np.float32)
    return logits, rng.uniform(-size, size, logits.shape).astype(np.float32)


def test_every_measure_is_what_its_name_says():
    logits = np.array([[3.0, 1.0, 0.0], [0.0, 0.25, 0.0]], dtype=np.float32)
    decoded = np.array([[3.5, 1.0, 0.5], [0.5, 0.25, -0.25]], dtype=np.float32)
    found = measure(logits, decoded, (1.0, 4.0))
    assert (found.rows, found.values, found.top1_kept) == (2, 6, 1)
    assert (found.largest_error, found.largest_range) == (0.5, 0.75)
    assert found.largest_shift == pytest.approx(1 / 3)
    assert found.rmse == pytest.approx(np.sqrt((0.25 + 0.25 + 0.25 + 0.0625) / 6))
    for tau, largest, mean in zip(found.taus, found.kl_largest, found.kl_mean, strict=True):
        expected = textbook_kl(logits, decoded - logits, tau)
        assert largest == pytest.approx(expected.max(), rel=1e-4)
        assert mean == pytest.approx(expected.mean(), rel=1e-4)


def test_blocks_combine_to_the_whole():
    logits, error = block(rows=100)
    whole = measure(logits, logits + error)
    parts = [measure(logits[cut], logits[cut] + error[cut]) for cut in (slice(0, 37), slice(37, 99), slice(99, 100))]
    total = combine(parts)
    for name in ("rows", "values", "largest_error", "largest_range", "largest_shift", "top1_kept", "taus"):
        assert getattr(total, name) == getattr(whole, name)
    assert total.kl_largest == whole.kl_largest
    assert total.squared_error == pytest.approx(whole.squared_error, rel=1e-12)
    assert total.kl_sum == pytest.approx(whole.kl_sum, rel=1e-12)
    assert combine([]) is None


def test_a_commit_keeps_every_digit():
    logits, error = block()
    found = measure(logits, logits + error)
    assert Fidelity.from_json(json.loads(json.dumps(found.to_json()))) == found
