"""What a store says of itself is what lies in it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import KINDS, Plan

from logitcache.store import EncodingOptions, describe, open_store, store_info
from logitcache.store.encodings import TAUS

PLAN = Plan(features=3)


def info(path):
    found = store_info(open_store(path))
    return json.loads(json.dumps(found, allow_nan=False))


@pytest.fixture
def found(tmp_path, unsynced):
    PLAN.write(tmp_path, leave_out={(1, 2)})
    return info(tmp_path)


def teacher(found):
    return found["splits"][0]["teachers"][0]


def test_data_set_and_views_are_told(found, tmp_path):
    assert found["path"] == str(tmp_path)
    assert (found["format_version"], found["dataset"], found["classes"]) == (1, {"name": "numbers"}, 4)
    assert found["views"] == {"kind": "crop_flip", "padding": 4}
    assert [(split["split"], split["samples"]) for split in found["splits"]] == [("train", 20)]


def test_blocks_and_rows_are_those_that_are_committed(found):
    assert [teacher(found)[key] for key in ("views", "blocks", "committed", "rows")] == [2, 6, 5, 36]
    assert teacher(found)["encoding"]["kind"] == "uniform"


def test_bytes_are_those_on_the_disk(found, tmp_path):
    assert [array["name"] for array in teacher(found)["arrays"]] == ["logits", "features"]
    for array in teacher(found)["arrays"]:
        folder = tmp_path / "train/teachers/big" / array["name"] / "c"
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        assert array["bytes"] == size > 0
        assert array["bytes_per_row"] == size / 36
    assert teacher(found)["float16_bytes_per_row"] == 8


def test_the_measured_error_keeps_the_bound(found):
    fidelity = teacher(found)["fidelity"]
    assert fidelity["taus"] == list(TAUS)
    assert 0 < fidelity["largest_error"] <= fidelity["step"] / 2
    assert fidelity["largest_range"] <= fidelity["step"]
    for largest, mean, bound in zip(fidelity["kl_largest"], fidelity["kl_mean"], fidelity["kl_bound"], strict=True):
        assert 0 < mean < largest <= bound


def test_the_measured_error_is_that_of_the_decoded_logits(found, tmp_path):
    reader = open_store(tmp_path).logits("big")
    errors = []
    for view in range(2):
        for block in range(3):
            if reader.has(view, block):
                rows = reader.rows(block)
                errors.append(reader.read(view, block) - PLAN.logits[view, rows.start : rows.stop])
    error = np.concatenate(errors).astype(np.float64)
    fidelity = teacher(found)["fidelity"]
    assert fidelity["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    assert fidelity["largest_error"] == np.abs(error).max()


def test_an_empty_store_has_no_fidelity(tmp_path, unsynced):
    PLAN.writer(tmp_path)
    found = teacher(info(tmp_path))
    assert (found["committed"], found["rows"], found["fidelity"]) == (0, 0, None)


def test_lossless_logits_have_no_error(tmp_path, unsynced):
    Plan(encoding=EncodingOptions(kind="lossless")).write(tmp_path)
    fidelity = teacher(info(tmp_path))["fidelity"]
    assert (fidelity["largest_error"], fidelity["rmse"], fidelity["top1_kept"]) == (0, 0, 1)
    assert fidelity["kl_largest"] == fidelity["kl_bound"] == [0] * len(TAUS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_tells_its_arrays_with_their_bytes(tmp_path, unsynced, kind):
    plan = Plan(encoding=KINDS[kind])
    plan.write(tmp_path)
    found = teacher(info(tmp_path))
    folder = tmp_path / "train/teachers/big"
    assert [array["name"] for array in found["arrays"]] == list(plan.record.arrays)
    for array in found["arrays"]:
        assert array["bytes"] == size_of(folder / array["name"] / "c") > 0
    total = sum(array["bytes"] for array in found["arrays"])
    assert found["logits_bytes_per_row"] == total / 40
    wholes = sum(size_of(folder / name / "c") for name in plan.choice.wholes)
    assert found["whole_arrays_bytes"] == wholes
    assert found["whole_arrays_bytes_per_row"] == wholes / 40
    assert found["encoding_text"] == describe(plan.choice.encoding)
    assert found["encoding"]["kind"] == plan.choice.encoding.kind


def size_of(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_rows_that_were_refined_are_counted(tmp_path, unsynced):
    encoding = EncodingOptions(kind="spectral", max_kl=0.1, tau_min=0.5)
    Plan(encoding=encoding, samples=400, block_rows=100).write(tmp_path)
    fidelity = teacher(info(tmp_path))["fidelity"]
    reader = open_store(tmp_path).logits("big")
    levels = [reader.values(view, block)["level"] for view in range(2) for block in range(4)]
    assert fidelity["refined"] == sum(int((level > 0).sum()) for level in levels) > 0
    assert 0 < fidelity["kl_checked"] <= 0.1
    assert fidelity["kl_bound"] == [0.1] * len(TAUS)


def test_nothing_is_promised_below_tau_min_or_by_the_largest_entries(tmp_path, unsynced):
    Plan(encoding=EncodingOptions(kind="spectral", tau_min=2)).write(tmp_path / "spectral")
    Plan(encoding=KINDS["topk"]).write(tmp_path / "topk")
    assert teacher(info(tmp_path / "spectral"))["fidelity"]["kl_bound"] == [None, None, 1e-3, 1e-3, 1e-3]
    assert teacher(info(tmp_path / "topk"))["fidelity"]["kl_bound"] == [None] * len(TAUS)


def test_features_are_told_with_their_stated_and_measured_error(tmp_path, unsynced):
    plan = Plan(features=3, feature_step=0.125)
    plan.write(tmp_path)
    features = teacher(info(tmp_path))["features"]
    reader = open_store(tmp_path).logits("big")
    error = [
        reader.features(view, block) - plan.penultimate[view, reader.rows(block).start : reader.rows(block).stop]
        for view in range(2)
        for block in range(3)
    ]
    error = np.concatenate(error).astype(np.float64)
    assert (features["width"], features["step"], features["error_bound"]) == (3, 0.125, 0.0625)
    assert features["largest_error"] == pytest.approx(np.abs(error).max(), rel=1e-6)
    assert features["largest_error"] <= 0.0625
    assert features["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-6)


def test_the_first_stores_features_have_no_stated_error(found):
    assert (teacher(found)["features"]["step"], teacher(found)["features"]["error_bound"]) == (0, None)


def test_other_formats_bytes_are_told_for_comparison(tmp_path, unsynced):
    Plan(classes=150, samples=8, block_rows=8).write(tmp_path)
    assert teacher(info(tmp_path))["topk_bytes_per_row"] == {"10": 40, "100": 400}
    assert teacher(info(tmp_path))["float16_bytes_per_row"] == 300
