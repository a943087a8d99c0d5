"""The command line: parse, call, print. Exit code 0 done, 1 a check failed, 2 wrong usage or input.

torch takes seconds to load, so each command imports what it needs when it runs and ``--help`` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

import logitcache
from logitcache.errors import LogitcacheError, UnknownOriginWarning

__all__ = ["cli", "main"]

Command = Callable[..., Any]

_RECIPE = click.argument("recipe")
_STORE = click.argument("store", type=click.Path(path_type=Path))
_SHOW_WARNING = warnings.showwarning
_ENCODINGS = click.Choice(["auto", "uniform", "spectral", "lossless", "topk"])


def _run_options(command: Command) -> Command:
    """Options of every command that works on a recipe's run."""
    for option in (
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the recipe."),
        click.option("--out", type=click.Path(path_type=Path), help="Results; default runs/<recipe name>."),
    ):
        command = option(command)
    return command


def _encoding_options(default: str | None) -> Callable[[Command], Command]:
    """How logits are encoded; without a default only where --encoding is given."""

    def add(command: Command) -> Command:
        options = (
            click.option("--codec", type=click.Choice(["pcodec", "portable"]), help="portable: plain Zarr v3, larger."),
            click.option("--top-p", type=float, help="topk: no more entries than hold this probability."),
            click.option("--entries", type=int, help="topk: entries a row.  [default: 10]"),
            click.option("--head", type=int, help="spectral: top entries kept beside; chosen without."),
            click.option("--step", type=float, help="Step of uniform or spectral codes, instead of --max-kl."),
            click.option("--bytes-per-row", type=float, help="Find the step that takes so many, instead of --max-kl."),
            click.option("--tau-min", type=float, help="Temperature from which --max-kl holds.  [default: 1]"),
            click.option("--max-kl", type=float, help="Largest KL of any row, in nats.  [default: 0.001]"),
            click.option(
                "--encoding",
                "kind",
                type=_ENCODINGS,
                default=default,
                show_default=default is not None,
                help="How logits are stored." if default else "Encode anew; byte for byte without.",
            ),
        )
        for option in options:
            command = option(command)
        return command

    return add


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
@click.option("--recompute", nargs=2, metavar="N RECIPE", help="Also run RECIPE's teachers on N random stored rows.")
@_run_options
def verify(
    store: Path,
    *,
    decode: bool,
    recompute: tuple[str, str] | None,
    out: Path | None,
    overrides: Sequence[str],
    device: str,
) -> None:
    """Compare a STORE's bytes with its commits; name every damaged or missing block, then exit with 1.

    With --recompute the teachers are run again on rows drawn by key, which must be within the store's bound.
    """
    from logitcache.pipeline.checking import verify_with_bar
    from logitcache.pipeline.progress import Screen

    result = verify_with_bar(store, Screen(), decode=decode)
    for finding in result.findings:
        click.echo(str(finding), err=True)
    if result.findings:
        click.echo(f"{len(result.findings)} findings in {result.blocks} blocks", err=True)
        sys.exit(1)
    click.echo(f"{result.blocks} blocks, {result.bytes:,} bytes: all intact")
    if recompute is not None:
        _recompute(store, recompute, out, overrides, device)


def _recompute(
    store: Path, recompute: tuple[str, str], out: Path | None, overrides: Sequence[str], device: str
) -> None:
    """Compare stored rows with the teachers; exit with 1 where one is beyond the bound."""
    from logitcache.pipeline.checking import recompute_rows
    from logitcache.pipeline.context import open_context

    count, recipe = recompute
    if not count.isdecimal() or int(count) < 1:
        raise click.UsageError(f"--recompute {count}: N must be a number of rows, at least 1")
    rows = recompute_rows(open_context(recipe, overrides, out, device), store, int(count))
    beyond = [row for row in rows if not row.agrees]
    for row in beyond:
        click.echo(str(row), err=True)
    click.echo(f"{len(rows) - len(beyond)} of {len(rows)} recomputed rows are within the bound", err=bool(beyond))
    if beyond:
        sys.exit(1)


@cli.command()
@_STORE
@_RECIPE
@_run_options
def repair(store: Path, recipe: str, *, out: Path | None, overrides: Sequence[str], device: str) -> None:
    """Recompute what is damaged or missing in a STORE, and nothing else, with the teachers of RECIPE.

    On the same kind of device and software the very bytes come back; else a new commit says that they are others,
    within the bound. Checkpoints of taught teachers are looked for in --out.
    """
    from logitcache.pipeline.checking import repair_store
    from logitcache.pipeline.context import open_context

    result = repair_store(open_context(recipe, overrides, out, device), store)
    for finding in result.findings:
        click.echo(f"left: {finding}", err=True)
    click.echo(f"{result.blocks} blocks, {len(result.findings)} findings left", err=bool(result.findings))
    if result.findings:
        sys.exit(1)


