"""Students whose logits are kept are measured, each against its own teachers, and the page knows of it."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
import xarray as xr
from builders import Plan, tree
from tiny import Run, command, run_words

from logitcache import statistics
from logitcache.pipeline import stage_two, student_statistics
from logitcache.pipeline.stage_two import make_report, make_statistics
from logitcache.pipeline.student_statistics import measure_students, measured
from logitcache.statistics.similarity import linear_cka
from logitcache.store import open_store
from logitcache.sweep import STUDENTS_STORE, whole_entries

pytestmark = pytest.mark.usefixtures("undrawn", "unsynced_module")


@pytest.fixture(scope="module")
def unsynced_module():
    """No wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# any students and teachers


STUDENTS = {"a": ("big",), "b": ("small", "big"), "c": ("small",)}
PLANS = {name: Plan(teacher=name, seed=seed, views=1, features=5) for seed, name in enumerate(STUDENTS)}
TEACHERS = {
    "big": Plan(teacher="big", seed=7, features=6),
    "small": Plan(teacher="small", seed=8, block_rows=6),  # without features, and cut elsewhere
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory, unsynced_module):
    """A store of students and one of teachers, of the same samples."""
    folder = tmp_path_factory.mktemp("stores")
    for plan in PLANS.values():
        plan.write(folder / "students.zarr")
    for plan in TEACHERS.values():
        plan.write(folder / "store.zarr")
    return open_store(folder / "students.zarr"), open_store(folder / "store.zarr")


def clean(store, name: str, what: str = "read") -> np.ndarray:
    """All rows of the clean view, float64."""
    reader = store.logits(name)
    return np.concatenate([getattr(reader, what)(0, block) for block in range(reader.blocks)]).astype(np.float64)


@pytest.fixture(scope="module")
def found(stores) -> dict[str, xr.Dataset]:
    """What is measured of all students."""
    return measured(*stores, STUDENTS)


def test_each_student_is_compared_with_each_of_its_teachers_and_no_other(stores, found):
    students, teachers = stores
    pair = found["pair"]
    assert pair["distance"].dims == ("teacher", "split", "other")
    assert list(pair["teacher"].values) == list(STUDENTS)
    for name, own in STUDENTS.items():
        for other in TEACHERS:
            one = pair.sel(teacher=name, split="train", other=other)
            if other not in own:
                assert np.isnan(one["agreement"])
                continue
            z, t = clean(students, name), clean(teachers, other)
            assert float(one["agreement"]) == pytest.approx(100 * (z.argmax(1) == t.argmax(1)).mean())
            assert float(one["distance"]) == pytest.approx(np.linalg.norm(z - t, axis=1).mean(), rel=1e-6)


def test_features_are_compared_where_both_have_them(stores, found):
    students, teachers = stores
    similarity = found["similarity"]
    assert list(similarity["other"].values) == ["big"]
    assert list(similarity["teacher"].values) == ["a", "b"]
    joint = np.cov(clean(students, "b", "features").T, clean(teachers, "big", "features").T)
    expected = linear_cka(joint[:5, :5], joint[5:, 5:], joint[:5, 5:])
    assert float(similarity["similarity_cka"].sel(teacher="b", other="big", split="train")) == pytest.approx(expected)


def test_one_after_another_gives_what_one_pass_over_all_gives(stores, found):
    together = statistics.compute(stores[0])
    assert set(found) == {*together.children, "pair", "similarity"}
    for name, group in together.children.items():
        xr.testing.assert_identical(found[name], group.to_dataset())


def test_names_of_variables_tell_of_no_single_teacher(found):
    for measure in found.values():
        for values in measure.data_vars.values():
            assert values.attrs["units"]
            assert "store.zarr" not in values.attrs["long_name"]


def test_without_teachers_students_are_measured_alone(stores):
    students, teachers = stores
    seen = []
    for found in (
        measured(students, None, {"a": ("big",)}, seen.append),
        measured(students, teachers, {"a": ("gone",)}, seen.append),
        measured(students, teachers, {"a": ()}, seen.append),
    ):
        assert "moments" in found
        assert not {"pair", "similarity"} & set(found)
    assert seen == [1, 1, 1]


# a run


@pytest.fixture(scope="module")
def kept(finished_run, tmp_path_factory, undrawn, unsynced_module) -> tuple[Run, str]:
    """A run that goes on with its students' logits kept, and what it said; tests leave it as it is."""
    run = finished_run.copy(tmp_path_factory.mktemp("kept"))
    answer = command("run", *run_words(run.recipe, run.out), "--save-logits")
    assert answer.code == 0, answer.err
    return run, answer.out


@pytest.fixture
def kept_copy(kept, tmp_path) -> Run:
    """A copy of it to be changed."""
    return kept[0].copy(tmp_path)


