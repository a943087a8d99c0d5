"""Samples are chosen for a reason, files survive a round trip, thumbnails are what the pixels are."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from bokeh.document import Document
from builders import Plan
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from PIL import Image

from logitcache.errors import InputError, MissingError
from logitcache.report import samples, thumbnails
from logitcache.report.explorer import explorer_section
from logitcache.report.explorer_live import ALL, Live, Shown
from logitcache.report.explorer_server import make_server
from logitcache.report.samples_students import beside
from logitcache.store import SplitContent, SplitRecord, StoreRecord, create_store, open_store

# thumbnails


def pixels_of(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.removeprefix(thumbnails.START)))))


@given(nps.arrays(np.uint8, st.tuples(st.sampled_from([1, 3]), st.integers(1, 64), st.integers(1, 64))))
def test_a_small_picture_keeps_its_pixels(pixels):
    shown = pixels_of(thumbnails.thumbnail(pixels))
    assert np.array_equal(shown, pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def test_a_large_picture_becomes_small_and_keeps_its_shape():
    shown = pixels_of(thumbnails.thumbnail(np.full((3, 100, 200), 7, np.uint8)))
    assert shown.shape == (32, 64, 3)
    assert (shown == 7).all()


def test_floats_are_pixels_from_0_to_1():
    values = np.array([[[-1, 0, 0.5, 1, 2, np.nan]]], np.float32)
    assert pixels_of(thumbnails.thumbnail(values)).tolist() == [[0, 0, 128, 255, 255, 0]]


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint8), np.zeros((1, 4, 4), np.int64), np.zeros((1, 0, 4), "u1")]
)
def test_what_is_no_picture_is_refused(pixels):
    with pytest.raises(InputError, match="a picture is"):
        thumbnails.thumbnail(pixels)


def test_thumbnails_are_added_to_those_that_are_there(tmp_path):
    assert thumbnails.read_thumbnails(tmp_path) == {}
    first, second = (thumbnails.thumbnail(np.full((1, 2, 2), shade, np.uint8)) for shade in (1, 2))
    thumbnails.write_thumbnails(tmp_path, {("test", 3): first})
    thumbnails.write_thumbnails(tmp_path, {("train", 3): second})
    assert thumbnails.read_thumbnails(tmp_path) == {("test", 3): first, ("train", 3): second}


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"test": {"x": ""}}', '{"test": {"3": "data:image/png;base64,\\"onload=x"}}']
)
def test_a_damaged_file_of_thumbnails_is_refused(tmp_path, text):
    (tmp_path / thumbnails.FILE).write_text(text)
    with pytest.raises(InputError, match=r"thumbnails\.json"):
        thumbnails.read_thumbnails(tmp_path)


# samples

MARGINS = nps.arrays(np.float32, st.integers(1, 300), elements=st.floats(-50, 50, width=32))


@given(MARGINS, st.integers(1, 12), st.integers(8, 60))
def test_the_choice_has_no_row_twice_and_every_kind_its_reason(margin, classes, most):
    labels = np.arange(len(margin)) % classes
    chosen = samples.choose(margin, labels, most)
    rows = [row for row, _ in chosen]
    assert len(set(rows)) == len(rows) <= most
    assert {kind for _, kind in chosen} <= set(samples.KINDS)
    by_kind = {kind: margin[[row for row, one in chosen if one == kind]] for kind in samples.KINDS}
    assert (by_kind["contradicting"] < 0).all()
    assert all((by_kind[kind] >= 0).all() for kind in ("hard", "easy"))
    if len(by_kind["contradicting"]):
        assert by_kind["contradicting"].min() == margin.min(), "the worst contradiction is shown"
    if len(by_kind["hard"]):
        assert by_kind["hard"].min() == margin[margin >= 0].min(), "the hardest is shown"


def test_easy_samples_are_of_all_classes():
    margin = np.concatenate([np.full(50, 9.0), np.full(50, 5.0)]).astype(np.float32)
    chosen = samples.choose(margin, np.repeat([0, 1], 50))
    assert {row // 50 for row, kind in chosen if kind == "easy"} == {0, 1}


def test_margins_are_those_of_the_formula(tmp_path, unsynced):
    plan = Plan()
    plan.write(tmp_path / "s")
    store = open_store(tmp_path / "s")
    reader, labels = store.logits("big"), store.labels("train").copy()
    labels[3] = -1
    logits = np.concatenate([reader.read(0, block) for block in range(reader.blocks)])
    ordered = np.sort(logits, axis=1)
    truth = logits[np.arange(20), labels]
    others = np.where(truth == ordered[:, -1], ordered[:, -2], ordered[:, -1])
    expected = truth - others
    expected[3] = ordered[3, -1] - ordered[3, -2]
    np.testing.assert_array_equal(samples.margins(reader, labels), expected)


def test_samples_survive_their_file_and_are_the_store_s(tmp_path, unsynced):
    plan = Plan(views=1)
    plan.write(tmp_path / "s")
    store = open_store(tmp_path / "s")
    student = np.random.default_rng(3).normal(size=(20, 4)).astype(np.float32)
    sources = [samples.Source("big", teacher=True, logits=store.logits("big"))]
    found = samples.gather(store, "train", [*sources, samples.Source("small", teacher=False, logits=student)])
    samples.write_samples(tmp_path, found)
    back = samples.read_samples(tmp_path)
    assert (back.split, back.classes, back.names, back.teachers) == ("train", tuple("abcd"), ("big", "small"), 1)
    assert back.samples == found.samples
    assert np.array_equal(back.logits, found.logits)
    for one, (own, other) in zip(back.samples, back.logits, strict=True):
        assert (one.sample, one.label) == (plan.sample(one.row), plan.labels[one.row])
        assert np.array_equal(other, student[one.row])
        assert np.array_equal(own, store.logits("big").read(0, one.row // 8)[one.row % 8])


def test_many_classes_leave_room_for_few_samples(tmp_path, unsynced, monkeypatch):
    Plan(views=1, samples=40).write(tmp_path / "s")
    store = open_store(tmp_path / "s")
    monkeypatch.setattr(samples, "BYTES", 9 * 4 * store.logits("big").classes)
    found = samples.gather(store, "train", [samples.Source("big", teacher=True, logits=store.logits("big"))])
    assert 4 <= len(found.samples) <= 9


def test_without_a_teacher_or_its_blocks_there_are_no_samples(tmp_path, unsynced):
    Plan(views=1).write(tmp_path / "s", leave_out={(0, 1)})
    store = open_store(tmp_path / "s")
    with pytest.raises(InputError, match="need a teacher"):
        samples.gather(store, "train", [])
    with pytest.raises(MissingError):
        samples.gather(store, "train", [samples.Source("big", teacher=True, logits=store.logits("big"))])


@pytest.mark.parametrize("damage", ["label", "kind", "logits", "names", "text"])
def test_a_damaged_file_of_samples_is_refused(tmp_path, damage):
    one = samples.Sample(0, 0, 1, "hard")
    whole = samples.Samples("test", ("a", "b"), ("big",), 1, (one,), np.ones((1, 1, 2), np.float32))
    path = samples.write_samples(tmp_path, whole)
    record = json.loads(path.read_text())
    if damage in ("label", "kind"):
        record["samples"][0][damage] = {"label": 2, "kind": "odd"}[damage]
    else:
        record[damage] = {"logits": "AAAA", "names": ["big", "small"], "text": ""}[damage]
    if damage == "text":
        del record["samples"]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"samples\.json is damaged"):
        samples.read_samples(tmp_path)


def test_beside_the_teacher_stand_the_best_runs_of_the_objectives(make_directory):
    directory = make_directory()
    for folder in (directory / "students").iterdir():
        np.save(folder / "test_logits.npy", np.zeros((5, 10), np.float32))
    found = beside(directory, (5, 10))
    names = [one.name for one in found]
    assert names[0] in {"student, CE", "student, CE, smoothing 0.1"}, "one of hard labels comes first"
    assert len(set(names)) == len(names) == 4
    assert not any(one.teacher for one in found)
    assert beside(directory, (6, 10)) == [], "logits of another split are left out"
    assert beside(directory / "figures", (5, 10)) == []


# the section


def test_without_samples_there_is_no_section(tmp_path):
    assert explorer_section(tmp_path) == ""


def test_names_in_the_section_are_escaped_and_the_same_each_time(tmp_path):
    evil = '<img src=x onerror="y">'
    one = samples.Sample(0, 0, 1, "hard")
    whole = samples.Samples("test", ("a", evil), (evil,), 1, (one,), np.ones((1, 1, 2), np.float32))
    samples.write_samples(tmp_path, whole)
    html = explorer_section(tmp_path)
    assert evil not in html
    assert "<img src=x" not in html
    assert html == explorer_section(tmp_path)


# the live explorer


def live(path: Path, plan: Plan) -> Live:
    plan.write(path)
    return Live(Shown(open_store(path)), Document())


def row(explorer: Live) -> dict[str, object]:
    return {key: values[0] for key, values in explorer.explorer.samples.data.items()}


def test_a_choice_shows_the_sample_that_was_meant(tmp_path, unsynced):
    plan = Plan(views=2)
    explorer = live(tmp_path / "s", plan)
    reader = open_store(tmp_path / "s").logits("big")
    assert explorer.view.options == [("0", "0 (clean)"), ("1", "1")]
    explorer.label.value = "b"
    explorer.place.value = 2  # rows 1, 5, 9 are of class b
    explorer.view.value = "1"
    shown = row(explorer)
    assert (shown["sample"], shown["label"], shown["names"]) == (plan.sample(9), 1, ["big"])
    np.testing.assert_array_equal(shown["logits"], reader.read(1, 1)[1])
    explorer.label.value = ALL
    assert row(explorer)["sample"] == plan.sample(0)
    assert explorer.place.high == 19


def test_a_split_without_labels_of_a_class_says_so(tmp_path, unsynced):
    explorer = live(tmp_path / "s", Plan(samples=3, block_rows=4))
    explorer.label.value = "d"
    assert row(explorer)["remark"] == "no sample of class d"
    assert len(row(explorer)["logits"]) == 0


def test_a_store_without_a_teacher_is_refused(tmp_path):
    split = SplitContent(SplitRecord("train", 2, "f" * 16, None, None), np.array([0, 1]), np.arange(2))
    create_store(tmp_path / "s", StoreRecord("numbers", ("a", "b"), {}), [split], [])
    with pytest.raises(InputError, match="no teacher yet"):
        make_server(Shown(open_store(tmp_path / "s")))
