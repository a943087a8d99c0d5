"""What every source of logits says of itself, and what a user can say of it that its files cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from logitcache.errors import InputError
from logitcache.records import Options
from logitcache.store.encodings.topk import TopK

__all__ = ["FloatArray", "Source", "SourceOptions", "by_name", "one_of", "ordered"]

FloatArray = npt.NDArray[np.float32]

_PIECE = 1 << 20


class SourceOptions(Options):
    """What a user says of logits that come from elsewhere."""

    format: Literal["auto", "npy", "npz", "safetensors", "tinyvit", "torch", "parquet"] = Field(
        "auto", description="layout of the files; auto goes by names"
    )
    classes: int | None = Field(None, ge=1, le=2**31, description="how many there are, where the files do not say")
    key: str | None = Field(None, description="npz, safetensors, torch: the array's name; else logits, or the only one")
    ids: str | None = Field(None, description="parquet: column of class numbers; unset: found by its name")
    values: str | None = Field(None, description="parquet: column of log-probabilities or of whole logits")
    tau: float = Field(1.0, gt=0, le=1000, description="torch: temperature of the stored probabilities")


@dataclass(frozen=True)
class Source:
    """Logits that lie in another system's files; a file that is too short or says another shape was refused.

    Attributes:
        path: the file or folder.
        format: its layout, as in :class:`SourceOptions`.
        views: views of each sample; the formats do not say which augmentations they are.
        samples: samples, in the order of the array's rows or of :func:`ordered` names.
        classes: logits a row.
        precision: the number type in the files.
        part: reads float32 (rows, classes) or the sparse rows of a view.
        files: what is read.
        sparse: 0 for whole rows, else the largest number of entries a row.
        rows_first: one file holds all views of a sample: reading all views of some rows before others is fast.
    """

    path: Path
    format: str
    views: int
    samples: int
    classes: int
    precision: str
    part: Callable[[int, range], FloatArray | TopK] = field(repr=False)
    files: tuple[Path, ...] = field(repr=False)
    sparse: int = 0
    rows_first: bool = False

    @cached_property
    def digest(self) -> str:
        """First 16 digits of the SHA-256 of the file, or of a folder's files with their names and sizes, by name."""
        digest = hashlib.sha256()
        for path in self.files:
            if path != self.path:
                digest.update(f"{path.relative_to(self.path).as_posix()}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                for piece in iter(lambda: file.read(_PIECE), b""):
                    digest.update(piece)
        return digest.hexdigest()[:16]

    def read(self, view: int, rows: range) -> FloatArray | TopK:
        """A run of rows of one view: logits float32 (rows, classes), or sparse log-probabilities.

        Raises:
            InputError: there is no such view or row, or the files do not hold what they should; names the sample.
        """
        if not (0 <= view < self.views and 0 <= rows.start < rows.stop <= self.samples and rows.step == 1):
            raise InputError(
                f"view {view}, rows {rows.start}..{rows.stop - 1} asked of {self.path}, "
                f"which has {self.views} views of {self.samples} samples"
            )
        return self.part(view, rows)


def ordered(names: Iterable[str]) -> list[str]:
    """Names of samples in their order: by folder, then name; where all are whole numbers, by number."""
    known = list(names)
    if all(name.isascii() and name.isdecimal() and len(name) < 20 for name in known):
        return sorted(known, key=lambda name: (int(name), name))
    return sorted(known, key=lambda name: name.split("/"))


def by_name(folder: Path, endings: tuple[str, ...]) -> tuple[Path, ...]:
    """The files below a folder with one of some endings, by their relative names.

    Raises:
        InputError: there is none.
    """
    found = [path for path in folder.rglob("*") if path.suffix in endings and path.is_file()]
    if not found:
        raise InputError(f"{folder} has no files of {', '.join(endings)}")
    return tuple(sorted(found, key=lambda path: path.relative_to(folder).as_posix()))


def one_of(path: Path, what: str, names: Iterable[str], asked: str | None) -> str:
    """The name that was asked for, or ``logits``, or the only one.

    Raises:
        InputError: there is none such; the message lists those there are.
    """
    known = sorted(names)
    for name in (asked,) if asked is not None else ("logits", *known[: len(known) == 1]):
        if name in known:
            return name
    wanted = "several" if asked is None else f"no {what} {asked!r}"
    listed = ", ".join(known[:20]) or "none"
    raise InputError(f"{path} has {wanted if known else 'nothing in it'}; its {what}s are: {listed}; choose with key")
