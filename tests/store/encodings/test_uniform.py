"""What the encodings promise holds for every logit and every row, in the numbers that readers get."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from logitcache.errors import InputError
from logitcache.store import EncodingOptions, resolve
from logitcache.store.encodings import decode, encode, fill_value, kl_bound, round_step

STEPS = st.floats(1e-4, 1.0)


def reachable(options, largest):
    """A float32 within the range of codes of an encoding."""
    limit = float(np.float32(0.99 * largest * resolve(options).step))
    return arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, max_side=12).map(lambda shape: (shape[0], shape[1] + 1)),
        elements=st.floats(-limit, limit, width=32),
    )


@st.composite
def uniform_blocks(draw, dtype="int16"):
    options = EncodingOptions(kind="uniform", step=draw(STEPS), dtype=dtype)
    return resolve(options), draw(reachable(options, 2**15 - 1 if dtype == "int16" else 2**24))


def kl(p_logits, q_logits, tau):
    """KL of softmax(p / tau) to softmax(q / tau) by the textbook, float64."""
    p, q = (z.astype(np.float64) / tau for z in (p_logits, q_logits))
    p, q = (z - np.logaddexp.reduce(z, axis=1, keepdims=True) for z in (p, q))
    return (np.exp(p) * (p - q)).sum(axis=1)


@pytest.mark.parametrize("dtype", ["int16", "int32"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_float32_logit_is_off_by_more_than_half_a_step(dtype, data):
    encoding, logits = data.draw(uniform_blocks(dtype))
    codes = encode(logits, encoding)
    error = decode(codes, encoding).astype(np.float64) - logits.astype(np.float64)
    assert codes.dtype == dtype
    assert np.abs(error).max() <= encoding.step / 2


@settings(max_examples=100, deadline=None)
@given(uniform_blocks(), st.floats(0.05, 100))
def test_the_kl_bound_holds_for_every_row_at_every_tau(block, tau):
    encoding, logits = block
    decoded = decode(encode(logits, encoding), encoding)
    assert kl(logits, decoded, tau).max() <= kl_bound(encoding.step, tau) + 1e-12


def test_the_bound_is_nearly_reached_by_the_worst_row():
    encoding = resolve(EncodingOptions(kind="uniform", step=0.5))
    worst = np.array([[0.2499, -0.2499]], dtype=np.float32)
    assert kl(worst, decode(encode(worst, encoding), encoding), 5.0).max() > 0.99 * kl_bound(0.5, 5.0)


@pytest.mark.parametrize(("max_kl", "tau_min"), [(1e-3, 1.0), (1e-5, 0.25), (0.1, 20.0)])
def test_the_step_keeps_what_was_asked_and_wastes_little(max_kl, tau_min):
    encoding = resolve(EncodingOptions(kind="uniform", max_kl=max_kl, tau_min=tau_min))
    assert encoding.max_kl == kl_bound(encoding.step, tau_min)
    assert 0.98 * max_kl < encoding.max_kl <= max_kl


@given(st.floats(1e-30, 1e30), st.integers(1, 8))
def test_a_rounded_step_is_the_largest_of_few_bits_that_is_not_above(step, bits):
    rounded = round_step(step, bits)
    mantissa, exponent = math.frexp(rounded)
    last = math.ldexp(1.0, exponent - bits)
    assert (mantissa * 2**bits).is_integer()
    assert rounded <= step < rounded + last


@pytest.mark.parametrize(("dtype", "code", "advice"), [("int16", 32768, "use int32"), ("int32", 2**24 + 1, "larger")])
def test_a_code_that_does_not_fit_is_refused_by_sample(dtype, code, advice):
    encoding = resolve(EncodingOptions(kind="uniform", step=0.5, dtype=dtype))
    logits = np.zeros((3, 2))
    logits[1, 1] = -0.5 * (code - 1)
    assert encode(logits, encoding).min() == 1 - code
    logits[1, 1] = -0.5 * code
    with pytest.raises(InputError, match=rf"sample 17 needs codes beyond {dtype}.*{advice}"):
        encode(logits, encoding, np.array([5, 17, 9]))
    with pytest.raises(InputError, match="sample 1 needs"):
        encode(logits, encoding)


@settings(max_examples=50, deadline=None)
@given(uniform_blocks())
def test_no_code_is_the_fill_value(block):
    encoding, logits = block
    assert fill_value(encoding.dtype) == -(2**15)
    assert (encode(logits, encoding) != fill_value(encoding.dtype)).all()
    edge = np.array([[-32767 * encoding.step]], dtype=np.float64)
    assert encode(edge, encoding).item() == fill_value(encoding.dtype) + 1


def test_lossless_float32_keeps_every_bit():
    logits = np.random.default_rng(0).normal(0, 1e3, (50, 7)).astype(np.float32)
    encoding = resolve(EncodingOptions(kind="lossless"))
    assert decode(encode(logits, encoding), encoding).tobytes() == logits.tobytes()
    assert math.isnan(fill_value(encoding.dtype))


@pytest.mark.parametrize("inexact", [1.0001, 1e6, 1e-9])
def test_lossless_float16_refuses_what_it_cannot_hold(inexact):
    encoding = resolve(EncodingOptions(kind="lossless", dtype="float16"))
    exact = np.array([[1.5, -2.0], [0.25, 65504.0]], dtype=np.float32)
    assert (decode(encode(exact, encoding), encoding) == exact).all()
    exact[1, 0] = inexact
    with pytest.raises(InputError, match="sample 8 is not exact in float16; use float32"):
        encode(exact, encoding, np.array([4, 8]))
