"""The commands of the study: what a recipe's runs say to its claims, and the page of all recipes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from logitcache.cli.options import RECIPE, run_options

__all__ = ["study"]


@click.group()
def study() -> None:
    """Claims, tables and figures of a recipe's runs, as its table [study] says, and the page of all of them."""


@study.command("make")
@RECIPE
@run_options
def make(recipe: str, out: Path | None, overrides: Sequence[str], device: str) -> None:
    """Write DIR/study from the results of RECIPE's variants; `logitcache run` does it as its last step."""
    from logitcache.pipeline.context import open_contexts
    from logitcache.pipeline.studying import make_study

    make_study(open_contexts(recipe, overrides, out, device))


@study.command("collect")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("results_dir", type=click.Path(path_type=Path), default=Path("docs/results"))
def collect(run_dir: Path, results_dir: Path) -> None:
    """Copy the small tables of RUN_DIR/study into RESULTS_DIR (default docs/results), where the page is made from."""
    from logitcache.study.collect import collect as collect_results

    for path in collect_results(run_dir / "study", results_dir):
        click.echo(path)


@study.command("page")
@click.argument("results_dir", type=click.Path(path_type=Path), default=Path("docs/results"))
@click.option("--out", "-o", type=click.Path(path_type=Path), default=Path("docs/study.md"), show_default=True)
def page(results_dir: Path, out: Path) -> None:
    """Write the page of all results in RESULTS_DIR (default docs/results), and its figures beside it."""
    from logitcache.pipeline.studying import make_page

    click.echo(make_page(results_dir, out))
