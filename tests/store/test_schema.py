"""The bytes in a store are those that Zarr itself writes, and records know when they were changed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from logitcache.errors import DamageError
from logitcache.store import EncodingOptions, resolve
from logitcache.store.encodings import encode
from logitcache.store.schema import (
    array_objects,
    block_shape,
    feature_spec,
    group_objects,
    logits_spec,
    pack,
    shard_key,
    shard_to_values,
    unpack,
    values_to_shard,
    whole_array_objects,
)

VIEWS, SAMPLES, CLASSES, BLOCK, CHUNK = 2, 20, 5, 8, 4
SHAPE = (VIEWS, SAMPLES, CLASSES)
ENCODINGS = {
    "int16": EncodingOptions(),
    "int32": EncodingOptions(dtype="int32"),
    "float32": EncodingOptions(kind="lossless"),
    "float16": EncodingOptions(kind="lossless", dtype="float16"),
}


def codes_and_spec(name):
    logits = np.random.default_rng(0).normal(0, 4, SHAPE).astype(np.float16).astype(np.float32)
    if name == "features":
        return logits.astype(np.float16), feature_spec(SHAPE, BLOCK)
    encoding = resolve(ENCODINGS[name])
    codes = np.stack([encode(view, encoding) for view in logits])
    return codes, logits_spec(encoding, SHAPE, BLOCK, CHUNK)


def put(root: Path, objects):
    for key, data in objects.items():
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_a_packed_record_comes_back(record):
    assert unpack(pack(record), "it") == record


def test_equal_records_have_equal_bytes():
    assert pack({"a": 1, "b": [1.5, None]}) == pack({"b": [1.5, None], "a": 1})


@given(st.data())
def test_a_changed_record_is_damage_or_the_same_record(data):
    record = {"view": 1, "blocks": [{"start": 0, "sha256": "ab" * 32, "kl": 1e-5}], "name": "ä"}
    packed = bytearray(pack(record))
    place, bit = data.draw(st.integers(0, len(packed) - 1)), data.draw(st.integers(0, 7))
    packed[place] ^= 1 << bit
    try:
        assert unpack(bytes(packed), "here") == record
    except DamageError as error:
        assert str(error).startswith("here is damaged")  # noqa: PT017 - the other outcome is right too


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"null", b'{"record": 1}', b"\xff\xfe", b'{"record": 1, "sha256": 2}']
)
def test_what_is_no_record_is_damage(data):
    with pytest.raises(DamageError, match=r"commits/0.json is damaged"):
        unpack(data, "commits/0.json")


@given(st.integers(1, 200_000), st.integers(1, 30_000), st.integers(1, 50_000))
def test_blocks_are_even_bounded_and_whole_chunks(samples, width, target):
    rows, chunk = block_shape(samples, width, target)
    blocks = math.ceil(samples / rows)
    assert rows % chunk == 0
    assert chunk * width <= max(2**19, width)
    assert blocks <= math.ceil(samples / target)
    assert rows < target + chunk
    assert (blocks - 1) * rows < samples <= blocks * rows


def test_a_view_that_fits_is_one_block():
    assert block_shape(1000, 10, 8192) == (1000, 1000)
    assert block_shape(60000, 10, 8192) == (7500, 7500)


@given(st.integers(1, 10_000), st.integers(1, 4096))
def test_features_are_cut_in_the_same_blocks(rows, width):
    spec = feature_spec((1, 3 * rows, width), rows)
    assert spec.block_rows == rows
    assert rows % spec.chunk_rows == 0
    assert spec.chunk_rows * width <= max(2**19, width)


@pytest.mark.parametrize("name", [*ENCODINGS, "features"])
def test_shards_have_the_bytes_that_zarr_itself_writes(tmp_path, name):
    """Our metadata on a disk, opened by Zarr and written whole."""
    codes, spec = codes_and_spec(name)
    put(tmp_path, array_objects("path/array", spec))
    array = zarr.open_array(tmp_path / "path/array", mode="r+", config={"write_empty_chunks": True})
    array[...] = codes
    for view in range(VIEWS):
        for block in range(3):
            rows = slice(block * BLOCK, min((block + 1) * BLOCK, SAMPLES))
            written = (tmp_path / "path" / shard_key("array", view, block)).read_bytes()
            ours = values_to_shard(codes[view, rows], spec)
            assert ours == written
            assert (shard_to_values(ours, spec, len(codes[view, rows])) == codes[view, rows]).all()


@pytest.mark.parametrize("name", [*ENCODINGS, "features"])
def test_zarr_reads_our_shards_and_finds_the_rest_missing(tmp_path, name):
    codes, spec = codes_and_spec(name)
    put(tmp_path, array_objects("array", spec))
    put(tmp_path, {shard_key("array", 1, 2): values_to_shard(codes[1, 16:], spec)})
    found = zarr.open_array(tmp_path / "array", mode="r")[...]
    missing = np.isnan(found) if codes.dtype.kind == "f" else found == np.iinfo(codes.dtype).min
    assert (found[1, 16:] == codes[1, 16:]).all()
    assert not missing[1, 16:].any()
    assert missing[0].all()
    assert missing[1, :16].all()


def test_a_chunk_of_fill_values_is_written():
    """An unwritten chunk must stay distinguishable from one that holds what stands for missing."""
    _, spec = codes_and_spec("int16")
    empty = np.full((BLOCK, CLASSES), spec.fill, dtype=np.int16)
    assert len(values_to_shard(empty, spec)) > 2 * 16 + 4  # more than the shard's index of two chunks


@pytest.mark.parametrize("name", ["int16", "float32", "features"])
def test_a_flipped_bit_never_decodes_to_other_values(name):
    codes, spec = codes_and_spec(name)
    shard = values_to_shard(codes[0, :BLOCK], spec)
    for place in range(0, 8 * len(shard), 5):
        flipped = bytearray(shard)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(ValueError, match=r"."):
            shard_to_values(bytes(flipped), spec, BLOCK)


def test_metadata_say_what_readers_need():
    _, spec = codes_and_spec("int16")
    [(key, data)] = array_objects("train/teachers/big/logits", spec).items()
    metadata = json.loads(data)
    step = resolve(ENCODINGS["int16"]).step
    assert key == "train/teachers/big/logits/zarr.json"
    assert metadata["dimension_names"] == ["view", "sample", "class"]
    assert metadata["fill_value"] == -32768
    assert metadata["attributes"] == {"scale_factor": step, "_FillValue": -32768}
    assert '"crc32c"' in data.decode()


def test_whole_arrays_come_back_with_their_names(tmp_path):
    values = np.arange(12, dtype=np.int64)
    put(tmp_path, whole_array_objects("train/labels", values, ("sample",)))
    array = zarr.open_array(tmp_path / "train/labels", mode="r")
    assert (array[...] == values).all()
    assert array.metadata.dimension_names == ("sample",)


def test_groups_are_one_object_each():
    assert list(group_objects("", {"a": 1})) == ["zarr.json"]
    assert list(group_objects("train", {})) == ["train/zarr.json"]
    assert json.loads(group_objects("train", {"a": 1})["train/zarr.json"])["attributes"] == {"a": 1}
