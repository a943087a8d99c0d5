"""The command that measures a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from logitcache.address import Address
from logitcache.cli.measures import lines
from logitcache.cli.options import STORE

__all__ = ["stats"]


def _print_measures(context: click.Context, _: click.Parameter, value: bool) -> None:
    """Print what measures there are, and stop."""
    if value and not context.resilient_parsing:
        click.echo("\n".join(lines()))
        context.exit()


@click.command(epilog="\b\n" + "\n".join(lines()))
@STORE
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the results; default `statistics` beside store.zarr, `students_statistics` beside students.zarr.",
)
@click.option("--students", type=click.Path(path_type=Path), help="Folder of student runs to compare with teachers.")
@click.option(
    "--measure",
    "measures",
    multiple=True,
    metavar="NAME",
    help="Only this measure of those below; can be repeated.",
)
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_measures,
    help="Print the measures and what they need; no STORE is read.",
)
@click.option("--tau", "taus", multiple=True, type=float, help="Temperature; can be repeated.  [default: 0.5 to 20]")
@click.option("--teacher", "teachers", multiple=True, metavar="NAME", help="Only this teacher; can be repeated.")
@click.option(
    "--against",
    multiple=True,
    metavar="STORE:TEACHER",
    help="Compare with this teacher, or with TEACHER of the same store; can be repeated for the measure `ensemble`.",
)
@click.option(
    "--views",
    type=click.Choice(["clean", "all"]),
    default="clean",
    show_default=True,
    help="What measures of one view look at.",
)
@click.option(
    "--labels",
    multiple=True,
    metavar="WHICH",
    help="clean or noisy: labels for all measures; SPLIT=FILE.npy: your own, integers, one a sample, can be repeated.  "
    "[default: noisy for `labels` where the STORE has them, else clean]",
)
@click.option(
    "--plane", nargs=3, metavar="CLASS CLASS CLASS", help="Classes of the measure `plane`, by name or number."
)
@click.option(
    "--scheduler",
    default="threads",
    show_default=True,
    help="threads, sync, processes, local for a Dask cluster on this machine, or the address of one, tcp://HOST:PORT.",
)
def stats(
    store: Address,
    *,
    out: Path | None,
    students: Path | None,
    measures: Sequence[str],
    taus: Sequence[float],
    teachers: Sequence[str],
    against: Sequence[str],
    views: Literal["clean", "all"],
    labels: Sequence[str],
    plane: tuple[str, str, str] | None,
    scheduler: str,
) -> None:
    """What a STORE's logits, soft targets and features are like, in one pass over it.

    Writes DIR/statistics.zarr, which xarray opens, and tables as CSV. Without --measure all measures are made whose
    needs are met and that read no more than the clean view, and the tables of teachers and students that the report
    reads.

    \b
    logitcache stats runs/mine/store.zarr
    logitcache stats runs/mine/store.zarr --measure tau --tau 1 --tau 4
    logitcache stats runs/mine/store.zarr --measure pair --against other.zarr:big
    """
    from logitcache import statistics
    from logitcache.pipeline.progress import Screen

    screen = Screen()
    for path in statistics.run(
        store,
        out or statistics.results_folder(store),
        students or statistics.student_runs(store),
        teachers or None,
        measures=measures or None,
        taus=taus or statistics.TAUS,
        against=against,
        views=views,
        labels=labels,
        plane=plane,
        scheduler=scheduler,
        watch=lambda what, total: screen.bar(what, total, "blocks"),
    ):
        click.echo(path)
