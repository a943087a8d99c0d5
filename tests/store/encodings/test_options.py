"""What is asked for is understood or refused, and remembered as it was asked."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from logitcache.errors import InputError
from logitcache.store import Encoding, EncodingOptions, describe, resolve


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dtype": "float16"}, "does not fit auto; allowed: int16, int32"),
        ({"kind": "uniform", "dtype": "float16"}, "does not fit uniform; allowed: int16, int32"),
        ({"kind": "lossless", "dtype": "int16"}, "does not fit lossless; allowed: float32, float16"),
        ({"kind": "topk", "dtype": "int16"}, "does not fit topk; allowed: float16, float32"),
        ({"kind": "lossless", "step": 0.1}, "step is for uniform and spectral; lossless has none"),
        ({"step": 0.1}, "step is for uniform and spectral; auto has none"),
        ({"kind": "topk", "bytes_per_row": 9}, "bytes_per_row is for auto and uniform and spectral; topk has none"),
        ({"kind": "uniform", "head": 0}, "head is for spectral; uniform has none"),
        ({"kind": "uniform", "precision": "bf16"}, "precision is for auto and spectral; uniform has none"),
        ({"kind": "spectral", "entries": 3}, "entries is for topk; spectral has none"),
        ({"top_p": 0.5}, "top_p is for topk; auto has none"),
        ({"kind": "spectral", "step": 1, "bytes_per_row": 9}, "give either step or bytes_per_row, not both"),
        ({"max_kl": 0}, "greater than 0"),
        ({"max_kl": 11}, "less than or equal to 10"),
        ({"tau_min": -1}, "greater than 0"),
        ({"kind": "topk", "top_p": 1.5}, "less than or equal to 1"),
        ({"kind": "spectral", "head": 64}, "less than or equal to 63"),
        ({"kind": "quadtree"}, "'auto', 'uniform', 'spectral', 'lossless' or 'topk'"),
    ],
)
def test_options_that_contradict_each_other_are_refused(fields, said):
    with pytest.raises(ValidationError, match=said):
        EncodingOptions(**fields)


@pytest.mark.parametrize(
    ("fields", "calibrated", "promises", "proves", "whole"),
    [
        ({}, True, True, False, True),
        ({"bytes_per_row": 9}, True, True, False, True),
        ({"kind": "uniform"}, False, True, True, True),
        ({"kind": "uniform", "step": 0.1}, False, True, True, True),
        ({"kind": "uniform", "bytes_per_row": 9}, True, True, True, True),
        ({"kind": "lossless"}, False, True, True, True),
        ({"kind": "spectral"}, True, True, False, True),
        ({"kind": "spectral", "step": 1}, True, False, False, True),
        ({"kind": "topk"}, False, False, False, False),
    ],
)
def test_what_an_encoding_needs_and_promises_is_known_beforehand(fields, calibrated, promises, proves, whole):
    options = EncodingOptions(**fields)
    found = options.calibrated, options.promises, options.proves(0.1), options.whole
    assert found == (calibrated, promises, proves, whole)


def test_what_was_asked_is_what_differs_from_the_defaults_and_the_kind():
    assert EncodingOptions().asked() == {"kind": "auto"}
    assert EncodingOptions(max_kl=1e-3).asked() == {"kind": "auto"}
    assert EncodingOptions(kind="spectral", head=0).asked() == {"kind": "spectral", "head": 0}
    assert EncodingOptions(kind="uniform", step=0.25).asked() == {"kind": "uniform", "step": 0.25}


@pytest.mark.parametrize(
    "fields", [{"kind": "spectral"}, {"bytes_per_row": 9}, {"kind": "uniform", "bytes_per_row": 9}]
)
def test_what_needs_a_sample_is_not_resolved_without(fields):
    with pytest.raises(InputError, match=r"is fitted to a sample of logits; use store\.choose_encoding"):
        resolve(EncodingOptions(**fields))


def test_without_a_sample_auto_is_uniform():
    assert resolve(EncodingOptions()) == resolve(EncodingOptions(kind="uniform"))


ENCODINGS = [
    resolve(EncodingOptions()),
    resolve(EncodingOptions(kind="lossless", dtype="float16", codec="portable")),
    resolve(EncodingOptions(kind="topk", entries=5, top_p=0.9)),
    Encoding("spectral", "int16", 0.5, 0.1, 2.0, 40, 8, 0.25, precision="bf16", asked={"kind": "auto"}, reason="small"),
    Encoding("spectral", "int32", 0.5, None, 1.0, 40),
]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda each: each.kind)
def test_an_encoding_comes_back_from_its_record(encoding):
    assert Encoding(**json.loads(json.dumps(encoding.to_json()))) == encoding


def test_records_of_the_first_stores_have_no_new_names():
    """Version 1 is older than all encodings but two; what they wrote is what is written today."""
    names = {"kind", "dtype", "step", "max_kl", "tau_min"}
    assert set(resolve(EncodingOptions()).to_json()) == names
    assert set(resolve(EncodingOptions(kind="lossless")).to_json()) == names


def test_encodings_are_described_in_a_line():
    found = "; ".join(describe(encoding) for encoding in ENCODINGS)
    assert found == (
        "uniform int16, step 0.0893555, KL <= 0.000998 at tau >= 1, proved; "
        "lossless float16, codec portable; "
        "topk float16, 5 entries, top-p 0.9; "
        "spectral int16, step 0.5, 40 components, head of 8, bf16 product, KL <= 0.1 at tau >= 2, "
        "checked for every row (small); "
        "spectral int32, step 0.5, 40 components, head of 0, float32 product, no bound promised"
    )
