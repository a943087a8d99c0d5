"""The command line: parse, call, print. Exit code 0 done, 1 a check failed, 2 wrong usage or input.

torch takes seconds to load, so each command imports what it needs when it runs and ``--help`` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

import logitcache
from logitcache.errors import LogitcacheError

__all__ = ["cli", "main"]

Command = Callable[..., Any]

_RECIPE = click.argument("recipe")
_STORE = click.argument("store", type=click.Path(path_type=Path))
_ENCODING = click.Choice(["uniform", "lossless"])


def _run_options(command: Command) -> Command:
    """Options of every command that works on a recipe's run."""
    for option in (
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the recipe."),
        click.option("--out", type=click.Path(path_type=Path), help="Results; default runs/<recipe name>."),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(logitcache.__version__)
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def cli(*, debug: bool) -> None:
    """Compute a teacher's logits once, store them, and distil any number of students from them.

    \b
    A first run, on data that comes with the repository:
        logitcache run pipelines/fashion_mnist.toml
    The two stages one by one:
        logitcache cache RECIPE       teachers over all views, into DIR/store.zarr
        logitcache distill RECIPE     students from the store; the teacher is never loaded
    """


@cli.command()
@_RECIPE
@_run_options
@click.option("--dry-run", is_flag=True, help="Only print the plan.")
def run(recipe: str, *, out: Path | None, overrides: Sequence[str], device: str, dry_run: bool) -> None:
    """Run a RECIPE wholly: teach, cache, verify, distill, statistics, report.

    Steps that are finished are skipped; a step that was interrupted goes on where it stopped. RECIPE is a file, or
    the name of a recipe that comes with logitcache (see `logitcache recipes`).
    """
    from logitcache.pipeline.context import open_context
    from logitcache.pipeline.execution import run_all
    from logitcache.pipeline.plan import make_plan, print_plan

    context = open_context(recipe, overrides, out, device)
    if dry_run:
        print_plan(make_plan(context), context.screen)
    else:
        run_all(context)


@cli.command()
@_RECIPE
@_run_options
def plan(recipe: str, out: Path | None, overrides: Sequence[str], device: str) -> None:
    """Print the steps of a RECIPE, what is done, forward passes, bytes of the store, and when caching pays."""
    from logitcache.pipeline.context import open_context
    from logitcache.pipeline.plan import make_plan, print_plan

    context = open_context(recipe, overrides, out, device)
    print_plan(make_plan(context), context.screen)


@cli.command()
@_RECIPE
@_run_options
def cache(recipe: str, out: Path | None, overrides: Sequence[str], device: str) -> None:
    """Stage 1: run the RECIPE's teachers over all views and write DIR/store.zarr.

    Interrupted at any point, the same command goes on; what is committed is not computed again.
    """
    from logitcache.pipeline.context import open_context
    from logitcache.pipeline.stage_one import run_stage_one

    run_stage_one(open_context(recipe, overrides, out, device))


@cli.command()
@_RECIPE
@_run_options
@click.option("--processes", type=click.IntRange(1), help="Students trained side by side; default one a CPU core.")
def distill(recipe: str, out: Path | None, overrides: Sequence[str], device: str, processes: int | None) -> None:
    """Stage 2: train the RECIPE's students from DIR/store.zarr; no teacher is loaded.

    Finished runs are skipped. Results go to DIR/results.csv and DIR/students/<run_id>/.
    """
    from logitcache.pipeline import stage_two
    from logitcache.pipeline.context import open_context

    stage_two.distill(open_context(recipe, overrides, out, device), processes)


@cli.command()
@_STORE
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the tables; default `statistics` beside STORE.")
@click.option("--students", type=click.Path(path_type=Path), help="Folder of student runs to compare with teachers.")
def stats(store: Path, out: Path | None, students: Path | None) -> None:
    """Statistics of a STORE's logits, and of students against its teachers, as CSV tables."""
    from logitcache import statistics

    beside = store.parent / "students"
    folder = students or (beside if beside.is_dir() else None)
    for path in statistics.run(store, out or store.parent / "statistics", folder):
        click.echo(path)


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
def report(directory: Path) -> None:
    """Write DIRECTORY/report.html and its figures from the result files of a run."""
    from logitcache.report import write_report

    click.echo(write_report(directory))


@cli.command()
@_STORE
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def info(store: Path, *, as_json: bool) -> None:
    """What a STORE holds: data set, views, teachers, encoding, bytes, bound and measured error."""
    from logitcache.pipeline.show import info_lines
    from logitcache.soft_targets import open_store

    record = open_store(store).info()
    if as_json:
        click.echo(json.dumps(record, indent=1))
    else:
        click.echo("\n".join(info_lines(record)))


@cli.command()
@_STORE
@click.option("--decode", is_flag=True, help="Also decode every block and compare its values.")
def verify(store: Path, *, decode: bool) -> None:
    """Compare a STORE's bytes with its commits; name every damaged or missing block, then exit with 1."""
    from logitcache.pipeline.checking import verify_with_bar
    from logitcache.pipeline.progress import Screen
    from logitcache.store import open_store

    result = verify_with_bar(open_store(store), Screen(), decode=decode)
    for finding in result.findings:
        click.echo(str(finding), err=True)
    if result.findings:
        click.echo(f"{len(result.findings)} of {result.blocks} blocks are damaged or missing", err=True)
        sys.exit(1)
    click.echo(f"{result.blocks} blocks, {result.bytes:,} bytes: all intact")


@cli.command("import")
@click.argument("logits", type=click.Path(path_type=Path))
@_STORE
@click.option("--teacher", required=True, help="The teacher's name in the store.")
@click.option("--labels", type=click.Path(path_type=Path), help=".npy of integer labels, one a sample.")
@click.option("--split", default="train", show_default=True, help="The split's name in the store.")
@click.option("--encoding", type=_ENCODING, default="uniform", show_default=True)
@click.option(
    "--max-kl", type=float, default=1e-3, show_default=True, help="Largest KL of any row, in nats, at tau-min."
)
@click.option("--tau-min", type=float, default=1.0, show_default=True, help="Temperature from which max-kl holds.")
@click.option("--step", type=float, help="Step of the uniform encoding instead.")
@click.option("--block", type=click.IntRange(1), default=8192, show_default=True, help="Rows of a block.")
def import_(
    logits: Path,
    store: Path,
    *,
    teacher: str,
    labels: Path | None,
    split: str,
    block: int,
    **encoding: Any,
) -> None:
    """Write LOGITS (.npy, samples x classes, or views x samples x classes) into a STORE.

    The same command goes on where it was interrupted, and says so when all is there.
    """
    from logitcache.pipeline.transfers import import_file

    click.echo(import_file(logits, store, teacher=teacher, labels=labels, split=split, block=block, encoding=encoding))


@cli.command()
@_STORE
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--teacher", required=True, help="The teacher's name in the store.")
@click.option("--split", default="train", show_default=True, help="The split's name in the store.")
@click.option("--view", type=click.IntRange(0), default=0, show_default=True, help="0 is the clean view.")
def export(store: Path, out: Path, teacher: str, split: str, view: int) -> None:
    """Write one view of a teacher's logits in a STORE to OUT (.npy, float32, samples x classes)."""
    from logitcache.store import open_store
    from logitcache.store.transfer import export_logits

    rows, classes = export_logits(open_store(store), out, teacher=teacher, split=split, view=view)
    click.echo(f"{out}: {rows} x {classes}, float32")


@cli.group(invoke_without_command=True)
@click.pass_context
def recipes(context: click.Context) -> None:
    """List the recipes that come with logitcache; `recipes copy NAME` writes one to edit."""
    if context.invoked_subcommand is None:
        from logitcache.pipeline.show import recipe_lines

        click.echo("\n".join(recipe_lines()))


@recipes.command("copy")
@click.argument("name")
@click.argument("dest", type=click.Path(path_type=Path), default=Path())
def copy_recipe(name: str, dest: Path) -> None:
    """Write the recipe NAME to DEST, a file or folder, to edit it."""
    from logitcache.pipeline.shipped import copy_recipe as copy

    click.echo(copy(name, dest))


def main() -> None:
    """Entry of the command ``logitcache``; errors become one message and an exit code."""
    # Spinning OpenMP threads fall to a hundredth of their speed when cores are shared; must be set before torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = "--debug" in sys.argv[1:]
    try:
        cli()
    except LogitcacheError as error:
        if debug:
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if debug:
            raise
        click.echo(f"error: {error.filename or 'file system'}: {error.strerror or error}", err=True)
        sys.exit(1)
