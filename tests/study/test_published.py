"""Published figures: those that were read in the sources and no others, and only beside runs of the same setting."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

import pytest

import logitcache.study.published as module
from logitcache.errors import InputError
from logitcache.student.objectives import ObjectiveOptions
from logitcache.study.columns import MEASURES
from logitcache.study.published import published_sources, published_tables, published_value

FACTS = {
    "data": "cifar100",
    "train_samples": "50000",
    "profile": "",
    "teachers": "teacher:wrn-28-4:78.9;medium-ce:wrn-16-4:77.3;medium-kl:wrn-16-4:78.8;generation-2:wrn-16-2:72.8",
}
COLUMNS = ("table", "data", "teacher", "teacher_name", "student", "objective", "tau", "alpha", "samples")


def run(loss="kl", student="wrn-16-2", teacher="teacher", **changes):
    """A run of the paper's setting as a study's table has it."""
    options = {name: changes.pop(name) for name in ("tau", "alpha", "hard", "also") if name in changes}
    objective = ObjectiveOptions.model_validate({"loss": loss, **options})
    return {
        "variant": "",
        "student": student,
        "teachers": "" if loss == "ce" else teacher,
        "objective": loss,
        "label": objective.label,
        "tau": {"kl": f"{objective.tau}", "kl_inf": "inf"}.get(loss, ""),
        "alpha": "" if loss == "ce" else f"{objective.alpha}",
        "label_smoothing": "0.0",
        "samples": "50000",
        "epochs": "200",
        "batch": "128",
        "learning_rate": "0.1",
        "weight_decay": "0.0005",
        "labels": "clean",
        "combine": "" if loss == "ce" else "mean_logits",
        "targets": "views",
        "labelled": "",
        **changes,
    }


def beside(table, facts=FACTS, measure="test_accuracy", **changes):
    return published_value(table, facts, run(**changes), measure)


@pytest.fixture(scope="module")
def lines():
    with (Path(module.__file__).parent / "published.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def recipes(repository):
    """The paper's recipes by name, as they are written."""
    files = (repository / "pipelines" / "kim2021").glob("*.toml")
    return {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in files}


@pytest.mark.parametrize(
    ("table", "changes", "value"),
    [
        ("grid", {"tau": 1, "alpha": 0.1}, 72.79),
        ("grid", {"tau": 5, "alpha": 0.7}, 75.17),
        ("grid", {"tau": 20}, 75.76),
        ("grid", {"loss": "kl_inf", "alpha": 0.8}, 75.05),
        ("grid", {"tau": 3, "alpha": 0.5, "measure": "train_accuracy"}, 97.85),
        ("losses", {"tau": 3}, 74.24),
        ("losses", {"loss": "kl_inf"}, 75.51),
        ("methods", {"loss": "ce", "student": "wrn-28-2"}, 75.12),
        ("methods", {"tau": 20, "student": "wrn-16-4"}, 78.84),
        ("sequential", {"tau": 3}, 74.24),
        ("sequential", {"tau": 3, "teacher": "medium-ce"}, 74.84),
        ("sequential", {"tau": 3, "teacher": "medium-kl"}, 74.52),
        ("data_fraction", {"tau": 20, "samples": "5000"}, 54.09),
        ("data_fraction", {"loss": "ce", "samples": "25000"}, 66.65),
        ("born_again", {"tau": 20, "teacher": "generation-2"}, 72.86),
    ],
)
def test_a_run_of_the_setting_has_its_figure(table, changes, value):
    assert beside(table, **changes) == value


@pytest.mark.parametrize(
    "changes",
    [
        {"student": "wrn-16-4"},
        {"teacher": "medium-ce"},
        {"teacher": "nobody"},
        {"teacher": "teacher+medium-ce"},
        {"tau": 4},
        {"alpha": 0.95},
        {"epochs": "100"},
        {"epochs": ""},
        {"batch": "64"},
        {"learning_rate": "0.05"},
        {"weight_decay": "0.0001"},
        {"samples": "25000"},
        {"labels": "noisy"},
        {"targets": "clean"},
        {"targets": "online"},
        {"combine": "mean_probs"},
        {"labelled": "500"},
        {"label_smoothing": "0.1"},
        {"variant": "noise-20"},
        {"hard": 0.5},
        {"also": ["mse"]},
        {"measure": "best_test_accuracy"},
    ],
)
def test_a_run_of_another_setting_has_none(changes):
    assert beside("grid", tau=20) == 75.76
    assert beside("grid", **{"tau": 20, **changes}) is None


@pytest.mark.parametrize(
    "facts",
    [
        {"data": "cifar10"},
        {"train_samples": "45000"},
        {"train_samples": ""},
        {"profile": "small"},
        {"teachers": "teacher:wrn-40-2:76"},
        {"teachers": ""},
    ],
)
def test_an_experiment_of_another_setting_has_none(facts):
    assert beside("grid", {**FACTS, **facts}, tau=20) is None


def test_an_unknown_table_is_named_with_those_there_are():
    with pytest.raises(InputError, match="no published table 'fig2'; there are grid, losses"):
        beside("fig2", tau=1)
    with pytest.raises(InputError, match="no published table"):
        published_sources("fig2")


def test_every_figure_is_found_by_its_own_run(lines):
    for line in lines:
        options = {name: float(line[name]) for name in ("tau", "alpha") if line[name] not in ("", "inf")}
        name = line["teacher_name"] or "teacher"
        facts = {**FACTS, "teachers": f"{name}:{line['teacher']}:70"}
        own = run(line["objective"], line["student"], name, samples=line["samples"], **options)
        assert published_value(line["table"], facts, own, line["measure"]) == float(line["value"])


def test_no_setting_has_two_figures_and_all_are_of_a_measure(lines):
    keys = [tuple(line[column] for column in (*COLUMNS, "measure")) for line in lines]
    assert len(set(keys)) == len(keys)
    assert {line["measure"] for line in lines} <= set(MEASURES)
    assert all(line["source"] for line in lines)


def test_figures_that_are_known_from_memory_only_are_not_there(lines):
    values = {(line["student"], line["value"]) for line in lines}
    table_1 = {"16-2": "75.15 75.54", "16-4": "76.93 78.65 79.03", "28-4": "78.88 79.79", "40-6": "79.11 80.25"}
    imagenet, noisy_teacher = "76.28 77.52 75.84", "51.64 52.07 49.20"
    for student, remembered in table_1.items():
        assert not values & {(f"wrn-{student}", value) for value in remembered.split()}
    assert not {value for _, value in values} & {*imagenet.split(), *noisy_teacher.split()}
    assert not [line for line in lines if line["objective"] == "mse"]


def test_tables_say_where_they_stand():
    assert published_tables() == ("grid", "losses", "methods", "sequential", "data_fraction", "born_again")
    assert "best of 3 runs" in " ".join(published_sources("data_fraction"))


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ("sequential", {"teacher", "medium-ce", "medium-kl"}),
        ("born_again", {"generation-0", "generation-1", "generation-2"}),
    ],
)
def test_named_teachers_are_those_of_the_recipe(recipes, lines, table, named):
    teachers = {each["name"]: each["model"] for each in recipes[table]["teachers"]}
    published = {line["teacher_name"]: line["teacher"] for line in lines if line["table"] == table}
    assert named <= published.keys() & teachers.keys()
    assert {name: published[name] for name in named} == {name: teachers[name] for name in named}


def test_recipes_name_tables_that_there_are(recipes):
    named = {recipe["study"]["published"] for recipe in recipes.values() if "published" in recipe.get("study", {})}
    assert {"grid", "losses"} <= named <= set(published_tables())
