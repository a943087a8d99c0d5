"""What the README shows is what the code takes."""

import re

import logitcache
from logitcache.cli import cli
from logitcache.pipeline.recipe import read_recipe


def blocks(readme, language):
    return re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)


def test_its_recipe_has_no_faults(repository, tmp_path):
    [toml] = blocks((repository / "README.md").read_text(encoding="utf-8"), "toml")
    path = tmp_path / "mine.toml"
    path.write_text(toml, encoding="utf-8")
    assert read_recipe(path).students[0].seeds == (0, 1, 2)


def test_its_python_names_are_public(repository):
    [python] = blocks((repository / "README.md").read_text(encoding="utf-8"), "python")
    compile(python, "README.md", "exec")
    names = set(re.findall(r"\blc\.(\w+)", python))
    assert names
    assert names <= set(logitcache.__all__)


def test_its_commands_exist(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"^logitcache (\w+)", text, re.MULTILINE))
    assert len(commands) > 4
    assert commands <= set(cli.commands)
