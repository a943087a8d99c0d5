"""Every recipe that comes with logitcache is read without a fault, opens with its command, and can be planned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny import command, write_data

from logitcache.pipeline.recipe import Recipe, read_recipes, shipped_recipes

FOLDER = Path(__file__).parents[1] / "pipelines"
RECIPES = sorted(FOLDER.rglob("*.toml"))
COUNT = 17
"""How many there are; a walk that finds fewer sees less than it says."""


def name_of(path: Path) -> str:
    """The name by which it is listed and found."""
    return path.relative_to(FOLDER).with_suffix("").as_posix()


def small_data(path: Path, folder: Path) -> str:
    """What to set so that a recipe can be planned: small arrays, or no data at all where the recipe says their size."""
    if read_recipes(path)[0].data.expect is not None:
        return f"data.root={folder / 'absent'}"
    data = write_data(folder, side=16, classes=3)
    files = {"images": "train", "labels": "train_labels", "test_images": "test", "test_labels": "test_labels"}
    table = ", ".join(f'{key} = "{data / name}.npy"' for key, name in files.items())
    return f'data={{name = "arrays", {table}}}'


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
class TestRecipe:
    """What holds for each of them."""

    def test_is_read_without_a_fault(self, path):
        for recipe in read_recipes(path):
            assert isinstance(recipe, Recipe)
            assert recipe.name == name_of(path).replace("/", "-")
            assert recipe.teachers
            assert recipe.students

    def test_opens_with_what_it_is_and_the_command_that_runs_it(self, path):
        comment = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))
        assert comment is not None
        lines = comment[0].splitlines()
        assert len(lines[0].split()) >= 5
        run = f"#   logitcache run pipelines/{path.relative_to(FOLDER)}"
        assert any(line == run or line.startswith(f"{run} --set ") for line in lines)

    def test_is_listed_by_name_with_its_first_line(self, path):
        name = name_of(path)
        assert shipped_recipes()[name].read_bytes() == path.read_bytes()
        first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        assert any(line.split()[0] == name and first in line for line in command("recipes").out.splitlines())

    def test_can_be_planned(self, path, tmp_path):
        answer = command("plan", path, "--out", tmp_path / "out", "--set", small_data(path, tmp_path))
        assert answer.code == 0, answer.err
        steps = [line.split()[0] for line in answer.out.splitlines()]
        assert {"cache", "verify", "distill", "statistics", "report"} <= set(steps)
        assert " done " not in answer.out
        assert not (tmp_path / "out").exists()


def test_the_walk_finds_all_of_them():
    assert len(RECIPES) == COUNT
    assert {name_of(path) for path in RECIPES} == set(shipped_recipes())
