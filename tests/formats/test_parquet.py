"""Parquet of soft targets is read from any lists that hold them, across row groups, shards and tokens."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from logitcache.errors import InputError
from logitcache.formats import SourceOptions, open_source

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

IDS = [[3, 1], [4], [0, 2, 1], [5], [2, 9]]
PROBS = [[0.5, 0.25], [0.75], [0.1, 0.7, 0.1], [1.0], [0.25, 0.5]]


def logs(lists):
    return [[float(np.log(p)) for p in each] for each in lists]


def write(path, columns, group=2):
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(arrow.table(columns), path, row_group_size=group)
    return path


def load(path, **options):
    return open_source(path, SourceOptions(**options))


def lists(values, inner, kind=None):
    return arrow.array(values, (kind or arrow.list_)(inner))


@pytest.fixture
def table():
    return {"token_ids": lists(IDS, arrow.int64()), "logprobs": lists(logs(PROBS), arrow.float32())}


@pytest.mark.parametrize("group", [1, 2, 5])
@pytest.mark.parametrize("start", [0, 1, 3])
def test_lists_of_different_lengths_are_rows_in_descending_order(tmp_path, table, group, start):
    source = load(write(tmp_path / "t.parquet", table, group), classes=10)
    assert (source.views, source.samples, source.classes, source.sparse) == (1, 5, 10, 3)
    rows = source.read(0, range(start, 5))
    assert rows.classes.tolist() == [[3, 1, -1], [4, -1, -1], [2, 0, 1], [5, -1, -1], [9, 2, -1]][start:]
    probs = [[0.5, 0.25, 0], [0.75, 0, 0], [0.7, 0.1, 0.1], [1, 0, 0], [0.5, 0.25, 0]][start:]
    assert np.exp(rows.log_probs) == pytest.approx(np.array(probs), abs=1e-6)
    assert np.exp(rows.tail) == pytest.approx(np.array([0.25, 0.25, 0.1, 0, 0.25][start:]), abs=1e-6)


@pytest.mark.parametrize("kind", ["list_", "large_list"])
@pytest.mark.parametrize("inner", ["int16", "int32", "uint32", "int64"])
def test_any_lists_of_integers_do(tmp_path, table, kind, inner):
    ids = lists(IDS, getattr(arrow, inner)(), getattr(arrow, kind))
    found = load(write(tmp_path / "t.parquet", table | {"token_ids": ids}), classes=10).read(0, range(5))
    assert found.classes[2].tolist() == [2, 0, 1]


def test_lists_of_one_length_do_too(tmp_path):
    columns = {
        "indices": arrow.array([[1, 2], [3, 0]], arrow.list_(arrow.int32(), 2)),
        "log_probs": arrow.array(logs([[0.5, 0.25], [0.125, 0.5]]), arrow.list_(arrow.float64(), 2)),
    }
    assert load(write(tmp_path / "t.parquet", columns), classes=4).read(0, range(2)).classes.tolist() == [
        [1, 2],
        [0, 3],
    ]


def test_tokens_of_a_text_are_rows_of_their_own(tmp_path):
    columns = {
        "teacher_topk_ids": lists([IDS[:2], IDS[2:]], arrow.list_(arrow.int32())),
        "teacher_topk_logprobs": lists([logs(PROBS[:2]), logs(PROBS[2:])], arrow.list_(arrow.float32())),
    }
    source = load(write(tmp_path / "t.parquet", columns, 1), classes=10)
    assert source.samples == 5
    assert source.read(0, range(1, 4)).classes[:, 0].tolist() == [4, 2, 5]


def test_columns_can_be_named(tmp_path, table):
    columns = {"a": table["token_ids"], "b": table["logprobs"], "logits": table["logprobs"]}
    path = write(tmp_path / "t.parquet", columns)
    assert load(path, ids="a", values="b", classes=10).sparse == 3
    with pytest.raises(InputError, match=r"has no column 'c' \(ids\); its columns are a, b, logits"):
        load(path, ids="c", classes=10)
    with pytest.raises(InputError, match=r"columns 'a', 'b'; name the one of class numbers by ids"):
        load(write(tmp_path / "u.parquet", {"a": columns["a"], "b": columns["b"]}), classes=10)


def test_shards_count_in_the_order_of_their_names(tmp_path, table):
    part = {name: column.slice(3) for name, column in table.items()}
    write(tmp_path / "shards" / "train-00001-of-00002.parquet", part)
    write(tmp_path / "shards" / "train-00000-of-00002.parquet", {n: c.slice(0, 3) for n, c in table.items()})
    source = load(tmp_path / "shards", classes=10)
    assert source.read(0, range(5)).classes[:, 0].tolist() == [3, 4, 2, 5, 9]
    assert len(source.files) == 2


def test_whole_logits_are_a_list_a_row(tmp_path):
    logits = np.random.default_rng(0).normal(0, 3, (7, 4)).astype(np.float32)
    path = write(tmp_path / "t.parquet", {"logits": lists(list(logits), arrow.float32()), "label": list(range(7))}, 3)
    source = load(path)
    assert (source.samples, source.classes, source.sparse, source.precision) == (7, 4, 0, "float32")
    assert (source.read(0, range(2, 7)) == logits[2:]).all()
    with pytest.raises(InputError, match="has 4 classes, given was classes = 5"):
        load(path, classes=5)
    uneven = write(tmp_path / "u.parquet", {"logits": lists([[1.0, 2.0], [1.0]], arrow.float32())})
    with pytest.raises(InputError, match=r"rows of column 'logits' have 1\.\.2 logits"):
        load(uneven)


def test_a_tail_beside_the_lists_is_taken_as_it_is(tmp_path, table):
    tail = np.log(np.array([0.2, 0.2, 0.1, 1e-9, 0.2], np.float32))
    source = load(write(tmp_path / "t.parquet", table | {"tail": tail}), classes=10)
    assert (source.read(0, range(5)).tail == tail).all()


def test_the_number_of_classes_must_be_known(tmp_path, table):
    with pytest.raises(InputError, match=r"sparse Parquet .* does not say how many classes"):
        load(write(tmp_path / "t.parquet", table))
    with pytest.raises(InputError, match=r"row 4 has class 9; allowed are 0\.\.8"):
        load(tmp_path / "t.parquet", classes=9).read(0, range(5))
    with pytest.raises(InputError, match="tau is for stored probabilities"):
        load(tmp_path / "t.parquet", classes=10, tau=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logprobs": lists(PROBS, arrow.float32())}, "row 0 has probabilities that sum to"),
        ({"logprobs": lists(IDS, arrow.int64())}, "'logprobs' has lists of int64; expected floating-point"),
        ({"logprobs": lists([[-1.0]] * 5, arrow.float32())}, "must have lists of equal lengths"),
        ({"logprobs": arrow.array([-1.0] * 5)}, "'logprobs' has double inside"),
        ({"logprobs": lists([[-1.0, None], *logs(PROBS)[1:]], arrow.float32())}, "or missing values"),
        ({"logprobs": lists([None, *logs(PROBS)[1:]], arrow.float32())}, "rows without a value"),
        ({"token_ids": lists([["a", "b"], *[["c"]] * 4], arrow.string())}, "'token_ids' has string inside"),
        ({"token_ids": lists([[1, 1], *IDS[1:]], arrow.int64())}, "row 0 has class 1 twice"),
    ],
)
def test_columns_that_cannot_be_are_named(tmp_path, table, change, message):
    with pytest.raises(InputError, match=message):
        load(write(tmp_path / "t.parquet", table | change), classes=10).read(0, range(5))


def test_an_empty_list_is_no_row(tmp_path):
    columns = {"ids": lists([[1], []], arrow.int64()), "logprobs": lists([[-1.0], []], arrow.float32())}
    with pytest.raises(InputError, match="row 1 has no entry with a probability above 0"):
        load(write(tmp_path / "t.parquet", columns), classes=10).read(0, range(2))


@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_refused(tmp_path, table, keep):
    path = write(tmp_path / "t.parquet", table)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(InputError, match="is not whole Parquet of soft targets"):
        load(path, classes=10)


def test_no_rows_are_refused(tmp_path, table):
    with pytest.raises(InputError, match="has no rows"):
        load(write(tmp_path / "t.parquet", {name: column.slice(5) for name, column in table.items()}), classes=10)


def test_without_pyarrow_the_message_says_what_to_install(tmp_path, table, monkeypatch):
    path = write(tmp_path / "t.parquet", table)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'logitcache\[parquet\]'"):
        load(path, classes=10)
