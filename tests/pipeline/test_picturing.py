"""What a run leaves for the explorer: chosen samples, their pictures, and a live look at its store."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from bokeh.document import Document
from builders import Plan
from PIL import Image

from logitcache.errors import InputError
from logitcache.pipeline import picturing, viewing
from logitcache.pipeline.picturing import Pictures, note_samples
from logitcache.report.explorer_live import Live
from logitcache.report.samples import Source, read_rows, read_samples
from logitcache.report.thumbnails import START, read_thumbnails
from logitcache.sweep import STUDENTS_STORE, save_logits, student_store


def pixels_of(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.removeprefix(START)))))


def test_a_run_leaves_samples_of_its_test_split_with_their_pictures(finished_run):
    samples, pictures = read_samples(finished_run.out), read_thumbnails(finished_run.out)
    split = finished_run.context().splits["test"]
    assert samples.split == "test"
    assert samples.names[0] == "big"
    assert [name.split(", ")[1] for name in samples.names[1:]] == ["CE", "KL τ=4"]
    for one in samples.samples:
        assert np.array_equal(pixels_of(pictures["test", one.sample]), split.images[one.row, 0].numpy())
    students = np.load(next(finished_run.out.glob("students/*/test_logits.npy")))
    assert samples.logits.shape == (len(samples.samples), 3, students.shape[1])


def test_samples_that_tables_name_get_pictures_too(run_copy):
    (run_copy.out / "thumbnails.json").unlink()
    lines = ["teacher,split,rank,suspect_index", *(f"big,train,{n},{n + 1}.0" for n in range(picturing.LINES + 5))]
    lines += ["big,train,999,-1", "big,nowhere,0,3"]
    for path in (run_copy.out / "statistics").glob("*.csv"):
        path.unlink()
    (run_copy.out / "statistics" / "labels.csv").write_text("\n".join(lines) + "\n")
    students = run_copy.out / "students_statistics"
    students.mkdir()
    (students / "plane_by_sample.csv").write_text("teacher,split,sample,plane_index\na-student,train,0,99\n")
    (students / "labels_by_rank.csv").write_text("teacher,split,rank,suspect_index\na-student,train,0,98\n")
    note_samples(run_copy.context())
    found = {sample for split, sample in read_thumbnails(run_copy.out) if split == "train"}
    assert found == {*range(1, picturing.LINES + 1), 99}, "the page shows no suspects of students"


def test_pictures_are_the_views_that_the_teacher_saw(finished_run):
    context = finished_run.context()
    show = Pictures(context.splits, context.recipe.views)
    clean = show("train", 5)
    assert np.array_equal(clean, context.splits["train"].images[5].numpy())
    views = [show("train", 5, view) for view in (1, 2)]
    assert all(view.shape == clean.shape and view.dtype == np.uint8 for view in views)
    assert any(not np.array_equal(view, clean) for view in views)


def test_the_live_explorer_takes_students_and_pictures_of_the_run(finished_run):
    store = finished_run.out / "store.zarr"
    shown = viewing.prepare(store, str(finished_run.recipe))
    assert len(shown.students["test"]) == 2
    assert shown.pictures("train", 3, 0).shape == (1, 12, 12)
    assert viewing.prepare(store).pictures is None


def rows_of(source: Source) -> np.ndarray:
    return read_rows(source.logits, np.arange(source.logits.samples))


def test_students_whose_logits_are_kept_are_seen_in_every_split(run_copy, unsynced):
    context = run_copy.context()
    save_logits(context.sweep(), context.runs())
    before = viewing.prepare(run_copy.out / "store.zarr").students
    assert [one.name for one in before["test"]] == [one.name for one in before["train"]]
    for source in before["test"]:
        run_id = source.logits.teacher
        known = np.load(run_copy.out / "students" / run_id / "test_logits.npy")
        assert rows_of(source) == pytest.approx(known, abs=0.01)
        (train,) = (one for one in before["train"] if one.logits.teacher == run_id)
        assert rows_of(train).shape == (120, 3)
    (run_copy.out / STUDENTS_STORE / "train" / "teachers" / run_id / "logits/commits/0.json").unlink()
    after = viewing.prepare(run_copy.out / "store.zarr").students
    assert run_id not in {one.logits.teacher for sources in after.values() for one in sources}


def test_students_of_other_samples_are_not_shown_beside_a_store(finished_run, tmp_path, unsynced):
    run = finished_run.copy(tmp_path)
    Plan(teacher=run.context().runs()[0].run_id, split="train", samples=120, classes=3).write(run.out / STUDENTS_STORE)
    students = viewing.prepare(run.out / "store.zarr").students
    assert set(students) == {"test"}
    assert isinstance(students["test"][0].logits, np.ndarray), "they are those of test_logits.npy"


def test_the_explorer_reads_students_from_their_store(run_copy, unsynced, monkeypatch):
    monkeypatch.setattr(student_store, "_BLOCK", 50)  # several blocks
    context = run_copy.context()
    save_logits(context.sweep(), context.runs())
    shown = viewing.prepare(run_copy.out / "store.zarr")
    live = Live(shown, Document())
    live.split.value, live.place.value = "train", 77
    row = {key: values[0] for key, values in live.explorer.samples.data.items()}
    assert row["names"][1:] == [one.name for one in shown.students["train"]]
    expected = [rows_of(one)[77] for one in shown.students["train"]]
    assert np.array_equal(np.reshape(row["logits"], (-1, 3))[1:], expected)


def test_pictures_of_other_data_are_refused(finished_run):
    with pytest.raises(InputError, match="are not those that"):
        viewing.prepare(finished_run.out / "store.zarr", str(finished_run.recipe), overrides=["data.samples=60"])


def test_viewing_says_the_address_and_ends_with_the_reader(finished_run, monkeypatch):
    said = []

    class Loop:
        def start(self) -> None:
            raise KeyboardInterrupt

    class Server:
        port, io_loop = 1234, Loop()

        def start(self) -> None:
            said.append("start")

        def stop(self) -> None:
            said.append("stop")

    monkeypatch.setattr(viewing, "make_server", lambda shown, port: Server())
    viewing.view(viewing.prepare(finished_run.out / "store.zarr"), 0, browse=False, say=said.append)
    assert said == ["start", "http://127.0.0.1:1234/  (interrupt with Ctrl-C)", "stopped", "stop"]


# tornado leaves a socket that it could not bind to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_port_that_is_taken_is_said(finished_run):
    first = viewing.make_server(viewing.prepare(finished_run.out / "store.zarr"))
    try:
        with pytest.raises(InputError, match="choose another"):
            viewing.make_server(viewing.prepare(finished_run.out / "store.zarr"), first.port)
    finally:
        first.stop()
