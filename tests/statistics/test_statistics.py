"""Statistics equal a plain NumPy reference, whatever the blocks and the scheduler, and leave out what they must."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stored_logits import MemoryReader

from logitcache import statistics
from logitcache.errors import InputError, MissingError
from logitcache.statistics import measures

SAMPLES, CLASSES, VIEWS = 103, 5, 3


@dataclass
class FakeStore:
    """Readers by (teacher, split) and labels by split."""

    readers: dict[tuple[str, str], MemoryReader]
    truth: dict[str, NDArray[np.int64]]
    classes: tuple[str, ...] = tuple("abcde")

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.truth)

    def teachers(self, split: str) -> tuple[str, ...]:
        return tuple(teacher for teacher, where in self.readers if where == split)

    def labels(self, split: str) -> NDArray[np.int64]:
        return self.truth[split]

    def logits(self, teacher: str, split: str) -> MemoryReader:
        return self.readers[teacher, split]


def make_store(block_rows: int = 20, offset: float = 0.0) -> FakeStore:
    random = np.random.default_rng(0)
    readers, truth = {}, {}
    for split in ("train", "test"):
        truth[split] = random.integers(0, CLASSES, SAMPLES)
        for teacher in ("big", "small"):
            values = random.normal(offset, 3, (VIEWS, SAMPLES, CLASSES)).astype(np.float32)
            readers[teacher, split] = MemoryReader(values, block_rows)
    return FakeStore(readers, truth)


def add_student(folder: Path, name: str, logits: NDArray[Any] | None, status: str = "done") -> None:
    place = folder / name
    place.mkdir(parents=True)
    facts = {"run_id": name, "status": status, "group": "g", "student": "tiny", "teachers": ["big"], "label": "KL τ=4"}
    (place / "run.json").write_text(json.dumps({**facts, "samples": 10, "views": 0, "seed": 1}), encoding="utf-8")
    if logits is not None:
        np.save(place / "test_logits.npy", logits)


def rows(tables: tuple[statistics.Table, ...], name: str) -> list[dict[str, Any]]:
    (table,) = (table for table in tables if table.name == name)
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def plain_log_softmax(logits: NDArray[Any], tau: float) -> NDArray[np.float64]:
    scaled = logits.astype(np.longdouble) / tau
    return np.asarray(scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True)), dtype=np.float64)


def test_teachers_table_equals_numpy() -> None:
    store = make_store(offset=100.0)
    table = rows(statistics.tables(store), "teachers")
    assert [(row["teacher"], row["split"]) for row in table] == [
        ("big", "train"),
        ("small", "train"),
        ("big", "test"),
        ("small", "test"),
    ]
    for row in table:
        logits = store.readers[row["teacher"], row["split"]].values[0].astype(np.float64)
        log_p = plain_log_softmax(logits - 100, 1.0)
        assert row["samples"] == SAMPLES
        assert row["accuracy"] == pytest.approx(100 * (logits.argmax(1) == store.labels(row["split"])).mean())
        assert row["mean_entropy"] == pytest.approx(-(np.exp(log_p) * log_p).sum(1).mean(), rel=1e-12)
        assert row["logit_mean"] == pytest.approx(logits.mean(), rel=1e-13)
        assert row["logit_variance"] == pytest.approx(logits.var(), rel=1e-12)


def test_of_some_teachers_only_those_are_measured() -> None:
    store = make_store()
    whole, part = statistics.tables(store), statistics.tables(store, teachers=("small", "none"))
    for one, all_of_it in zip(part, whole, strict=True):
        assert one.rows == tuple(row for row in all_of_it.rows if row[0] == "small")


def test_class_tables_equal_numpy() -> None:
    store = make_store()
    tables = statistics.tables(store)
    own, means = rows(tables, "classes"), rows(tables, "class_means")
    assert len(own) == len(means) == 4 * CLASSES
    for row, mean in zip(own, means, strict=True):
        k = store.classes.index(row["class"])
        logits = store.readers[row["teacher"], row["split"]].values[0].astype(np.float64)
        mask = store.labels(row["split"]) == k
        log_p = plain_log_softmax(logits[mask], 1.0)
        assert row["samples"] == mask.sum()
        assert row["accuracy"] == pytest.approx(100 * (logits[mask].argmax(1) == k).mean())
        assert row["mean_entropy"] == pytest.approx(-(np.exp(log_p) * log_p).sum(1).mean(), rel=1e-12)
        assert row["logit_mean"] == pytest.approx(logits[:, k].mean(), rel=1e-12)
        assert row["logit_variance"] == pytest.approx(logits[:, k].var(), rel=1e-12)
        assert row["own_logit_mean"] == pytest.approx(logits[mask, k].mean(), rel=1e-12)
        expected = logits[mask].mean(0)
        assert [mean[f"logit_{name}"] for name in store.classes] == pytest.approx(list(expected), rel=1e-11)


def test_students_table_equals_numpy(tmp_path: Path) -> None:
    store = make_store()
    student = np.random.default_rng(1).normal(0, 2, (SAMPLES, CLASSES)).astype(np.float32)
    add_student(tmp_path, "run-1", student)
    table = rows(statistics.tables(store, students=tmp_path, taus=(0.5, 4.0)), "students")
    assert [row["teacher"] for row in table] == ["big", "small"]
    for row in table:
        teacher = store.readers[row["teacher"], "test"].values[0]
        assert (row["run_id"], row["label"], row["teachers"], row["status"]) == ("run-1", "KL τ=4", "big", "measured")
        assert row["accuracy"] == pytest.approx(100 * (student.argmax(1) == store.labels("test")).mean())
        assert row["agreement"] == pytest.approx(100 * (student.argmax(1) == teacher.argmax(1)).mean())
        for tau in (0.5, 4.0):
            log_p, log_q = plain_log_softmax(teacher, tau), plain_log_softmax(student, tau)
            expected = (np.exp(log_p) * (log_p - log_q)).sum(1).mean()
            assert row[f"kl_tau_{tau:g}"] == pytest.approx(expected, rel=1e-12)


@settings(max_examples=8, deadline=None)
@given(block_rows=st.integers(1, SAMPLES + 5))
def test_results_do_not_depend_on_blocks(block_rows: int) -> None:
    one, other = (statistics.tables(make_store(size), scheduler="sync") for size in (SAMPLES, block_rows))
    for table, again in zip(one, other, strict=True):
        for row, twin in zip(table.rows, again.rows, strict=True):
            for value, same in zip(row, twin, strict=True):
                assert same == (value if isinstance(value, str) else pytest.approx(value, rel=1e-11, abs=1e-12))


def test_results_are_the_same_bits_under_every_scheduler(tmp_path: Path) -> None:
    add_student(tmp_path, "run-1", np.ones((SAMPLES, CLASSES), np.float32))
    store = make_store(3)
    threads, plain = (statistics.tables(store, students=tmp_path, scheduler=name) for name in ("threads", "sync"))
    assert threads == plain


def test_of_very_many_blocks_a_task_measures_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.random.default_rng(1).normal(0, 3, (SAMPLES, CLASSES)).astype(np.float32)
    add_student(tmp_path, "one", logits)
    whole = statistics.tables(make_store(10), students=tmp_path, scheduler="sync")
    monkeypatch.setattr("logitcache.statistics.arrays.MOST_TASKS", 3)
    store = make_store(10)
    parts = statistics.tables(store, students=tmp_path, scheduler="sync")
    assert [table.columns for table in parts] == [table.columns for table in whole]
    for one, other in zip(whole, parts, strict=True):
        for left, right in zip(one.rows, other.rows, strict=True):
            assert [pytest.approx(x, rel=1e-5, abs=1e-9) if isinstance(x, float) else x for x in left] == list(right)
    assert sorted(store.readers["big", "test"].reads) == [(0, block) for block in range(11)]


def test_each_clean_block_is_read_once_and_no_other(tmp_path: Path) -> None:
    for name in ("one", "two"):
        add_student(tmp_path, name, np.zeros((SAMPLES, CLASSES), np.float32))
    store = make_store(20)
    statistics.tables(store, students=tmp_path)
    for reader in store.readers.values():
        assert sorted(reader.reads) == [(0, block) for block in range(6)]


def test_array_is_lazy_and_has_one_chunk_a_block() -> None:
    store = make_store(20)
    array = statistics.array(store, "big", "train")
    reader = store.readers["big", "train"]
    assert reader.reads == []
    assert array.chunks == ((1, 1, 1), (20, 20, 20, 20, 20, 3), (CLASSES,))
    assert array.dtype == np.float32
    assert np.array_equal(array[1].compute(scheduler="sync"), reader.values[1])
    assert sorted(reader.reads) == [(1, block) for block in range(6)]


def test_a_missing_block_is_an_error_when_computed() -> None:
    store = make_store(20)
    store.readers["big", "train"].missing = ((0, 2),)
    array = statistics.array(store, "big", "train")
    assert array[1].compute(scheduler="sync").shape == (SAMPLES, CLASSES)
    with pytest.raises(MissingError, match="block 2 of view 0"):
        array.compute(scheduler="sync")
    with pytest.raises(MissingError):
        statistics.tables(store)


@pytest.mark.parametrize(
    ("logits", "status", "reason"),
    [
        (None, "done", "test_logits.npy is missing"),
        (np.zeros((SAMPLES, CLASSES)), "diverged", "status is diverged"),
        (np.zeros((7, CLASSES)), "done", "test_logits.npy has shape (7, 5), the split has (103, 5)"),
        (np.full((SAMPLES, CLASSES), np.nan), "done", "logits are not finite"),
        (np.full((SAMPLES, CLASSES), np.inf), "done", "logits are not finite"),
    ],
)
def test_a_student_that_cannot_be_measured_is_skipped_with_the_reason(
    tmp_path: Path, logits: NDArray[Any] | None, status: str, reason: str
) -> None:
    add_student(tmp_path, "bad", logits, status)
    add_student(tmp_path, "good", np.zeros((SAMPLES, CLASSES), np.float32))
    table = rows(statistics.tables(make_store(), students=tmp_path), "students")
    bad, good = table[:2]
    assert (bad["status"], bad["reason"], bad["kl_tau_1"], bad["agreement"]) == ("skipped", reason, "", "")
    assert (good["status"], good["reason"], good["test_samples"]) == ("measured", "", SAMPLES)


def test_a_file_cut_short_is_a_reason(tmp_path: Path) -> None:
    add_student(tmp_path, "cut", np.zeros((SAMPLES, CLASSES), np.float32))
    path = tmp_path / "cut" / "test_logits.npy"
    path.write_bytes(path.read_bytes()[:200])
    (row, _) = rows(statistics.tables(make_store(), students=tmp_path), "students")
    assert row["reason"] == "test_logits.npy cannot be read"


def test_a_damaged_run_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"run_id": ')
    with pytest.raises(InputError, match=r"run\.json is not valid JSON"):
        statistics.tables(make_store(), students=tmp_path)


def test_a_missing_folder_and_a_bad_temperature_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        statistics.tables(make_store(), students=tmp_path / "none")
    with pytest.raises(InputError, match="above 0"):
        statistics.tables(make_store(), taus=(1.0, 0.0))


def test_unknown_labels_count_for_all_but_accuracy() -> None:
    store = make_store()
    store.truth = {split: np.full(SAMPLES, -1) for split in store.truth}
    tables = statistics.tables(store)
    row, cell = rows(tables, "teachers")[0], rows(tables, "classes")[0]
    assert row["accuracy"] == ""
    assert row["mean_entropy"] > 0
    assert (cell["samples"], cell["accuracy"], cell["own_logit_mean"]) == (0, "", "")


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e4, 1e30])
def test_log_softmax_is_finite_and_sums_to_one_at_any_scale(scale: float) -> None:
    logits = np.random.default_rng(2).normal(0, scale, (9, 4)).astype(np.float32)
    log_p = measures.log_softmax(logits, 0.5)
    assert log_p.dtype == np.float64
    assert np.isfinite(log_p).all()
    assert np.exp(log_p).sum(axis=1) == pytest.approx(1.0, rel=1e-14)


def test_written_files_give_the_same_numbers_back(tmp_path: Path) -> None:
    tables = statistics.tables(make_store())
    files = statistics.write(tables, tmp_path / "deep" / "statistics")
    assert [file.name for file in files] == ["teachers.csv", "classes.csv", "class_means.csv"]
    with files[0].open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    for row, again in zip(rows(tables, "teachers"), read, strict=True):
        assert float(again["logit_variance"]) == row["logit_variance"]
        assert (again["teacher"], int(again["samples"])) == (row["teacher"], row["samples"])