@cli.command("import")
@click.argument("logits", type=click.Path(path_type=Path))
@_STORE
@click.option("--teacher", required=True, help="The teacher's name in the store.")
@click.option("--labels", type=click.Path(path_type=Path), help=".npy of integer labels, one a sample.")
@click.option("--split", default="train", show_default=True, help="The split's name in the store.")
@_encoding_options("auto")
@click.option("--block", type=click.IntRange(1), default=8192, show_default=True, help="Rows of a block.")
@click.option("--format", "layout", help="Layout of LOGITS; by its name without.")
@click.option("--classes", type=int, help="Number of classes, where the files do not say.")
@click.option("--key", help="Name of the array in .npz, .safetensors or torch files.")
@click.option("--ids", help="Parquet: column of class numbers.")
@click.option("--values", help="Parquet: column of log-probabilities or logits.")
@click.option("--tau", type=float, help="torch: temperature of stored probabilities.  [default: 1]")
def import_(
    logits: Path,
    store: Path,
    *,
    teacher: str,
    labels: Path | None,
    split: str,
    block: int,
    layout: str | None,
    classes: int | None,
    key: str | None,
    ids: str | None,
    values: str | None,
    tau: float | None,
    **encoding: Any,
) -> None:
    """Write LOGITS of another system into a STORE.

    LOGITS: .npy, .npz, .safetensors (samples x classes, or views x samples x classes), Parquet, a TinyViT log folder,
    or torch.save files, one a sample. The same command goes on where it was interrupted, and says so when all is there.
    """
    from logitcache.pipeline.transfers import import_file

    source = {"format": layout, "classes": classes, "key": key, "ids": ids, "values": values, "tau": tau}
    click.echo(
        import_file(
            logits, store, teacher=teacher, labels=labels, split=split, block=block, source=source, encoding=encoding
        )
    )


@cli.command()
@_STORE
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--teacher", required=True, help="The teacher's name in the store.")
@click.option("--split", default="train", show_default=True, help="The split's name in the store.")
@click.option("--view", "views", default="0", show_default=True, help="A view, or several as 0:8; 0 is the clean one.")
@click.option("--format", "layout", help="npy, npz, safetensors, parquet or tinyvit; by OUT's ending without.")
@click.option("--k", type=int, help="tinyvit: entries a row.")
def export(store: Path, out: Path, *, teacher: str, split: str, views: str, layout: str | None, k: int | None) -> None:
    """Write views of a teacher's logits in a STORE to OUT (.npy, .npz, .safetensors, .parquet, or TinyViT's folder)."""
    from logitcache.pipeline.transfers import export_file

    click.echo(export_file(store, out, teacher=teacher, split=split, views=views, sink={"format": layout, "k": k}))


@cli.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path))
@click.option("--teacher", "teachers", multiple=True, help="A teacher to copy; all without. Can be repeated.")
@click.option("--split", "splits", multiple=True, help="A split to copy; all without. Can be repeated.")
@click.option("--views", help="Views to copy, as 0:8; all without.")
@_encoding_options(None)
def copy(
    source: Path, dest: Path, *, teachers: tuple[str, ...], splits: tuple[str, ...], views: str | None, **encoding: Any
) -> None:
    """Copy the store SOURCE, or part of it, to DEST; every block is compared with its commit.

    Byte for byte, or encoded anew where --encoding is given. The same command goes on where it was interrupted.
    """
    from logitcache.pipeline.transfers import copy_files

    anew = encoding if encoding["kind"] is not None else None
    if anew is None and any(value is not None for value in encoding.values()):
        raise click.UsageError("options of an encoding need --encoding")
    click.echo(copy_files(source, dest, teachers=teachers, splits=splits, views=views, encoding=anew))


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


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Our own warnings are for people, in one line; others as Python shows them."""
    if issubclass(category, UnknownOriginWarning):
        click.echo(f"warning: {message}", err=True)
    else:
        _SHOW_WARNING(message, category, *place, **more)


def main() -> None:
    """Entry of the command ``logitcache``; errors become one message and an exit code."""
    # Spinning OpenMP threads fall to a hundredth of their speed when cores are shared; must be set before torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = "--debug" in sys.argv[1:]
    warnings.showwarning = _show_warning
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
