"""Arguments and options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from logitcache.address import as_address

__all__ = ["RECIPE", "STORE", "cluster_options", "encoding_options", "run_options", "sweep_options", "sweep_overrides"]

Command = Callable[..., Any]

RECIPE = click.argument("recipe")
STORE = click.argument("store", type=as_address)
_ENCODINGS = click.Choice(["auto", "uniform", "spectral", "lossless", "topk"])


def run_options(command: Command) -> Command:
    """Options of every command that works on a recipe's run."""
    for option in (
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Override a key of the recipe; profile=NAME and variant=NAME take one of its own.",
        ),
        click.option("--out", type=click.Path(path_type=Path), help="Results; default runs/NAME or runs/NAME-PROFILE."),
    ):
        command = option(command)
    return command


def cluster_options(command: Command) -> Command:
    """Options of the commands whose work Dask can do."""
    for option in (
        click.option("--workers", type=click.IntRange(1), help="By so many processes here, one a GPU with dask-cuda."),
        click.option("--scheduler", metavar="ADDRESS", help="By the workers of a Dask cluster, tcp://HOST:PORT."),
    ):
        command = option(command)
    return command


def sweep_options(command: Command) -> Command:
    """Options of the commands that train students, in place of the recipe's table [sweep]."""
    for option in (
        click.option(
            "--stage-size", metavar="SIZE", help="Most bytes of shards in --stage, as 50GB or 20GiB.  [default: 50GB]"
        ),
        click.option(
            "--stage",
            metavar="DIR",
            help="Keep copies of the store's shards in DIR, a disk of this machine, fetched ahead of training.",
        ),
        click.option("--save-logits", is_flag=True, help="Keep students' logits and features in DIR/students.zarr."),
        click.option("--processes", type=click.IntRange(1), help="Processes; default one a CPU core, one on a GPU."),
        click.option(
            "--stack",
            type=click.Choice(["auto", "always", "never"]),
            help="Train students of one architecture in one step; auto: on a GPU.",
        ),
    ):
        command = option(command)
    return command


def sweep_overrides(overrides: Sequence[str], given: Mapping[str, str | int | None]) -> list[str]:
    """What was given by --set, and then by :func:`sweep_options`, whose names are those of keys."""
    said = {key: value for key, value in given.items() if value is not None and value is not False}
    return [*overrides, *(f"sweep.{key}={json.dumps(value, ensure_ascii=False)}" for key, value in said.items())]


def encoding_options(default: str | None) -> Callable[[Command], Command]:
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
