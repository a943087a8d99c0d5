"""Every recipe that comes with logitcache is read without a fault, opens with its command, and can be planned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny import command, write_data

from logitcache.pipeline.recipe import Recipe, read_recipe, shipped_recipes

FOLDER = Path(__file__).parents[1] / "pipelines"
RECIPES = sorted(FOLDER.rglob("*.toml"))
COUNT = 1
"""How many there are; a walk that finds fewer sees less than it says."""


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
class TestRecipe:
    """What holds for each of them."""

    def test_is_read_without_a_fault(self, path):
        recipe = read_recipe(path)
        assert isinstance(recipe, Recipe)
        assert recipe.name == path.stem
        assert recipe.teachers
        assert recipe.students

    def test_opens_with_what_it_is_and_the_command_that_runs_it(self, path):
        comment = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))
        assert comment is not None
        lines = comment[0].splitlines()
        assert len(lines[0].split()) >= 5
        assert f"#   logitcache run pipelines/{path.relative_to(FOLDER)}" in lines

    def test_is_listed_by_name_with_its_first_line(self, path):
        assert shipped_recipes()[path.stem].read_bytes() == path.read_bytes()
        first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        assert any(line.split()[0] == path.stem and first in line for line in command("recipes").out.splitlines())

    def test_can_be_planned(self, path, tmp_path):
        data = write_data(tmp_path, side=16, classes=3)
        files = {"images": "train", "labels": "train_labels", "test_images": "test", "test_labels": "test_labels"}
        table = ", ".join(f'{key} = "{data / name}.npy"' for key, name in files.items())
        answer = command("plan", path, "--out", tmp_path / "out", "--set", f'data={{name = "arrays", {table}}}')
        assert answer.code == 0, answer.err
        steps = [line.split()[0] for line in answer.out.splitlines()]
        assert {"cache", "verify", "distill", "statistics", "report"} <= set(steps)
        assert " done " not in answer.out
        assert not (tmp_path / "out").exists()


def test_the_walk_finds_all_of_them():
    assert len(RECIPES) == COUNT
    assert {path.stem for path in RECIPES} == set(shipped_recipes())
