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
from logitcache.store import Encoding, EncodingOptions, resolve
from logitcache.store.backend import LocalBackend
from logitcache.store.documents import pack, unpack
from logitcache.store.layout import Cut, block_shape, feature_spec, logits_specs
from logitcache.store.schema import array_objects, group_objects, shard_to_values, values_to_shard, whole_array_objects
from logitcache.store.wholes import read_whole, whole_bytes

VIEWS, SAMPLES, CLASSES, BLOCK, CHUNK = 2, 20, 5, 8, 4
CUT = Cut(VIEWS, SAMPLES, BLOCK, CHUNK)


def spectral(components, **fields):
    return Encoding("spectral", fields.pop("dtype", "int16"), 0.5, fields.pop("max_kl", 0.1), 1.0, components, **fields)


ENCODINGS = {
    "uniform": resolve(EncodingOptions(kind="uniform")),
    "uniform int32": resolve(EncodingOptions(kind="uniform", dtype="int32")),
    "uniform portable": resolve(EncodingOptions(kind="uniform", codec="portable")),
    "lossless": resolve(EncodingOptions(kind="lossless")),
    "lossless float16": resolve(EncodingOptions(kind="lossless", dtype="float16")),
    "lossless portable": resolve(EncodingOptions(kind="lossless", codec="portable")),
    "spectral": spectral(5),
    "spectral 1": spectral(1),
    "spectral 64": spectral(64, head=3, head_step=0.25),
    "spectral 65": spectral(65, dtype="int32", head=1, head_step=0.25),
    "spectral 130 portable": spectral(130, head=2, head_step=0.25, codec="portable"),
    "spectral step": spectral(65, max_kl=None),
    "topk": resolve(EncodingOptions(kind="topk", entries=3)),
    "topk all": resolve(EncodingOptions(kind="topk", entries=50, dtype="float32", codec="portable")),
}
SPECS = {
    f"{name}: {spec.name}": spec
    for name, encoding in ENCODINGS.items()
    for spec in logits_specs(encoding, 5 if "int32" not in name else 40_000, CUT).values()
    if spec.shape[-1] < 1000
}
SPECS |= {
    "features float16": feature_spec(3, 0.0, "pcodec", CUT),
    "features": feature_spec(70, 0.125, "pcodec", CUT),
    "features portable": feature_spec(3, 0.125, "portable", CUT),
}


def values_of(spec):
    """Numbers that an array of this kind holds, none of them what stands for missing."""
    rng = np.random.default_rng(0)
    if spec.dtype.startswith("float"):
        return rng.normal(0, 4, spec.shape).astype(spec.dtype)
    limit = min(np.iinfo(spec.dtype).max, 2000)
    return np.rint(rng.normal(0, limit / 8, spec.shape)).clip(-limit, limit).astype(spec.dtype)


def place(spec, view, block):
    """Where a block stands in its array."""
    cut = [view, *[slice(None)] * (len(spec.shape) - 1)]
    cut[spec.axis] = slice(block * BLOCK, min((block + 1) * BLOCK, SAMPLES))
    return tuple(cut)


