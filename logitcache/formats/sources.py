"""Opens logits that come from other systems, whichever layout they have."""

from __future__ import annotations

from pathlib import Path

from logitcache.errors import InputError
from logitcache.formats.arrays import open_npy, open_npz, open_safetensors
from logitcache.formats.parquet import open_parquet
from logitcache.formats.records import Source, SourceOptions
from logitcache.formats.tinyvit import is_tinyvit, open_tinyvit
from logitcache.formats.torch_files import ENDINGS, open_torch_file, open_torch_folder

__all__ = ["open_source"]

_FILES = {
    "npy": open_npy,
    "npz": open_npz,
    "safetensors": open_safetensors,
    "parquet": open_parquet,
    "torch": open_torch_file,
}
_FOLDERS = {"tinyvit": open_tinyvit, "parquet": open_parquet, "torch": open_torch_folder}


def open_source(path: Path, options: SourceOptions) -> Source:
    """Logits of a file or folder.

    A file's layout follows from its ending: ``.npy``, ``.npz``, ``.safetensors``, ``.parquet``, or ``.pt``, ``.pth``,
    ``.tar`` of ``torch.save``; a folder's from what is in it: TinyViT's epochs, Parquet shards, or files of
    ``torch.save``.

    Raises:
        InputError: there is no such path, its layout is not known, or its content is not what the layout says.
    """
    if not path.exists():
        raise InputError(f"{path} is not there; give a file or folder of logits")
    openers = _FOLDERS if path.is_dir() else _FILES
    found = options.format if options.format != "auto" else _layout(path)
    if found not in openers:
        kind = "folder" if path.is_dir() else "file"
        raise InputError(f"{path} is a {kind} of no known layout; {kind}s have one of: {', '.join(openers)}")
    return openers[found](path, options)


def _layout(path: Path) -> str:
    """The layout that names tell; empty where they do not."""
    if path.is_file():
        return "torch" if path.suffix in ENDINGS else path.suffix.removeprefix(".")
    if is_tinyvit(path):
        return "tinyvit"
    endings = {file.suffix for file in path.rglob("*") if file.is_file()}
    return "parquet" if ".parquet" in endings else "torch" if endings.intersection(ENDINGS) else ""
