"""Every recipe that comes with logitcache runs from its first step to its last, on small data and with small networks.

Counts, sizes and networks are replaced; teachers, groups, objectives, variants, figures and claims are the recipe's.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tiny import command, run_words, write_data

from logitcache.pipeline.recipe import Recipe, read_recipes

FOLDER = Path(__file__).parents[2] / "pipelines"
RECIPES = sorted(FOLDER.rglob("*.toml"))
COUNT = 17
"""How many there are; a walk that finds fewer sees less than it says."""

NETWORK = "cnn-4"
TRAINING = {"epochs": 1, "batch": 20}


pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    """The data set as an override: 60 train and 30 test images of three classes."""
    folder = write_data(tmp_path_factory.mktemp("data"), samples=60)
    files = {"images": "train", "labels": "train_labels", "test_images": "test", "test_labels": "test_labels"}
    table = ", ".join(f'{key} = "{folder / name}.npy"' for key, name in files.items())
    return f'{{name = "arrays", {table}}}'


def smaller(recipe: Recipe, data: str) -> list[str]:
    """The overrides that make a recipe small."""
    views = '{kind = "crop_flip", padding = 1, count = 2}'
    words = [f"views={views}", f"students.model={NETWORK}", "students.seeds=[0]"]
    words += [f"data.noise.rate={recipe.data.noise.rate}"] if recipe.data.noise else []
    words += [f"students.training.{key}={value}" for key, value in TRAINING.items()]
    for place, teacher in enumerate(recipe.teachers):
        here = f"teachers.{place}"
        words.append(f"{here}.model={NETWORK}")
        if teacher.snapshot is not None:
            words.append(f"{here}.snapshot.epoch=1")
        elif teacher.teach is not None:
            words += [f"{here}.teach.epochs=2", f"{here}.teach.batch={TRAINING['batch']}"]
            words += [] if teacher.teach.teachers else [f"{here}.teach.views={views}"]
        else:
            words[-1] = f'{here}={{name = "{teacher.name}", model = "{NETWORK}", teach = {{epochs = 2}}}}'
    for place, group in enumerate(recipe.students):
        here = f"students.{place}"
        words += [f"{here}.views=[1, 2]"] if group.views is not None else []
        walked = [number for number, grid in enumerate(group.objectives) if grid.views is not None]
        words += [f"{here}.objectives.{number}.views=[0, 2]" for number in walked]
    if recipe.timing is not None:
        words += [f"timing.model={NETWORK}", "timing.rounds=1"]
    if recipe.study is not None:
        words += ["study.penultimate.classes=[0, 1, 2]"] if recipe.study.penultimate is not None else []
        named = [place for place, figure in enumerate(recipe.study.figures) if "student" in figure.where]
        words += [f"study.figures.{place}.where.student={NETWORK}" for place in named]
    return [f"data={data}", *words]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs_from_its_first_step_to_its_last(path, tmp_path, data):
    recipe = read_recipes(path)[0]
    out = tmp_path / "runs" / recipe.run_name
    answer = command("run", *run_words(path, out, *smaller(recipe, data)))
    assert (answer.code, answer.err) == (0, "")
    results = list(out.rglob("results.csv"))
    assert len(results) == len(read_recipes(path))
    for file in results:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        assert {row["status"] for row in rows} == {"done"}
        assert {row["group"] for row in rows} == {group.name for group in recipe.students}
        assert (file.parent / "report.html").exists()
    if recipe.study is not None:
        told = (out / "study" / "study.md").read_text(encoding="utf-8")
        assert all(claim.says in told for claim in recipe.study.claims)
        assert len(list((out / "study").glob("figure-*.svg"))) >= len(recipe.study.figures)


def test_the_walk_finds_all_of_them():
    assert len(RECIPES) == COUNT
