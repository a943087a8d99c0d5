"""A document is what was written, byte for byte, or damage by its name; a record has its types, keys and ranges."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from builders import Plan
from hypothesis import given
from hypothesis import strategies as st

from logitcache.errors import DamageError
from logitcache.records import canonical_json, sha256
from logitcache.store import SplitRecord, StoreRecord, TeacherRecord
from logitcache.store import documents as documents_module
from logitcache.store.commits import Commit
from logitcache.store.documents import LARGEST_BLOCK, check_shape, pack, parse, read_attributes, read_json, unpack
from logitcache.store.encodings import Fidelity

GOLDEN = Path(__file__).parent / "golden/version1.zarr"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(record=JSON)
def test_what_was_packed_comes_back(record):
    assert unpack(pack(record), "it") == record


@given(record=JSON, data=st.data())
def test_any_other_byte_is_damage_by_name(record, data):
    text = bytearray(pack(record))
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamageError, match=r"commits/3\.json is damaged"):
        unpack(bytes(text), "commits/3.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "Expecting value"),
        (b"\xff", "decode"),
        (b"{", "Expecting"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a":1,"a":1}', "a key stands twice"),
        (b"[NaN]", "NaN is no JSON number"),
        (b"-Infinity", "-Infinity is no JSON number"),
        (b"1e999", "not JSON compliant"),
        (b"1" * 5000, "digits"),
        (rb'"\ud800"', "surrogates not allowed"),
    ],
)
def test_texts_that_are_no_json_are_damage(text, said):
    with pytest.raises(DamageError, match=said) as error:
        read_json(text, "x/zarr.json")
    assert str(error.value).startswith("x/zarr.json is damaged: ")


def test_texts_beyond_the_limit_are_not_looked_at(monkeypatch):
    monkeypatch.setattr(documents_module, "LARGEST_DOCUMENT", 10)
    assert read_json(b"[1, 2, 3] ", "it") == [1, 2, 3]
    with pytest.raises(DamageError, match="it is damaged: it has 11 bytes, the longest document 10"):
        read_json(b"[1, 2, 3]  ", "it")


@pytest.mark.parametrize("text", [b"[]", b"{}", b'{"sha256":""}', b"3"])
def test_documents_without_a_record_are_damage(text):
    with pytest.raises(DamageError, match="holds no record"):
        unpack(text, "it")


def test_another_text_of_the_same_record_is_damage():
    digest = sha256(canonical_json({"a": 1e-5}))
    spaced = json.dumps({"record": {"a": 1e-5}, "sha256": digest}).encode()
    capital = pack({"a": 1e-5}).replace(b"1e-05", b"1E-05")
    for text in (spaced, capital):
        with pytest.raises(DamageError, match="digest does not match"):
            unpack(text, "it")


def records():
    """(type, record) of everything of ours that a store keeps."""
    plan = Plan(features=3)
    root = read_attributes((GOLDEN / "zarr.json").read_bytes(), "zarr.json", "logitcache")
    del root["format_version"]
    teacher = read_attributes((GOLDEN / "train/teachers/big/zarr.json").read_bytes(), "zarr.json", "logitcache")
    commits = unpack((GOLDEN / "train/teachers/big/logits/commits/0.json").read_bytes(), "0.json")["blocks"]
    return [
        (StoreRecord, root),
        (SplitRecord, asdict(SplitRecord("train", 3, "f"))),
        (TeacherRecord, teacher),
        (TeacherRecord, plan.record.to_json()),
        (Commit, commits[0]),
        (Fidelity, commits[0]["fidelity"]),
    ]


@pytest.mark.parametrize(("kind", "record"), records(), ids=lambda value: getattr(value, "__name__", ""))
def test_records_of_the_store_are_parsed_to_what_was_written(kind, record):
    value = parse(kind, record, "it")
    assert type(value) is kind
    plain, written = (json.loads(canonical_json(each)) for each in (asdict(value), record))
    for key, entry in written.items():  # what is at its default may not be written
        assert plain[key] == ({**plain[key], **entry} if isinstance(entry, dict) else entry)
    assert parse(kind, plain, "it") == value


@pytest.mark.parametrize(("kind", "record"), records(), ids=lambda value: getattr(value, "__name__", ""))
def test_every_key_of_a_record_is_looked_at(kind, record):
    for key in record:
        with pytest.raises(DamageError, match=f"it is damaged: {key}"):
            parse(kind, {**record, key: [[object.__name__]]}, "it")
    with pytest.raises(DamageError, match="stranger: there is no such key"):
        parse(kind, {**record, "stranger": 1}, "it")


@dataclass(frozen=True)
class Inner:
    count: int


@dataclass(frozen=True)
class Outer:
    size: float
    inner: Inner
    many: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = field(default_factory=dict)
    numbers: tuple[int, ...] = (1, 2)


WHOLE = {"size": 1, "inner": {"count": 0}, "many": [{"count": 2**62}], "by_name": {"a": {"count": 3}}, "numbers": [5]}


def test_lists_become_tuples_and_missing_keys_take_their_defaults():
    assert parse(Outer, WHOLE, "it") == Outer(1.0, Inner(0), (Inner(2**62),), {"a": Inner(3)}, (5,))
    assert parse(Outer, {"size": 1.5, "inner": {"count": 0}}, "it") == Outer(1.5, Inner(0))
    assert parse(tuple[Inner, ...], [{"count": 1}], "it") == (Inner(1),)
    assert parse(dict[str, str], {"a": "b"}, "it") == {"a": "b"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inner": {"count": -1}}, "inner.count: -1 is not within"),
        ({"inner": {"count": 2**62 + 1}}, "inner.count: .* is not within"),
        ({"inner": {"count": True}}, "inner.count: .*integer"),
        ({"inner": {"count": 1.0}}, "inner.count: .*integer"),
        ({"inner": {"count": "1"}}, "inner.count: .*integer"),
        ({"inner": {}}, "inner.count: Field required"),
        ({"inner": {"count": 1, "more": 1}}, "inner.more: there is no such key"),
        ({"many": [{"count": 1}, {"count": -2}]}, "many.1.count: -2 is not within"),
        ({"many": [{"count": 1, "x": 0}]}, "many.0.x: there is no such key"),
        ({"by_name": {"a": {"count": -1}}}, "by_name.a.count: -1"),
        ({"numbers": [1, -1]}, "numbers.1: -1 is not within"),
        ({"size": float("nan")}, "not JSON compliant"),
        ({"size": None}, "size: .*number"),
        ({"extra": 0}, "extra: there is no such key"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change, said):
    with pytest.raises(DamageError, match=f"it is damaged: .*{said}"):
        parse(Outer, {**WHOLE, **change}, "it")


@pytest.mark.parametrize("record", [None, 3, "x", [], [[]]])
def test_what_is_no_record_is_damage(record):
    with pytest.raises(DamageError, match="it is damaged: the record"):
        parse(Outer, record, "it")


def test_names_that_lead_out_of_the_store_are_damage():
    record = Plan().record.to_json()
    with pytest.raises(DamageError, match=r"it is damaged: teacher name '\.\./x'"):
        parse(TeacherRecord, {**record, "name": "../x"}, "it")


@pytest.mark.parametrize(
    "metadata", [b"3", b"[]", b"{}", b'{"attributes": 1}', b'{"attributes": []}', b'{"attributes": {"ours": 2}}']
)
def test_attributes_that_are_not_there_are_empty(metadata):
    assert read_attributes(metadata, "it", "ours") == {}


@given(
    shape=st.lists(st.sampled_from([0, 1, 3, 2**20, 2**31, 2**62, 10**30]), max_size=4),
    piece=st.lists(st.sampled_from([0, 1, 3, 2**15, 2**31, 10**30]), max_size=4),
)
def test_shapes_are_allowed_as_far_as_memory_can_be_taken_for_them(shape, piece):
    def product(lengths):
        total = 1
        for length in lengths:
            total *= max(1, length)
        return total

    if product(shape) <= 2**62 and product(piece) <= LARGEST_BLOCK:
        check_shape("logits", shape, piece)
    else:
        with pytest.raises(DamageError, match=r"logits is damaged: .* values.* are declared"):
            check_shape("logits", shape, piece)


def test_negative_lengths_are_damage():
    with pytest.raises(DamageError, match="-1 x 2 values are declared"):
        check_shape("logits", (-1, 2), (1, 1))
