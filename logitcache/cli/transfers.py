"""The commands that move logits in, out, and from store to store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from logitcache.address import Address, as_address
from logitcache.cli.options import STORE, encoding_options

__all__ = ["copy", "export", "import_"]


@click.command("import")
@click.argument("logits", type=click.Path(path_type=Path))
@STORE
@click.option("--teacher", required=True, help="The teacher's name in the store.")
@click.option("--labels", type=click.Path(path_type=Path), help=".npy of integer labels, one a sample.")
@click.option("--split", default="train", show_default=True, help="The split's name in the store.")
@encoding_options("auto")
@click.option("--block", type=click.IntRange(1), default=8192, show_default=True, help="Rows of a block.")
@click.option("--format", "layout", help="Layout of LOGITS; by its name without.")
@click.option("--classes", type=int, help="Number of classes, where the files do not say.")
@click.option("--key", help="Name of the array in .npz, .safetensors or torch files.")
@click.option("--ids", help="Parquet: column of class numbers.")
@click.option("--values", help="Parquet: column of log-probabilities or logits.")
@click.option("--tau", type=float, help="torch: temperature of stored probabilities.  [default: 1]")
def import_(
    logits: Path,
    store: Address,
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


@click.command()
@STORE
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--teacher", required=True, help="The teacher's name in the store.")
@click.option("--split", default="train", show_default=True, help="The split's name in the store.")
@click.option("--view", "views", default="0", show_default=True, help="A view, or several as 0:8; 0 is the clean one.")
@click.option("--format", "layout", help="npy, npz, safetensors, parquet or tinyvit; by OUT's ending without.")
@click.option("--k", type=int, help="tinyvit: entries a row.")
def export(
    store: Address, out: Path, *, teacher: str, split: str, views: str, layout: str | None, k: int | None
) -> None:
    """Write views of a teacher's logits in a STORE to OUT (.npy, .npz, .safetensors, .parquet, or TinyViT's folder)."""
    from logitcache.pipeline.transfers import export_file

    click.echo(export_file(store, out, teacher=teacher, split=split, views=views, sink={"format": layout, "k": k}))


@click.command()
@click.argument("source", type=as_address)
@click.argument("dest", type=as_address)
@click.option("--teacher", "teachers", multiple=True, help="A teacher to copy; all without. Can be repeated.")
@click.option("--split", "splits", multiple=True, help="A split to copy; all without. Can be repeated.")
@click.option("--views", help="Views to copy, as 0:8; all without.")
@encoding_options(None)
def copy(
    source: Address,
    dest: Address,
    *,
    teachers: tuple[str, ...],
    splits: tuple[str, ...],
    views: str | None,
    **encoding: Any,
) -> None:
    """Copy the store SOURCE, or part of it, to DEST; every block is compared with its commit.

    Byte for byte, or encoded anew where --encoding is given. The same command goes on where it was interrupted.
    """
    from logitcache.pipeline.transfers import copy_files

    anew = encoding if encoding["kind"] is not None else None
    if anew is None and any(value is not None for value in encoding.values()):
        raise click.UsageError("options of an encoding need --encoding")
    click.echo(copy_files(source, dest, teachers=teachers, splits=splits, views=views, encoding=anew))
