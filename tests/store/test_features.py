"""Stored features are within half of a step that is a part of their spread, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from logitcache.errors import InputError
from logitcache.store import EncodingOptions, resolve
from logitcache.store.encodings import Encoded, make_codec
from logitcache.store.features import check_values, decode_features, feature_step, with_features

STEPS = st.sampled_from([2.0**-9, 0.0390625, 0.125, 3.0])


def encoded(rows):
    codec = make_codec(resolve(EncodingOptions(kind="uniform")), 3)
    return codec.encode(np.zeros((rows, 3), np.float32))


@settings(max_examples=100, deadline=None)
@given(arrays(np.float32, (4, 5), elements=st.floats(-60, 60, width=32)), STEPS)
def test_no_feature_is_off_by_more_than_half_a_step(features, step):
    block = with_features(encoded(4), features, step)
    assert block.values["features"].dtype == np.int16
    error = np.abs(decode_features(block.values["features"], step).astype(np.float64) - features)
    assert error.max() <= step / 2 * (1 + 1e-6)
    assert block.fidelity.features_largest_error == error.max()
    assert block.fidelity.features_squared_error == pytest.approx((error**2).sum())


def test_the_logits_beside_them_stay_as_they_are():
    alone, features = encoded(4), np.ones((4, 5), np.float32)
    block = with_features(alone, features, 0.125)
    assert set(block.values) == {"logits", "features"}
    assert (block.values["logits"] == alone.values["logits"]).all()
    assert block.fidelity.kl_largest == alone.fidelity.kl_largest
    assert with_features(Encoded(alone.values, None), features, 0.125).fidelity is None


def test_features_on_a_device_are_taken_too():
    features = torch.arange(20.0).reshape(4, 5)
    stored = with_features(encoded(4), features, 0.5).values["features"]
    assert (stored == 2 * features.numpy()).all()


def test_without_a_step_they_are_float16_as_in_the_first_stores():
    features = np.array([[0.1, 65504.0], [-3.0, 1e-3]], np.float32)
    block = with_features(encoded(2), features, 0.0)
    assert block.values["features"].dtype == np.float16
    assert (decode_features(block.values["features"], 0.0) == features.astype(np.float16).astype(np.float32)).all()
    assert block.fidelity.features_largest_error > 0


@pytest.mark.parametrize(("step", "limit"), [(0.5, r"1\.638e\+04"), (0.0, r"6\.55e\+04")])
def test_what_does_not_fit_is_refused_by_sample(step, limit):
    features = np.zeros((4, 5), np.float32)
    features[2, 3] = -7e4
    with pytest.raises(InputError, match=rf"a feature of sample 19 is 7e\+04, beyond {limit}; use a larger"):
        with_features(encoded(4), features, step, np.array([5, 7, 19, 30]))
    with pytest.raises(InputError, match="a feature of sample 2 is"):
        with_features(encoded(4), features, step)


def test_the_largest_code_fits():
    features = np.array([[0.5 * (2**15 - 1), -0.5 * (2**15 - 1)]], np.float32)
    assert with_features(encoded(1), features, 0.5).fidelity.features_largest_error == 0


def test_the_step_is_a_part_of_the_spread():
    features = torch.randn(500, 8, generator=torch.Generator().manual_seed(0)) * 3 + 100
    step = feature_step(features, 1 / 32)
    assert 0.98 < step / (features.std().item() / 32) <= 1.01
    assert feature_step(features.numpy(), 1 / 32) == step
    codes = torch.arange(-(2**15) + 1, 2**15, dtype=torch.float64)
    assert (codes.float() * np.float32(step) == (codes * step).float()).all()  # exact: a step of 8 bits
    with pytest.raises(InputError, match=r"all equal; set cache\.features = false"):
        feature_step(torch.ones(4, 4), 1 / 32)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_found_by_sample(bad):
    values = np.ones((4, 5), np.float32)
    index = np.array([5, 7, 19, 30])
    check_values(values, (4, 5), "features", index)
    values[2, 1] = bad
    for given_values in (values, torch.from_numpy(values)):
        with pytest.raises(InputError, match=r"features of sample 19 are not finite: \["):
            check_values(given_values, (4, 5), "features", index)


def test_infinities_that_cancel_out_and_sums_beyond_float32_are_told_apart():
    index = np.arange(2)
    with pytest.raises(InputError, match="logits of sample 1 are not finite"):
        check_values(np.array([[1, 1], [np.inf, -np.inf]], np.float32), (2, 2), "logits", index)
    check_values(np.full((2, 2), 3e38, np.float32), (2, 2), "logits", index)


def test_another_shape_is_refused():
    with pytest.raises(InputError, match=r"logits of a block have shape \(4, 5\); expected \(5, 4\)"):
        check_values(np.ones((4, 5), np.float32), (5, 4), "logits", np.arange(5))
