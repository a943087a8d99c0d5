"""The commands that look at a store and mend it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from logitcache.address import Address, is_remote
from logitcache.cli.options import RECIPE, STORE, run_options

__all__ = ["info", "repair", "verify", "view"]


@click.command()
@STORE
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def info(store: Address, *, as_json: bool) -> None:
    """What a STORE holds: data set, views, teachers, encoding, bytes, bound and measured error."""
    from logitcache.pipeline.show import info_lines
    from logitcache.soft_targets import open_store

    record = open_store(store).info()
    if as_json:
        click.echo(json.dumps(record, indent=1))
    else:
        click.echo("\n".join(info_lines(record)))


@click.command()
@STORE
@click.option("--decode", is_flag=True, help="Also decode every block and compare its values.")
@click.option("--recompute", nargs=2, metavar="N RECIPE", help="Also run RECIPE's teachers on N random stored rows.")
@run_options
def verify(
    store: Address,
    *,
    decode: bool,
    recompute: tuple[str, str] | None,
    out: Path | None,
    overrides: Sequence[str],
    device: str,
) -> None:
    """Compare a STORE's bytes with its commits; name every damaged or missing block, then exit with 1.

    In an object store the lengths of objects are compared, and with --decode their bytes.
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
    found = "all there, by length; --decode reads them" if is_remote(store) and not decode else "all intact"
    click.echo(f"{result.blocks} blocks, {result.bytes:,} bytes: {found}")
    if recompute is not None:
        _recompute(store, recompute, out, overrides, device)


def _recompute(
    store: Address, recompute: tuple[str, str], out: Path | None, overrides: Sequence[str], device: str
) -> None:
    """Compare stored rows with the teachers; exit with 1 where one is beyond the bound."""
    from logitcache.pipeline.checking import recompute_rows
    from logitcache.pipeline.context import open_contexts
    from logitcache.pipeline.walking import of_store

    count, recipe = recompute
    if not count.isdecimal() or int(count) < 1:
        raise click.UsageError(f"--recompute {count}: N must be a number of rows, at least 1")
    contexts = of_store(open_contexts(recipe, overrides, out, device), store)
    rows = [row for context in contexts for row in recompute_rows(context, store, int(count))]
    beyond = [row for row in rows if not row.agrees]
    for row in beyond:
        click.echo(str(row), err=True)
    click.echo(f"{len(rows) - len(beyond)} of {len(rows)} recomputed rows are within the bound", err=bool(beyond))
    if beyond:
        sys.exit(1)


@click.command()
@STORE
@RECIPE
@run_options
def repair(store: Address, recipe: str, *, out: Path | None, overrides: Sequence[str], device: str) -> None:
    """Recompute what is damaged or missing in a STORE, and nothing else, with the teachers of RECIPE.

    On the same kind of device and software the very bytes come back; else a new commit says that they are others,
    within the bound. Checkpoints of taught teachers are looked for in --out.
    """
    from logitcache.pipeline.checking import repair_store
    from logitcache.pipeline.context import open_contexts
    from logitcache.pipeline.walking import of_store

    for context in of_store(open_contexts(recipe, overrides, out, device), store):
        result = repair_store(context, store)
    for finding in result.findings:
        click.echo(f"left: {finding}", err=True)
    click.echo(f"{result.blocks} blocks, {len(result.findings)} findings left", err=bool(result.findings))
    if result.findings:
        sys.exit(1)


@click.command()
@STORE
@click.option("--recipe", help="Recipe of the STORE, whose data set and views give the pictures; none without.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the recipe.")
@click.option("--run", type=click.Path(path_type=Path), help="Run folder of the students; default that of the STORE.")
@click.option("--port", type=click.IntRange(0, 65535), default=5006, show_default=True, help="0: any that is free.")
@click.option("--browse", is_flag=True, help="Open it in a browser.")
def view(
    store: Address, *, recipe: str | None, overrides: Sequence[str], run: Path | None, port: int, browse: bool
) -> None:
    """Look at a STORE's soft targets live, in a browser on this machine: any split, class, sample, view and tau.

    Nothing but this machine can reach the page, and nothing is written.
    """
    from logitcache.pipeline.viewing import prepare
    from logitcache.pipeline.viewing import view as serve

    serve(prepare(store, recipe, run, overrides), port, browse=browse)