def test_a_run_with_kept_logits_measures_them_beside_those_of_the_teachers(kept, finished_run):
    run, said = kept
    assert "statistics of 4 students ..." in said
    folder, ids = run.out / "students_statistics", {spec.run_id for spec in run.context().runs()}
    assert {row["teacher"] for row in read(folder / "moments.csv")} == ids
    before = tree(finished_run.out / "statistics")
    assert tree(run.out / "statistics").keys() == before.keys()
    groups = xr.open_datatree(folder / "statistics.zarr", engine="zarr", consolidated=False)
    assert {"tau", "penultimate", "labels", "pair"} <= set(groups.children)


def test_students_of_hard_labels_are_compared_with_all_teachers(kept):
    run, _ = kept
    rows = {(row["teacher"], row["split"]): row for row in read(run.out / "students_statistics" / "pair_by_other.csv")}
    specs = run.context().runs()
    assert rows.keys() == {(spec.run_id, split) for spec in specs for split in ("train", "test")}
    assert {row["other"] for row in rows.values()} == {"big"}
    old = {row["run_id"]: row for row in read(run.out / "statistics" / "students.csv")}
    for spec in specs:  # from the logits as they are kept, whose near ties may be decided otherwise
        kept_agreement, agreement = rows[spec.run_id, "test"]["agreement"], old[spec.run_id]["agreement"]
        assert float(kept_agreement) == pytest.approx(float(agreement), abs=100 * 2.5 / 60)


def test_what_is_measured_stays_and_is_not_measured_again(kept):
    run, _ = kept
    before = tree(run.out)
    again = command("run", *run_words(run.recipe, run.out), "--save-logits")
    assert "statistics of students: done before" in again.out
    assert "report: " in again.out
    plain = run("run")  # they are kept although nobody asks for it now
    assert "statistics of students: done before" in plain.out
    assert {name for name, digest in tree(run.out).items() if before.get(name) != digest} == set()


def test_other_students_bring_new_statistics_of_students(kept_copy):
    table = kept_copy.out / "students_statistics" / "pair_by_other.csv"
    one = kept_copy.context("students.seeds=[0]", 'students.objectives=["ce"]')
    measure_students(one)
    assert {row["teacher"] for row in read(table)} == {spec.run_id for spec in one.runs()}


def test_students_that_are_done_and_wholly_kept_are_measured(kept_copy):
    context = kept_copy.context()
    half, lost, *rest = context.runs()
    (commits,) = kept_copy.out.glob(f"{STUDENTS_STORE}/train/teachers/{half.run_id}/logits/commits/0.json")
    commits.unlink()
    record = kept_copy.out / "students" / lost.run_id / "run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "status": "diverged"}))
    assert half.run_id not in whole_entries(open_store(kept_copy.out / STUDENTS_STORE))
    measure_students(context)
    rows = read(kept_copy.out / "students_statistics" / "pair_by_other.csv")
    assert {row["teacher"] for row in rows} == {spec.run_id for spec in rest}


def test_without_kept_logits_there_is_nothing_to_measure(finished_run):
    assert not (finished_run.out / "students_statistics").exists()
    measure_students(finished_run.context())
    assert not (finished_run.out / "students_statistics").exists()


def test_results_that_are_gone_are_made_anew(kept_copy, monkeypatch):
    made = []
    monkeypatch.setattr(statistics, "run", lambda *words, **more: made.append("teachers"))
    monkeypatch.setattr(student_statistics, "measured", lambda *words: made.append("students") or {})
    make_statistics(kept_copy.context())
    assert made == []
    rmtree(kept_copy.out / "students_statistics")
    rmtree(kept_copy.out / "statistics")
    make_statistics(kept_copy.context())
    assert made == ["teachers", "students"]


# by hand


def test_measuring_students_by_hand_leaves_the_teachers_results(kept_copy):
    before = tree(kept_copy.out / "statistics")
    answer = command("stats", kept_copy.out / STUDENTS_STORE, "--measure", "topk")
    assert answer.code == 0, answer.err
    assert str(kept_copy.out / "students_statistics/topk_by_tau_k.csv") in answer.out.split()
    assert tree(kept_copy.out / "statistics") == before


def test_tables_that_anybody_made_bring_a_new_page(kept_copy, monkeypatch):
    context, pages = kept_copy.context(), []
    monkeypatch.setattr(stage_two, "note_samples", lambda context: None)
    monkeypatch.setattr(stage_two, "write_report", lambda out: pages.append(out) or out / "report.html")
    make_report(context)
    assert len(pages) == 0, "nothing has changed"
    for number, store in enumerate(("store.zarr", STUDENTS_STORE), 1):
        assert command("stats", kept_copy.out / store, "--measure", "topk", "--measure", "tau", "--tau", 3).code == 0
        make_report(context)
        assert len(pages) == number
    make_report(context)
    assert len(pages) == 2
