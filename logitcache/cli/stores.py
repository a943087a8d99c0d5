"""The commands that look at a store and mend it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from logitcache.cli.options import RECIPE, STORE, run_options

__all__ = ["info", "repair", "verify"]


@click.command()
@STORE
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


@click.command()
@STORE
@click.option("--decode", is_flag=True, help="Also decode every block and compare its values.")
@click.option("--recompute", nargs=2, metavar="N RECIPE", help="Also run RECIPE's teachers on N random stored rows.")
@run_options
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
def repair(store: Path, recipe: str, *, out: Path | None, overrides: Sequence[str], device: str) -> None:
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
