"""What docs/scale.md shows is what the commands take."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from logitcache.cli import cli
from logitcache.pipeline.recipe import shipped_recipes
from logitcache.planning.traffic import COUNTS


@pytest.fixture(scope="module")
def page(repository) -> str:
    return (repository / "docs" / "scale.md").read_text(encoding="utf-8")


def commands(page) -> list[list[str]]:
    """The words of each command of ours in the page's blocks, from ``logitcache`` on."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    plain = "\n".join(block for language, block in blocks if not language).replace("\\\n", " ")
    found = re.findall(r"(?<![/\w.])logitcache (?=\w)[^#&'\n]*", plain)
    return [shlex.split(line) for line in found]


def test_its_commands_take_the_options_that_they_are_shown_with(page):
    seen = set()
    for _, name, *words in commands(page):
        command = cli.commands[name]
        known = {option for each in command.params if isinstance(each, click.Option) for option in each.opts}
        given = {word for word in words if word.startswith("--")}
        assert given <= known | {"--help"}, (name, given)
        seen.add(name)
    assert seen == {"plan", "run", "cache", "teach", "distill", "stats"}


def test_its_recipes_come_with_the_package(page):
    named = {words[2] for words in commands(page) if words[1] == "plan" and "/" in words[2]}
    assert named == {name for name in shipped_recipes() if name.startswith("scale/")}


def test_its_links_lead_somewhere(page, repository):
    for target in re.findall(r"\]\(([^):]+)\)", page):
        assert (repository / "docs" / target).exists()
    assert (repository / re.search(r"`(logitcache/[\w/]+\.py)`", page)[1]).exists()
    assert "(scale.md)" in (repository / "docs" / "object_storage.md").read_text(encoding="utf-8")


def test_every_assumption_that_is_named_is_stated_and_the_other_way_round(page):
    table, stated = page.split("reckoned as")[1].split("- **A1**", 1)
    assert set(re.findall(r"\bA\d\b", table)) == {"A1", *re.findall(r"^- \*\*(A\d)\*\*", stated, re.MULTILINE)}
    assert COUNTS