def block_of(values, spec, view, block):
    """A block of an array."""
    return values[place(spec, view, block)]


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
    assert blocks <= math.ceil(samples / max(1, min(target, 2**26 // width)))
    assert rows < target + chunk
    assert (blocks - 1) * rows < samples <= blocks * rows


def test_a_view_that_fits_is_one_block():
    assert block_shape(1000, 10, 8192) == (1000, 1000)
    assert block_shape(60000, 10, 8192) == (7500, 7500)


@given(st.integers(1, 10_000), st.integers(1, 4096), st.sampled_from([0.0, 0.25]))
def test_features_are_cut_in_the_same_blocks(rows, width, step):
    spec = feature_spec(width, step, "pcodec", Cut(1, 3 * rows, rows, rows))
    assert spec.block_rows == rows
    assert spec.blocks == 3
    assert rows % spec.chunk[1] == 0
    assert spec.chunk[1] * width <= max(2**19, width)


@given(st.integers(1, 60_000), st.integers(1, 3000), st.integers(0, 60))
def test_bands_are_even_and_blocks_whole_chunks(rows, components, head):
    encoding = spectral(components, head=head, head_step=0.25 * bool(head))
    for spec in logits_specs(encoding, 10**5, Cut(3, 5 * rows, rows, rows)).values():
        assert spec.blocks == 5
        assert spec.shard[spec.axis] == rows
        assert rows % spec.chunk[spec.axis] == 0
        assert spec.chunk[spec.axis] <= 2**14
        if spec.name == "coefficients":
            bands = spec.shard[1] // spec.chunk[1]
            assert spec.chunk[1] <= 64
            assert bands == math.ceil(components / 64)
            assert components <= spec.shard[1] < components + bands


@pytest.mark.parametrize("name", SPECS)
def test_shards_have_the_bytes_that_zarr_itself_writes(tmp_path, name):
    """Our metadata on a disk, opened by Zarr and written."""
    spec, values = SPECS[name], values_of(SPECS[name])
    put(tmp_path, array_objects("path/array", spec))
    array = zarr.open_array(tmp_path / "path/array", mode="r+", config={"write_empty_chunks": True})
    assert spec.blocks == 3
    for view in range(VIEWS):
        for block in range(3):
            part = np.ascontiguousarray(block_of(values, spec, view, block))  # PCodec takes no strides
            array[place(spec, view, block)] = part
            key = spec.key(view, block).replace(spec.name, "array", 1)
            ours = values_to_shard(part, spec)
            assert ours == (tmp_path / "path" / key).read_bytes()
            back = shard_to_values(ours, spec, part.shape[spec.axis - 1])
            assert (back.dtype, back.shape) == (part.dtype, part.shape)
            assert (back == part).all()


@pytest.mark.parametrize("name", SPECS)
def test_zarr_reads_our_shards_and_finds_the_rest_missing(tmp_path, name):
    """The last block, which is shorter than the others, alone."""
    spec, values = SPECS[name], values_of(SPECS[name])
    last = block_of(values, spec, 1, 2)
    assert last.shape[spec.axis - 1] == 4
    put(tmp_path, array_objects(spec.name, spec))
    put(tmp_path, {spec.key(1, 2): values_to_shard(last, spec)})
    found = zarr.open_array(tmp_path / spec.name, mode="r")[...]
    assert (block_of(found, spec, 1, 2) == last).all()
    missing = np.isnan(found) if values.dtype.kind == "f" else found == np.iinfo(values.dtype).min
    assert not block_of(missing, spec, 1, 2).any()
    assert missing.sum() == missing.size - last.size


def test_the_primary_array_is_the_first():
    for encoding in ENCODINGS.values():
        assert next(iter(logits_specs(encoding, CLASSES, CUT))) == encoding.primary


def test_each_encoding_has_the_arrays_that_it_needs():
    found = {name: [*logits_specs(encoding, CLASSES, CUT)] for name, encoding in ENCODINGS.items()}
    assert found["uniform"] == found["lossless"] == ["logits"]
    assert found["spectral"] == ["coefficients", "level"]
    assert found["spectral step"] == ["coefficients"]  # nothing is refined where nothing is promised
    assert found["spectral 64"] == ["coefficients", "level", "head_classes", "head_values"]
    assert found["topk"] == ["top_values", "top_classes", "tail"]
    assert logits_specs(ENCODINGS["topk all"], CLASSES, CUT)["top_values"].shape == (VIEWS, CLASSES, SAMPLES)


@pytest.mark.parametrize(("classes", "dtype"), [(2**15, "int16"), (2**15 + 1, "int32")])
@pytest.mark.parametrize("name", ["topk", "spectral 64"])
def test_class_numbers_have_the_type_that_holds_them(name, classes, dtype):
    specs = logits_specs(ENCODINGS[name], classes, CUT)
    assert specs["top_classes" if name == "topk" else "head_classes"].dtype == dtype


def test_a_chunk_of_fill_values_is_written():
    """An unwritten chunk must stay distinguishable from one that holds what stands for missing."""
    spec = SPECS["uniform: logits"]
    empty = np.full((BLOCK, CLASSES), spec.fill, dtype=np.int16)
    assert len(values_to_shard(empty, spec)) > 2 * 16 + 4  # more than the shard's index of two chunks


@pytest.mark.parametrize(
    "name",
    ["uniform: logits", "lossless: logits", "uniform portable: logits", "features", "spectral: level", "topk: tail"],
)
def test_a_flipped_bit_never_decodes_to_other_values(name):
    spec = SPECS[name]
    shard = values_to_shard(block_of(values_of(spec), spec, 0, 0), spec)
    for bit in range(0, 8 * len(shard), 5 if len(shard) < 500 else 29):
        flipped = bytearray(shard)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match=r"."):
            shard_to_values(bytes(flipped), spec, BLOCK)


@pytest.mark.parametrize(
    ("name", "dimensions", "attributes"),
    [
        ("uniform: logits", ["view", "sample", "class"], {"scale_factor": 0.08935546875, "_FillValue": -32768}),
        ("lossless: logits", ["view", "sample", "class"], {}),
        ("spectral 64: coefficients", ["view", "component", "sample"], {"scale_factor": 0.5, "_FillValue": -32768}),
        ("spectral 64: level", ["view", "sample"], {"_FillValue": -32768}),
        ("spectral 64: head_values", ["view", "head", "sample"], {"scale_factor": 0.25, "_FillValue": -(2**31)}),
        ("spectral 64: head_classes", ["view", "head", "sample"], {"_FillValue": -32768}),
        ("topk: top_values", ["view", "rank", "sample"], {}),
        ("topk: top_classes", ["view", "rank", "sample"], {"_FillValue": -32768}),
        ("topk: tail", ["view", "sample"], {}),
        ("features", ["view", "sample", "feature"], {"scale_factor": 0.125, "_FillValue": -32768}),
    ],
)
def test_metadata_say_what_readers_need(name, dimensions, attributes):
    spec = SPECS[name]
    [(key, data)] = array_objects(f"train/teachers/big/{spec.name}", spec).items()
    metadata = json.loads(data)
    assert key == f"train/teachers/big/{spec.name}/zarr.json"
    assert metadata["dimension_names"] == dimensions
    assert metadata["attributes"] == attributes
    assert metadata["fill_value"] == attributes.get("_FillValue", "NaN")
    assert '"crc32c"' in data.decode()


@pytest.mark.parametrize("name", [name for name in SPECS if "portable" in name or "all" in name])
def test_portable_arrays_have_no_codec_that_is_not_in_the_zarr_specification(name):
    [text] = array_objects("array", SPECS[name]).values()
    for codec in ("pcodec", "numcodecs"):
        assert codec not in text.decode()
    assert '"blosc"' in text.decode()


@pytest.mark.parametrize("codec", ["portable", "pcodec"])
@pytest.mark.parametrize("shape", [(1,), (7,), (1, 5), (64, 3), (65, 3), (200, 2)])
def test_arrays_that_are_not_cut_come_back_whole(tmp_path, codec, shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    objects = whole_array_objects("train/basis", values, ("component", "class")[: len(shape)], codec)
    put(tmp_path, objects)
    assert (zarr.open_array(tmp_path / "train/basis", mode="r")[...] == values).all()
    assert (read_whole(LocalBackend(tmp_path), "train/basis") == values).all()
    size = sum(len(data) for key, data in objects.items() if "/c/" in key)
    assert whole_bytes(LocalBackend(tmp_path), "train/basis") == size


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
