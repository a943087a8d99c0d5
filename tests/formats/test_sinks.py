"""What is written for another system is what that system reads, and nothing is left where writing fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file

from logitcache.errors import DamageError, InputError
from logitcache.formats import SinkOptions, SourceOptions, export, open_source
from logitcache.store.encodings.topk import to_arrays, to_logits, top_k

LOGITS = np.random.default_rng(0).normal(0, 3, (3, 20, 6)).astype(np.float32)
ARRAYS = ("npy", "npz", "safetensors")


@dataclass
class Reader:
    """What sinks ask of a teacher's stored logits; a block may be damaged."""

    logits: np.ndarray = field(default_factory=lambda: LOGITS)
    entries: int = 0
    damaged: tuple[int, int] | None = None
    samples, classes, blocks = 20, 6, 3

    @property
    def encoding(self):
        return SimpleNamespace(kind="topk" if self.entries else "uniform", entries=self.entries)

    def rows(self, block):
        return range(block * 8, min(block * 8 + 8, 20))

    def read(self, view, block):
        if (view, block) == self.damaged:
            raise DamageError("damaged")
        rows = self.rows(block)
        part = self.logits[view, rows.start : rows.stop]
        return to_logits(self.sparse(part), 6) if self.entries else part

    def values(self, view, block):
        rows = self.rows(block)
        return to_arrays(self.sparse(self.logits[view, rows.start : rows.stop]), 6)

    def sparse(self, part):
        return top_k(part, self.entries, 0.95)


def load(path):
    """An array, by NumPy or safetensors themselves."""
    if path.suffix == ".npy":
        return np.load(path)
    return np.load(path)["logits"] if path.suffix == ".npz" else load_file(path)["logits"]


def log_softmax(logits):
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


@pytest.mark.parametrize("ending", ARRAYS)
def test_arrays_of_one_view_are_read_by_their_own_libraries(tmp_path, ending):
    told = []
    path = tmp_path / f"out.{ending}"
    assert export(Reader(), path, [2], progress=told.append) == (20, 6)
    assert (load(path).dtype, load(path).shape) == (np.float32, (20, 6))
    assert (load(path) == LOGITS[2]).all()
    assert told == [8, 8, 4]


@pytest.mark.parametrize("ending", ARRAYS)
def test_several_views_are_one_array_that_can_be_imported_again(tmp_path, ending):
    path = tmp_path / f"out.{ending}"
    assert export(Reader(), path, range(3)) == (3, 20, 6)
    assert (load(path) == LOGITS).all()
    source = open_source(path, SourceOptions())
    assert (source.views, source.samples, source.classes) == (3, 20, 6)
    assert (source.read(1, range(20)) == LOGITS[1]).all()


