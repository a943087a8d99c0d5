"""Statistics and report of a store that the package itself wrote."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import logitcache.store as lc
from logitcache import report, statistics
from logitcache.errors import MissingError

SAMPLES, CLASSES, VIEWS, BLOCK = 50, 4, 2, 16


def write_store(path: Path, leave_out: tuple[int, int] | None = None) -> np.ndarray:
    """A store with one split; returns the logits (views, samples, classes) that went in."""
    logits = np.random.default_rng(0).normal(0, 4, (VIEWS, SAMPLES, CLASSES)).astype(np.float32)
    labels = np.arange(SAMPLES) % CLASSES
    split = lc.SplitContent(lc.SplitRecord("test", SAMPLES, "f" * 16), labels, np.arange(SAMPLES))
    encoding = lc.resolve(lc.EncodingOptions())
    record = lc.TeacherRecord(
        "big", "cnn", "w" * 16, "float32", "", encoding, VIEWS, SAMPLES, CLASSES, BLOCK, BLOCK, taus=(1.0, 4.0)
    )
    store = lc.StoreRecord("numbers", tuple("abcd"), {"kind": "none"})
    (writer,) = lc.create_store(path, store, [split], [lc.TeacherContent("test", record, {})])
    for view, block in writer.pending():
        if (view, block) != leave_out:
            rows = writer.rows(block)
            writer.write(view, block, logits[view, rows.start : rows.stop])
    writer.finish()
    return logits


def write_student(folder: Path, logits: np.ndarray) -> None:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"run_id": folder.name, "status": "done", "teachers": ["big"]}))
    np.save(folder / "test_logits.npy", logits)


def test_the_array_holds_what_the_store_returns(tmp_path: Path) -> None:
    logits = write_store(tmp_path / "store.zarr")
    store = lc.open_store(tmp_path / "store.zarr")
    array = statistics.array(store, "big", "test")
    step = store.logits("big", "test").encoding.step
    assert array.chunks == ((1, 1), (16, 16, 16, 2), (CLASSES,))
    assert np.abs(array.compute() - logits).max() <= step / 2 * (1 + 1e-6)


def test_run_and_report_go_from_a_store_to_files_and_a_page(tmp_path: Path) -> None:
    write_store(tmp_path / "store.zarr")
    store = lc.open_store(tmp_path / "store.zarr").logits("big", "test")
    decoded = np.concatenate([store.read(0, block) for block in range(store.blocks)])
    write_student(tmp_path / "students" / "twin", decoded)
    files = statistics.run(tmp_path / "store.zarr", tmp_path / "statistics", tmp_path / "students")
    assert [file.name for file in files[:4]] == ["teachers.csv", "classes.csv", "class_means.csv", "students.csv"]
    with files[3].open(newline="", encoding="utf-8") as file:
        (twin,) = csv.DictReader(file)
    assert (float(twin["agreement"]), float(twin["kl_tau_1"])) == (100.0, 0.0)
    assert float(twin["accuracy"]) == 100 * (decoded.argmax(1) == np.arange(SAMPLES) % CLASSES).mean()
    page = report.write_report(tmp_path).read_text(encoding="utf-8")
    assert "numbers: one teacher" in page
    assert "none lies above its bound" in page


def test_only_the_clean_view_must_be_there(tmp_path: Path) -> None:
    write_store(tmp_path / "augmented.zarr", leave_out=(1, 2))
    write_store(tmp_path / "clean.zarr", leave_out=(0, 2))
    assert len(statistics.run(tmp_path / "augmented.zarr", tmp_path / "statistics")) > 3
    with pytest.raises(MissingError):
        statistics.run(tmp_path / "clean.zarr", tmp_path / "statistics")


def test_a_cluster_gives_what_threads_give(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    write_store(tmp_path / "store.zarr")
    store = lc.open_store(tmp_path / "store.zarr")
    with distributed.Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None):
        assert statistics.tables(store, scheduler="distributed") == statistics.tables(store)
