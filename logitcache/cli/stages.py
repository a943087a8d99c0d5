"""The commands that work on a recipe and its run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from logitcache.address import Address, as_address
from logitcache.cli.budget import BudgetHelp
from logitcache.cli.options import RECIPE, cluster_options, run_options, sweep_options, sweep_overrides

__all__ = ["cache", "distill", "plan", "recipes", "report", "run", "teach"]


@click.command()
@RECIPE
@run_options
@sweep_options
@click.option("--dry-run", is_flag=True, help="Only print the plan.")
def run(
    recipe: str,
    *,
    out: Path | None,
    overrides: Sequence[str],
    device: str,
    dry_run: bool,
    **sweep: Any,
) -> None:
    """Run a RECIPE wholly: teach, cache, verify, distill, statistics, report.

    Steps that are finished are skipped; a step that was interrupted goes on where it stopped. RECIPE is a file, or
    the name of a recipe that comes with logitcache (see `logitcache recipes`).
    """
    from logitcache.pipeline.context import open_contexts
    from logitcache.pipeline.execution import run_all
    from logitcache.pipeline.plans import print_plans

    changes = sweep_overrides(overrides, sweep)
    contexts = open_contexts(recipe, changes, out, device)
    if dry_run:
        print_plans(contexts)
    else:
        run_all(contexts)


@click.command(cls=BudgetHelp)
@RECIPE
@run_options
@click.option("--scale", is_flag=True, help="Also encodings side by side, objects, requests, GPU hours and costs.")
@click.option(
    "--sample",
    type=as_address,
    metavar="PATH",
    help="Measure bytes by encoding, as with --scale, on logits in a .npy, .npz or .safetensors file, or in a store.",
)
def plan(
    recipe: str, *, out: Path | None, overrides: Sequence[str], device: str, scale: bool, sample: Address | None
) -> None:
    """Print the steps of a RECIPE, what is done, forward passes, bytes of the store, and when caching pays.

    It needs no data whose size is known, writes nothing, and takes no longer for a larger store. A recipe with a
    table [budget] is always planned with --scale.

    \b
    logitcache plan scale/imagenet21k_90
    logitcache plan RECIPE --sample logits.npy --set budget.teacher_rate=1500 --set budget.deadline=24
    """
    from logitcache.pipeline.context import open_contexts
    from logitcache.pipeline.plans import PlanOptions, print_plans

    print_plans(open_contexts(recipe, overrides, out, device), PlanOptions(sample, scale))


@click.command()
@RECIPE
@run_options
def teach(recipe: str, out: Path | None, overrides: Sequence[str], device: str) -> None:
    """Make the weights of the RECIPE's teachers where it says how, and cache none: before `cache` in several parts."""
    from logitcache.pipeline.context import open_contexts
    from logitcache.pipeline.stage_one import teach_all
    from logitcache.pipeline.walking import walk

    walk(open_contexts(recipe, overrides, out, device), teach_all)


@click.command()
@RECIPE
@run_options
@cluster_options
@click.option(
    "--part", metavar="I/N", help="Write the I-th of N parts of all blocks; other processes write the others."
)
def cache(
    recipe: str,
    *,
    out: Path | None,
    overrides: Sequence[str],
    device: str,
    scheduler: str | None,
    workers: int | None,
    part: str | None,
) -> None:
    """Stage 1: run the RECIPE's teachers over all views and write DIR/store.zarr.

    Interrupted at any point, the same command goes on; what is committed is not computed again.

    \b
    By a Dask cluster, whose workers see the same files under the same paths; they may die and come:
        logitcache cache RECIPE --scheduler tcp://HOST:PORT
    By jobs that know nothing of each other, such as a SLURM array; each may be started again, anywhere:
        logitcache teach RECIPE && logitcache cache RECIPE --part 3/8
    """
    from logitcache.cache_job import Part
    from logitcache.cluster import ClusterOptions
    from logitcache.pipeline.clustered import run_stage_one_by
    from logitcache.pipeline.context import open_contexts
    from logitcache.pipeline.stage_one import run_stage_one
    from logitcache.pipeline.walking import walk

    cluster, share = (
        ClusterOptions(scheduler, workers, gpus=device != "cpu"),
        None if part is None else Part.parse(part),
    )
    if cluster.asked and share is not None:
        raise click.UsageError("--part is for processes without a cluster; leave it out, or --scheduler and --workers")
    contexts = open_contexts(recipe, overrides, out, device)
    if cluster.asked:
        run_stage_one_by(cluster, contexts, device)
    else:
        walk(contexts, lambda context: run_stage_one(context, part=share))


@click.command()
@RECIPE
@run_options
@sweep_options
@cluster_options
def distill(
    recipe: str,
    *,
    out: Path | None,
    overrides: Sequence[str],
    device: str,
    scheduler: str | None,
    workers: int | None,
    **sweep: Any,
) -> None:
    """Stage 2: train the RECIPE's students from DIR/store.zarr; no teacher is loaded.

    Finished runs are skipped, interrupted ones go on, failed ones are tried again. Results go to DIR/results.csv and
    DIR/students/<run_id>/. With --save-logits, those of students trained before are kept too.

    With --stage, what is read from the store is read once: copies on a disk of this machine serve later epochs, other
    students and later commands, what was read longest ago makes room, and what comes next is fetched meanwhile.

    \b
    Each student by all of N processes together (data-parallel), one student after another:
        torchrun --nproc-per-node N -m logitcache distill RECIPE
    By the workers of a Dask cluster, which see the same files under the same paths:
        logitcache distill RECIPE --scheduler tcp://HOST:PORT
    """
    from logitcache.cluster import ClusterOptions
    from logitcache.pipeline import stage_two
    from logitcache.pipeline.context import open_contexts

    changes = sweep_overrides(overrides, sweep)
    cluster = ClusterOptions(scheduler, workers, gpus=device != "cpu")
    stage_two.distill_all(open_contexts(recipe, changes, out, device), cluster)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--figures", is_flag=True, help="Write the page's figures too, as PNG and SVG, to DIRECTORY/figures.")
def report(directory: Path, *, figures: bool) -> None:
    """Write DIRECTORY/report.html, a page that opens without a network, from the result files of a run.

    Where DIRECTORY has the runs of a recipe's variants, a page is written into the folder of each.
    """
    from logitcache.report import run_folders, write_report

    for folder in run_folders(directory):
        click.echo(write_report(folder, figures=figures))


@click.group(invoke_without_command=True)
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
    """Write the recipe NAME, and what it extends, to DEST, a file or folder, to edit it."""
    from logitcache.pipeline.shipped import copy_recipe as copy

    for path in copy(name, dest):
        click.echo(path)