@pytest.mark.parametrize("ending", [*ARRAYS, "parquet"])
def test_equal_logits_make_equal_files(tmp_path, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    for name in "ab":
        export(Reader(), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_parquet_has_a_list_of_logits_a_row(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    export(Reader(), tmp_path / "out.parquet", [1])
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["logits"]
    assert (np.array(table["logits"].to_pylist(), np.float32) == LOGITS[1]).all()
    assert (open_source(tmp_path / "out.parquet", SourceOptions()).read(0, range(20)) == LOGITS[1]).all()


def test_parquet_of_a_top_k_store_is_sparse_and_comes_back_as_it_was(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    reader = Reader(entries=4)
    export(reader, tmp_path / "out.parquet")
    rows = reader.sparse(LOGITS[0])
    table = parquet.read_table(tmp_path / "out.parquet").to_pydict()
    assert set(table) == {"classes", "log_probs", "tail"}
    assert table["classes"] == [[c for c in each if c >= 0] for each in rows.classes.tolist()]
    source = open_source(tmp_path / "out.parquet", SourceOptions())
    back = source.read(0, range(20))
    width = back.classes.shape[1]
    assert (source.classes, source.sparse) == (6, width)
    assert (back.classes == rows.classes[:, :width]).all()
    assert (back.log_probs == rows.log_probs.astype(np.float16)[:, :width]).all()
    assert (back.tail == rows.tail).all()


def test_tinyvits_reader_finds_its_own_records(tmp_path):
    assert export(Reader(), tmp_path / "log", [0, 2], SinkOptions(format="tinyvit", k=2)) == (2, 20, 6)
    for view in (0, 2):
        folder = tmp_path / "log" / f"logits_top2_epoch{view}"
        keys = (folder / "rank0-keys.txt").read_text().splitlines()
        data = (folder / "rank0-values.bin").read_bytes()
        assert keys == [str(row) for row in range(20)]
        for row in range(20):
            item = data[12 * row : 12 * row + 12]
            seed, classes = np.frombuffer(item[:4], np.int32), np.frombuffer(item[4:8], np.int16)
            probs = np.frombuffer(item[8:], np.float16)
            best = np.argsort(-LOGITS[view, row])[:2]
            assert seed == view
            assert (classes == best).all()
            assert probs == pytest.approx(np.exp(log_softmax(LOGITS[view, row])[best]), rel=1e-3)
    source = open_source(tmp_path / "log", SourceOptions(classes=6))
    assert (source.views, source.samples, source.sparse) == (2, 20, 2)


def test_a_top_k_stores_rows_fill_tinyvits_records_even_where_they_have_fewer_entries(tmp_path):
    reader = Reader(entries=4)
    export(reader, tmp_path / "log", [0], SinkOptions(format="tinyvit"))
    found = open_source(tmp_path / "log", SourceOptions(classes=6)).read(0, range(20))
    assert found.classes.shape == (20, 4)
    dense, exact = np.exp(to_logits(found, 6)), np.exp(to_logits(reader.sparse(LOGITS[0]), 6))
    assert dense == pytest.approx(exact, abs=2e-3)


def failing(progress):
    raise KeyboardInterrupt


@pytest.mark.parametrize("ending", [*ARRAYS, "parquet", "tinyvit"])
@pytest.mark.parametrize("fault", ["damage", "interrupt"])
def test_nothing_is_left_where_writing_fails(tmp_path, ending, fault):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    options = SinkOptions(format=ending, k=2 if ending == "tinyvit" else None)
    reader = Reader(damaged=(0, 1) if fault == "damage" else None)
    with pytest.raises(DamageError if fault == "damage" else KeyboardInterrupt):
        export(reader, tmp_path / "out", [0], options, failing if fault == "interrupt" else None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [*ARRAYS, "tinyvit"])
def test_what_a_killed_process_left_does_not_hinder(tmp_path, ending):
    (tmp_path / ".out.partial").mkdir() if ending == "npy" else (tmp_path / ".out.partial").write_text("half")
    export(Reader(), tmp_path / "out", [0], SinkOptions(format=ending, k=2 if ending == "tinyvit" else None))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_existing_target_is_left_alone(tmp_path):
    (tmp_path / "out.npy").write_text("mine")
    with pytest.raises(InputError, match=r"out.npy exists; remove it or choose another name"):
        export(Reader(), tmp_path / "out.npy")
    assert (tmp_path / "out.npy").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "views", "options", "message"),
    [
        ("out.csv", [0], {}, "no layout for 'csv'; allowed are npy, npz, safetensors, parquet, tinyvit"),
        ("none/out.npy", [0], {}, "none is not a folder"),
        ("out.npy", [], {}, "give at least one, and each once"),
        ("out.npy", [1, 1], {}, "give at least one, and each once"),
        ("out.parquet", [0, 1], {}, "2 views; a Parquet file takes one"),
        ("out.npy", [0], {"k": 3}, "k = 3 is for tinyvit; npy has whole rows"),
        ("out", [0], {"format": "tinyvit"}, "k = 0 of 6 classes; TinyViT's layout takes 1 <= k"),
        ("out", [0], {"format": "tinyvit", "k": 7}, "k = 7 of 6 classes"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, views, options, message):
    with pytest.raises(InputError, match=message):
        export(Reader(), tmp_path / name, views, SinkOptions(**options))
    assert list(tmp_path.iterdir()) == []


def test_options_are_checked():
    for wrong in ({"k": 0}, {"k": 2**15 + 1}, {"format": "csv"}, {"other": 1}):
        with pytest.raises(ValidationError):
            SinkOptions(**wrong)
    for wrong in ({"classes": 0}, {"classes": 2**31 + 1}, {"tau": 0}, {"format": "csv"}):
        with pytest.raises(ValidationError):
            SourceOptions(**wrong)
