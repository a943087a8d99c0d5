"""The transform is orthonormal, the same by every way to it, and rounding codes and vectors costs what it should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from textbook import realistic

from logitcache.store.encodings import Encoding
from logitcache.store.encodings import spectral as module
from logitcache.store.encodings.spectral import Analysis, Basis, Synthesis, eigenbasis, quantise

STEPS = [2.0**-7, 0.1, 1.0, 4.0]


def linear(rows=300, features=12, classes=40, seed=0):
    """Logits of a linear head, its features and weight: of the features' rank."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(rows, features)) * 3 / np.arange(1, features + 1)).astype(np.float32)
    weight, bias = rng.normal(size=(classes, features)).astype(np.float32), rng.normal(size=classes).astype(np.float32)
    return tuple(torch.from_numpy(a) for a in (x @ weight.T + bias, x, weight))


def projector(basis, count):
    """What projects on the first components: the same for every basis of their space."""
    vectors = basis.vectors[:count].double()
    return vectors.T @ vectors


def encoding(step, precision="float32"):
    return Encoding("spectral", "int16", step, None, 1.0, components=12, precision=precision)


@pytest.mark.parametrize("classes", [1, 2, 10, 60])
def test_the_vectors_are_orthonormal_and_the_spreads_fall(classes):
    logits = torch.from_numpy(realistic(300, classes))
    basis = eigenbasis(logits)
    count = len(basis.spread)
    assert basis.vectors.shape == (count, classes)
    torch.testing.assert_close(basis.vectors @ basis.vectors.T, torch.eye(count), atol=1e-5, rtol=0)
    assert (basis.spread.diff() <= 0).all()
    torch.testing.assert_close(basis.mean, logits.mean(0), atol=1e-4, rtol=0)
    components = (logits - basis.mean) @ basis.vectors.T
    torch.testing.assert_close(components.std(0, correction=0), basis.spread, rtol=1e-3, atol=1e-4)


def test_a_vectors_sign_does_not_hang_on_the_samples():
    logits = torch.from_numpy(realistic(300, 20))
    basis, mirrored = eigenbasis(logits), eigenbasis(-logits)
    largest = basis.vectors.gather(1, basis.vectors.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()
    torch.testing.assert_close(mirrored.vectors, basis.vectors, atol=1e-4, rtol=0)
    assert torch.equal(eigenbasis(logits.clone()).vectors, basis.vectors)


@pytest.mark.parametrize("rows", [60, 300], ids=["few rows", "many rows"])
def test_features_and_rows_lead_to_the_same_components_as_the_covariance(monkeypatch, rows):
    logits, features, weight = linear(rows)
    expected = eigenbasis(logits)
    monkeypatch.setattr(module, "WIDE", 39)
    for found in (eigenbasis(logits, features, weight), eigenbasis(logits)):
        assert len(found.spread) == len(expected.spread) == 12
        torch.testing.assert_close(found.spread, expected.spread, rtol=1e-4, atol=0)
        torch.testing.assert_close(found.mean, expected.mean)
        for count in (1, 5, 12):
            torch.testing.assert_close(projector(found, count), projector(expected, count), atol=1e-4, rtol=0)


def test_no_matrix_of_classes_by_classes_is_made_where_there_are_many(monkeypatch):
    largest = 0
    real = torch.linalg.eigh

    def eigh(matrix):
        nonlocal largest
        largest = max(largest, len(matrix))
        return real(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", eigh)
    logits, features, weight = linear(rows=30, features=5, classes=module.WIDE + 1)
    assert len(eigenbasis(logits, features, weight).spread) == 5
    assert largest == 5
    assert len(eigenbasis(logits).spread) == 5
    assert largest == 30


def test_what_never_changes_has_no_components():
    constant = torch.full((50, 5), 3.0)
    assert eigenbasis(constant).vectors.shape == (0, 5)
    one_row = eigenbasis(torch.arange(5.0)[None])
    assert one_row.vectors.shape == (0, 5)
    assert torch.equal(one_row.mean, torch.arange(5.0))
    assert eigenbasis(constant + torch.randn(50, 1)).vectors.shape == (1, 5)


def test_fewer_rows_than_classes_have_as_many_components_as_they_span():
    basis = eigenbasis(torch.from_numpy(realistic(7, 60)))
    assert len(basis.spread) == 6  # one is spent on the mean
    torch.testing.assert_close(basis.vectors @ basis.vectors.T, torch.eye(6), atol=1e-5, rtol=0)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("classes", [2, 40])
def test_stored_vectors_come_back_as_they_were_used(step, classes):
    basis = eigenbasis(torch.from_numpy(realistic(200, classes)))
    arrays = basis.arrays(step)
    assert arrays["basis"].dtype == (np.float16 if step >= 2.0**-5 else np.float32)
    assert torch.equal(Basis.from_arrays(arrays).vectors, basis.rounded(step).vectors)
    assert torch.equal(Basis.from_arrays(arrays).mean, basis.mean)
    assert torch.equal(Basis.from_arrays(arrays).spread, basis.spread)


@pytest.mark.parametrize("level", [0, 3])
@pytest.mark.parametrize("step", STEPS)
def test_decoded_logits_are_off_by_what_rounding_gives(step, level):
    """At most half a step in each component where the vectors are exact; hardly more where they are rounded."""
    logits = torch.from_numpy(realistic(300, 40))
    exact = eigenbasis(logits)
    assert len(exact.spread) == 40
    finer = step * 0.5**level
    for basis, half in ((exact, 0.5), (Basis.from_arrays(exact.arrays(step)), 0.7)):
        components = Analysis.of(basis).components(logits, 0, 40)
        codes = quantise(components, finer)
        levels = torch.full((300,), level, dtype=torch.int8)
        error = Synthesis.of(basis, encoding(step)).logits(codes, levels) - logits
        assert error.norm(dim=1).max() <= half * finer * 40**0.5 + 1e-3
        assert error.square().mean().sqrt() <= 1.1 * finer / 12**0.5 + 1e-4


def test_rows_without_a_level_are_those_at_level_zero():
    logits = torch.from_numpy(realistic(50, 40))
    basis = eigenbasis(logits)
    synthesis = Synthesis.of(basis, encoding(0.5))
    codes = quantise(Analysis.of(basis).components(logits, 0, 17), 0.5)
    zero = torch.zeros(50, dtype=torch.int8)
    assert torch.equal(synthesis.logits(codes, None), synthesis.logits(codes, zero))
    for dtype in (torch.int16, torch.int32):
        assert torch.equal(synthesis.logits(codes.to(dtype), None), synthesis.logits(codes, None))


def test_bf16_is_what_it_says_and_no_more():
    logits = torch.from_numpy(realistic(100, 40))
    basis = eigenbasis(logits)
    codes = quantise(Analysis.of(basis).components(logits, 0, 40), 0.25)
    exact, short = (Synthesis.of(basis, encoding(0.25, p)).logits(codes, None) for p in ("float32", "bf16"))
    assert short.dtype == torch.float32
    off = (short - exact).abs().max() / exact.abs().max()
    assert 1e-5 < off < 2.0**-7


def test_components_that_would_be_rounded_to_zero_are_not_looked_at():
    spread = torch.tensor([8.0, 1.0, 0.13, 0.12, 0.0])
    analysis = Analysis(torch.zeros(5), spread, torch.eye(5))
    assert [analysis.active(step) for step in (0.1, 1.0, 8.0, 100.0)] == [4, 3, 1, 0]
