"""Sizes that are estimated are not too small, and sizes that are measured are those of a store."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from textbook import realistic

from logitcache.errors import InputError
from logitcache.planning.sizes import compared, estimate, estimated_row, kept_row, titled, weigh
from logitcache.store import (
    EncodingOptions,
    Sample,
    SplitContent,
    SplitRecord,
    StoreRecord,
    TeacherContent,
    TeacherRecord,
    choose_encoding,
    create_store,
)

ROWS, CLASSES, MANY = 1600, 80, 10**6
KINDS = {
    "lossless": EncodingOptions(kind="lossless"),
    "float16": EncodingOptions(kind="lossless", dtype="float16"),
    "uniform": EncodingOptions(kind="uniform", max_kl=0.01),
    "auto": EncodingOptions(max_kl=0.1),
    "spectral": EncodingOptions(kind="spectral", max_kl=0.1, head=4),
    "topk": EncodingOptions(kind="topk", entries=10),
    "portable": EncodingOptions(kind="uniform", codec="portable"),
}


@pytest.fixture(scope="module")
def logits():
    return realistic(ROWS, CLASSES)


@pytest.fixture(scope="module")
def sizes(logits):
    """Each encoding, weighed."""
    sample = Sample(torch.from_numpy(logits), MANY)
    return {name: weigh(options, sample) for name, options in KINDS.items()}


def stored(folder, options, logits):
    """Arrays of a block, bytes a row in shards, and bytes of the transform, of a store in a folder."""
    rows, classes = logits.shape
    choice = choose_encoding(options, Sample(torch.from_numpy(logits), MANY))
    record = TeacherRecord("t", "", "", "", "", choice.encoding, 1, rows, classes, rows, rows)
    index = np.arange(rows)
    split = SplitContent(SplitRecord("train", rows, ""), index, index)
    teacher = TeacherContent("train", record, choice.wholes)
    [writer] = create_store(folder, StoreRecord("d", tuple(map(str, range(classes))), {}), [split], [teacher])
    writer.write(0, 0, logits.astype(np.float16).astype(np.float32) if options.dtype == "float16" else logits)
    place = folder / "train/teachers/t"
    shards = [place / spec.key(0, 0) for spec in record.arrays.values()]
    wholes = [path for name in choice.wholes for path in (place / name).rglob("*") if path.is_file()]
    return len(shards), sum(p.stat().st_size for p in shards) / rows, sum(p.stat().st_size for p in wholes)


@pytest.mark.parametrize("name", KINDS)
def test_a_sample_weighs_what_a_store_takes(sizes, logits, tmp_path, name):
    arrays, row, shared = stored(tmp_path / "store.zarr", KINDS[name], logits)
    found = sizes[name]
    assert found.measured
    assert found.arrays == arrays
    assert found.row_bytes == pytest.approx(row, rel=0.15), "chunks of few rows compress a little worse"
    assert found.shared_bytes == pytest.approx(shared, rel=0.05, abs=0)
    assert found.total(MANY, 2) == pytest.approx(found.row_bytes * MANY + 2 * found.shared_bytes)


def test_what_a_sample_chooses_is_told(sizes):
    assert sizes["auto"].chosen.startswith("spectral, step ")
    assert sizes["spectral"].chosen.endswith(", head 4")
    assert sizes["uniform"].chosen == ""


def test_a_sample_of_too_few_rows_tells_nothing(logits):
    with pytest.raises(InputError, match="a sample of 15 rows tells no sizes; give at least 16, better 5 a class"):
        weigh(KINDS["uniform"], Sample(torch.from_numpy(logits[:15]), MANY))
    assert weigh(KINDS["uniform"], Sample(torch.from_numpy(logits[:16]), MANY)).measured


@pytest.mark.parametrize("name", KINDS)
def test_an_estimate_has_the_order_of_what_is_measured(sizes, name):
    guess = estimate(KINDS[name], CLASSES)
    assert not guess.measured
    assert 0.5 < guess.row_bytes / sizes[name].row_bytes < 6
    if guess.at_most:
        assert guess.row_bytes > sizes[name].row_bytes


def test_estimates_say_when_they_are_upper_ones():
    assert [estimate(KINDS[name], CLASSES).at_most for name in ("uniform", "auto", "spectral")] == [False, True, True]
    asked = estimate(EncodingOptions(bytes_per_row=40), CLASSES)
    assert (asked.row_bytes, asked.at_most) == (40, False)


def test_estimates_know_how_many_arrays_there_are(sizes):
    for name in ("uniform", "spectral", "topk", "lossless"):
        assert estimate(KINDS[name], CLASSES).arrays == sizes[name].arrays


def test_the_usual_encodings_stand_beside_the_recipes_own_at_its_promise():
    own = EncodingOptions(max_kl=0.03, tau_min=2)
    titles = [titled(each) for each in compared(own, 1000)]
    assert titles == [
        "lossless float32",
        "lossless float16",
        "uniform, max_kl 0.03 from tau 2 on",
        "auto, max_kl 0.03 from tau 2 on",
        "topk, 10 entries",
        "topk, 100 entries",
    ]
    assert [titled(each) for each in compared(EncodingOptions(bytes_per_row=99), 10)][-2:] == [
        "auto, max_kl 0.001 from tau 1 on",
        "auto, bytes_per_row 99",
    ]


@pytest.mark.parametrize(
    "change",
    [{"head": 3}, {"precision": "bf16"}, {"dtype": "int32"}, {"codec": "portable"}, {"max_kl": 0.5}, {"step": 1.0}],
)
def test_different_encodings_have_different_titles(change):
    assert titled(EncodingOptions(kind="spectral")) != titled(EncodingOptions(kind="spectral", **change))


def test_decoded_rows_take_the_memory_of_their_codes():
    kept = {name: kept_row(options, CLASSES) for name, options in KINDS.items()}
    assert (kept["lossless"], kept["float16"], kept["uniform"]) == (4 * CLASSES, 2 * CLASSES, 2 * CLASSES)
    assert kept["topk"] == 8 * 10 + 4


def test_uniform_is_estimated_by_the_entropy_of_its_codes():
    coarse, fine = (estimated_row(EncodingOptions(kind="uniform", max_kl=k), 1000) for k in (1e-1, 1e-3))
    assert fine - coarse == pytest.approx(1000 / 8 * 3.32, rel=0.02)  # a tenth of the step, log2(10) bits a logit
