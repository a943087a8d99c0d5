"""The command ``logitcache``: its group, and what becomes of errors and warnings."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import click

import logitcache
from logitcache.cli import stages, statistics, stores, study, transfers
from logitcache.errors import LogitcacheError, UnknownOriginWarning

__all__ = ["cli", "main"]

_SHOW_WARNING = warnings.showwarning


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


for _module in (stages, statistics, stores, study, transfers):
    for _name in _module.__all__:
        cli.add_command(getattr(_module, _name))


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
