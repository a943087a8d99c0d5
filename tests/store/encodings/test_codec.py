"""What is decoded is what was checked: every row, in every encoding, at every temperature of its promise."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch
from textbook import KINDS, realistic
from textbook import worst_kl as true_worst

from logitcache.errors import InputError
from logitcache.store import EncodingOptions, Sample, choose_encoding
from logitcache.store.encodings import TAUS, Encoding, TopKCodec, fill_value, kl_bound, make_codec
from logitcache.store.encodings.codec import ROWS
from logitcache.store.encodings.spectral import eigenbasis
from logitcache.store.encodings.topk import TopK, to_logits, top_k

ALL = {
    "uniform": EncodingOptions(kind="uniform"),
    "uniform int32": EncodingOptions(kind="uniform", max_kl=1e-9, dtype="int32"),
    "lossless": EncodingOptions(kind="lossless"),
    "topk": EncodingOptions(kind="topk", entries=6),
    "topk float32": EncodingOptions(kind="topk", entries=6, top_p=0.9, dtype="float32"),
    "spectral": EncodingOptions(kind="spectral", max_kl=0.01, head=0),
    "spectral int32": EncodingOptions(kind="spectral", max_kl=1e-4, dtype="int32", head=0),
    "spectral head 1": EncodingOptions(kind="spectral", max_kl=0.1, head=1),
    "spectral head 8": EncodingOptions(kind="spectral", max_kl=0.1, head=8),
    "spectral bf16": EncodingOptions(kind="spectral", max_kl=0.1, head=8, precision="bf16"),
    "spectral step": EncodingOptions(kind="spectral", step=0.5, head=4),
    "portable": EncodingOptions(kind="spectral", max_kl=0.1, head=8, codec="portable"),
}


def codec_of(options, logits):
    """A codec calibrated on the logits themselves."""
    chosen = choose_encoding(options, Sample(torch.from_numpy(logits), 10**6))
    return make_codec(chosen.encoding, logits.shape[1], chosen.wholes)


def spectral_codec(logits, step, classes=None, **fields):
    """A spectral codec with the step given and everything else plain."""
    sample = torch.from_numpy(logits)
    basis = eigenbasis(sample)
    fixed = Encoding("spectral", "int16", step, 0.1, 1.0, components=len(basis.spread))
    encoding = replace(fixed, **fields)
    return make_codec(encoding, classes or logits.shape[1], basis.arrays(step))


@pytest.fixture(scope="module")
def logits():
    return realistic(400, 60, kind="ties")


@pytest.fixture(scope="module")
def codecs(logits):
    return {name: codec_of(options, logits) for name, options in ALL.items()}


@pytest.mark.parametrize("name", ALL)
def test_gathered_rows_are_the_decoded_ones_bit_by_bit(codecs, logits, name):
    codec = codecs[name]
    values = codec.encode(logits).values
    decoded = codec.decode(values)
    assert (decoded.dtype, decoded.shape) == (np.float32, logits.shape)
    rows = {key: torch.from_numpy(part) for key, part in codec.rows(values).items()}
    assert {len(part) for part in rows.values()} == {400}
    for start in range(0, 400, ROWS):
        part = {key: each[start : start + ROWS] for key, each in rows.items()}
        assert torch.equal(codec.logits(part), torch.from_numpy(decoded[start : start + ROWS]))


@pytest.mark.parametrize("name", ALL)
def test_rows_in_any_order_are_the_same_rows(codecs, logits, name):
    codec = codecs[name]
    values = codec.encode(logits).values
    order = np.random.default_rng(0).permutation(400)[:100]
    rows = {key: torch.from_numpy(part)[order] for key, part in codec.rows(values).items()}
    # another number of rows is another order of summation in a matrix product
    tolerance = 0 if not name.startswith(("spectral", "portable")) else 1e-3 if "bf16" in name else 1e-4
    np.testing.assert_allclose(codec.logits(rows).numpy(), codec.decode(values)[order], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ALL)
def test_what_is_measured_is_the_error_of_what_is_decoded(codecs, logits, name):
    codec = codecs[name]
    encoded = codec.encode(logits)
    found, decoded = encoded.fidelity, codec.decode(encoded.values).astype(np.float64)
    ours = torch.log_softmax(torch.from_numpy(logits), 1).numpy() if "topk" in name else logits
    error = decoded - ours
    assert (found.rows, found.values, found.taus) == (400, 400 * 60, TAUS)
    assert found.largest_error == pytest.approx(np.abs(error).max(), rel=1e-4)
    assert found.rmse == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)
    assert found.top1_kept == (decoded.argmax(1) == logits.argmax(1)).sum()
    for tau, largest in zip(found.taus, found.kl_largest, strict=True):
        assert largest == pytest.approx(true_worst(ours, decoded, tau, 1).max(), rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_no_code_is_what_stands_for_missing(codecs, logits, name):
    for key, part in codecs[name].encode(logits).values.items():
        assert part.shape[-1 if key != "logits" else 0] == 400
        if key.startswith("top_"):
            continue  # topk has entries that are not there
        if part.dtype.kind == "i":
            assert (part != fill_value(str(part.dtype))).all()
        else:
            assert np.isfinite(part).all()


@pytest.mark.parametrize("tau_min", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("max_kl", [0.1, 0.01])
@pytest.mark.parametrize("head", [0, 8])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_every_row_keeps_the_promise_at_every_temperature(head, max_kl, tau_min, precision):
    """Also rows that the calibration has not seen, some of them far from those that it has."""
    options = EncodingOptions(kind="spectral", head=head, max_kl=max_kl, tau_min=tau_min, precision=precision)
    fine = precision == "bf16" and max_kl * tau_min**2 < 0.01  # beyond what bf16 holds of outlying rows
    for kind in KINDS[:1] if fine else KINDS:
        logits = realistic(700, 60, kind=kind) / (5 if fine else 1)
        codec = codec_of(options, logits[:300])
        encoded = codec.encode(logits[300:])
        decoded = codec.decode(encoded.values)
        worst = true_worst(logits[300:], decoded, tau_min)
        assert worst.max() <= max_kl
        assert encoded.fidelity.kl_checked <= max_kl
        assert encoded.fidelity.kl_checked >= worst.max() / 1.5
        assert codec.keeps_promise(logits[300:], encoded.values)
        if head:
            assert encoded.fidelity.top1_kept == 400


@pytest.mark.parametrize("name", ["uniform", "lossless", "spectral", "spectral head 8"])
def test_the_promise_is_not_kept_by_other_logits(codecs, logits, name):
    codec = codecs[name]
    values = codec.encode(logits).values
    assert codec.keeps_promise(logits, values)
    other = logits.copy()
    other[137, 3] += 20
    assert not codec.keeps_promise(other, values)


def test_refined_rows_are_counted_and_the_others_left_as_they_are(logits):
    coarse = spectral_codec(logits, 3.0)
    free = spectral_codec(logits, 3.0, max_kl=None)
    encoded, unpromised = coarse.encode(logits), free.encode(logits)
    level = encoded.values["level"]
    assert "level" not in unpromised.values
    assert encoded.fidelity.refined == (level > 0).sum()
    assert 40 < encoded.fidelity.refined < 360
    before = true_worst(logits, free.decode(unpromised.values), 1.0)
    assert (before[level > 0] > 0.5 * 0.1).all()
    assert (before[level == 0] <= 0.1).all()
    # bits: what was not refined did not change, in its codes
    assert (encoded.values["coefficients"][:, level == 0] == unpromised.values["coefficients"][:, level == 0]).all()


def test_refining_goes_as_far_as_it_must(logits):
    encoded = spectral_codec(logits, 40.0).encode(logits)
    levels = set(encoded.values["level"].tolist())
    assert len(levels) > 2
    assert max(levels) > 3


def test_what_a_component_cannot_hold_is_refused_by_sample(logits):
    outlier = logits.copy()
    outlier[300] *= 1e5
    index = 7 + 10 * np.arange(400)
    with pytest.raises(InputError, match="component of sample 3007 needs codes beyond int16; use int32"):
        spectral_codec(logits, 0.5, max_kl=None).encode(outlier, index)


def test_a_row_that_the_components_cannot_hold_is_refused_by_sample(logits):
    few = logits[:, :20].repeat(3, 1)  # never more than 20 components
    codec = spectral_codec(few, 1.0)
    other = few.copy()
    other[260, 0] += 30
    index = 7 + 10 * np.arange(400)
    with pytest.raises(InputError, match=r"sample 2607 misses max_kl = 0\.1 .*use kind = 'uniform' or a larger"):
        codec.encode(other, index)
    with pytest.raises(InputError, match="sample 260 misses"):
        codec.encode(other)


def test_what_bf16_cannot_keep_is_said_with_what_could(logits):
    with pytest.raises(InputError, match=r"misses max_kl = 1e-05 .* or a larger max_kl, or precision = 'float32'"):
        spectral_codec(logits, 0.05, max_kl=1e-5, dtype="int32", precision="bf16").encode(logits)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("rows", [1, 2, ROWS, ROWS + 1])
def test_blocks_of_any_length_are_encoded(codecs, logits, name, rows):
    codec = codecs[name]
    encoded = codec.encode(logits[:rows])
    whole = codec.decode(codec.encode(logits).values)[:rows]
    tolerance = 0.05 if "bf16" in name else 1e-3 if name.startswith(("spectral", "portable")) else 0
    assert encoded.fidelity.rows == rows
    close = np.abs(codec.decode(encoded.values) - whole).max(axis=1) <= tolerance
    assert close.mean() > 0.9  # a row at the edge may be refined here and not there


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("kind", ["uniform", "lossless", "spectral", "topk"])
def test_any_number_of_classes_will_do(kind, classes):
    logits = realistic(60, classes)
    entries = {"entries": 10} if kind == "topk" else {}
    codec = codec_of(EncodingOptions(kind=kind, **entries), logits)
    encoded = codec.encode(logits)
    decoded = codec.decode(encoded.values)
    assert decoded.shape == (60, classes)
    assert max(encoded.fidelity.kl_largest[1:]) <= 1e-3


def test_more_classes_than_int16_numbers_have_heads_of_int32():
    classes = 2**15 + 1
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(6, classes)).astype(np.float32)
    logits = (rng.normal(size=(60, 6)).astype(np.float32) * 3) @ mix
    logits[:, -1] += 60 * rng.random(60, dtype=np.float32)
    codec = codec_of(EncodingOptions(kind="spectral", max_kl=0.1, head=8), logits)
    encoded = codec.encode(logits)
    assert encoded.values["head_classes"].dtype == np.int32
    assert encoded.values["head_classes"].max() == classes - 1
    decoded = codec.decode(encoded.values)
    assert (decoded.argmax(1) == logits.argmax(1)).all()
    assert true_worst(logits[:10], decoded[:10], 1.0, 21).max() <= 0.1


def test_silent_last_components_take_no_memory_and_codes_the_least(logits):
    codec = spectral_codec(realistic(400, 60), 4.0, max_kl=None)
    values = codec.encode(realistic(400, 60)).values
    heard = np.flatnonzero(values["coefficients"].any(axis=1))[-1] + 1
    rows = codec.rows(values)
    assert heard < 60
    assert (rows["codes"].shape, rows["codes"].dtype) == ((400, heard), np.int8)
    assert codec.rows({"coefficients": np.zeros((60, 5), np.int16)})["codes"].shape == (5, 1)
    wide = values["coefficients"].copy()
    for code, dtype in ((127, np.int8), (-127, np.int8), (128, np.int16), (-128, np.int16)):
        wide[0, 0] = code
        rows = codec.rows({"coefficients": np.clip(wide, -abs(code), abs(code))})
        assert rows["codes"].dtype == dtype
        assert rows["codes"][0, 0] == code


def test_levels_are_kept_only_where_a_row_has_one(logits):
    codec = spectral_codec(logits, 3.0)
    values = codec.encode(logits).values
    assert "level" in codec.rows(values)
    none = {**values, "level": np.zeros_like(values["level"])}
    assert "level" not in codec.rows(none)
    assert (codec.decode(none) == codec.decode({"coefficients": values["coefficients"]})).all()


def entries(*rows, classes=9):
    """Sparse rows of {class: probability}."""
    most = max(map(len, rows))
    ids = [[*row, *[-1] * (most - len(row))] for row in rows]
    logs = [[*np.log([*row.values()]), *[-inf] * (most - len(row))] for row in rows]
    rest = [1 - sum(row.values()) for row in rows]
    tail = [np.log(r) if r > 1e-9 else -inf for r in rest]
    return TopK(np.array(ids, np.int64), np.array(logs, np.float32), np.array(tail, np.float32))


def test_sparse_rows_come_back_with_their_tail_spread_evenly():
    rows = entries({2: 0.5, 0: 0.25}, {7: 1.0}, {8: 0.1}, {})
    codec = TopKCodec(Encoding("topk", "float32", 0.0, None, 1.0, entries=4), 9)
    encoded = codec.encode_entries(rows)
    assert encoded.fidelity is None
    assert encoded.values["top_values"].shape == (4, 4)
    decoded = codec.decode(encoded.values)
    np.testing.assert_allclose(decoded, to_logits(rows, 9), rtol=1e-6)
    probs = np.exp(decoded.astype(np.float64))
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(probs[0], [0.25, 0.25 / 7, 0.5, *[0.25 / 7] * 6], rtol=1e-5)
    np.testing.assert_allclose(probs[3], 1 / 9, rtol=1e-5)


def test_sparse_rows_of_more_entries_than_are_kept_are_refused():
    codec = TopKCodec(Encoding("topk", "float16", 0.0, None, 1.0, entries=1), 9)
    with pytest.raises(InputError, match="rows have 2 entries; the store keeps 1"):
        codec.encode_entries(entries({2: 0.5, 0: 0.25}))


def test_the_store_never_keeps_more_entries_than_there_are_classes():
    codec = TopKCodec(Encoding("topk", "float16", 0.0, None, 1.0, entries=10), 3)
    for encoded in (codec.encode_entries(entries({2: 0.5, 0: 0.25})), codec.encode(realistic(1, 3))):
        assert encoded.values["top_values"].shape == encoded.values["top_classes"].shape == (3, 1)


def test_float32_entries_are_exact(logits):
    codec = codec_of(EncodingOptions(kind="topk", entries=6, dtype="float32"), logits)
    assert (top_k(logits, 6).log_probs == codec.encode(logits).values["top_values"].T).all()


def test_a_promise_is_the_encodings_own():
    assert Encoding("uniform", "int16", 0.5, 1e-3, 1.0).bound(0.25) == kl_bound(0.5, 0.25)
    assert Encoding("lossless", "float32", 0.0, 0.0, 1.0).bound(0.01) == 0
    spectral = Encoding("spectral", "int16", 0.5, 0.1, 2.0)
    assert [spectral.bound(tau) for tau in (1.9, 2.0, 50.0)] == [None, 0.1, 0.1]
    assert Encoding("topk", "float16", 0.0, None, 1.0).bound(4.0) is None
