"""What a store says of itself is what lies in it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import Plan

from logitcache.store import EncodingOptions, open_store, store_info
from logitcache.store.fidelity import TAUS

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
