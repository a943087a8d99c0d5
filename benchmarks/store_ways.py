"""Ways to store logits that are compared: ours, and the plain ones that everybody writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from store_made import Logits, disk_bytes, make_store, read_store
from store_plain import open_teachers

from logitcache.store import EncodingOptions

__all__ = ["HEAD_CLASSES", "Way", "all_ways"]

HEAD_CLASSES = 64
"""With fewer classes a head of eight would be nearly the whole row."""
STEPS = (4.0, 1.5, 0.49)
BOUNDS = (0.1, 0.03, 0.01)

Decode = Callable[[Path], npt.NDArray[np.floating]]


@dataclass(frozen=True)
class Way:
    """A way to store logits.

    Attributes:
        name: for the table.
        write: puts logits at a path, and says how many seconds writing took.
        read: float32 logits, as a user reads them.
        decode: the same by arithmetic that shares no code with the package.
        size: bytes on disk of rows, and of what they share.
        relative: what is stored are log-probabilities: a row's logits but for a shift.
        head: top entries are stored beside.
    """

    name: str
    write: Callable[[Path, Logits], float]
    read: Callable[[Path], Logits]
    decode: Decode
    size: Callable[[Path], tuple[int, int]]
    relative: bool = False
    head: bool = False


def all_ways(classes: int) -> Iterator[Way]:
    """The rows of the table, for so many classes."""
    yield _file("float16 .npy", _write_half, _read_half)
    for entries in (10, 100) if classes > 100 else (2, 5):
        yield _ours(f"top-{entries} + tail", EncodingOptions(kind="topk", entries=entries))
    for bits in (4, 8):
        read = partial(_read_affine, bits=bits, classes=classes)
        yield _file(f"affine {bits}-bit a row", partial(_write_affine, bits=bits), read)
    yield _ours("uniform, max_kl 0.001", EncodingOptions(kind="uniform", max_kl=1e-3))
    heads = (8, 8, 2) if classes >= HEAD_CLASSES else (2, 2, 2)
    for step in STEPS:
        yield _ours(f"spectral, step {step:g}", EncodingOptions(kind="spectral", step=step, head=0))
    for step, head in zip(STEPS, heads, strict=True):
        name = f"spectral, step {step:g}, head {head}"
        yield _ours(name, EncodingOptions(kind="spectral", step=step, head=head))
    for bound in BOUNDS:
        yield _ours(f"auto, max_kl {bound:g}", EncodingOptions(max_kl=bound))


def _ours(name: str, options: EncodingOptions) -> Way:
    """One of the store's encodings."""
    sparse = options.kind == "topk"

    def write(path: Path, logits: Logits) -> float:
        return make_store(path, logits, options).writing

    return Way(name, write, read_store, _plain_logits, disk_bytes, relative=sparse, head=bool(options.head))


def _plain_logits(path: Path) -> npt.NDArray[np.floating]:
    """All logits of a store by NumPy and Zarr alone, block by block."""
    [stored] = open_teachers(path)
    starts = range(0, stored.samples, stored.block_rows)
    return np.concatenate([stored.logits(0, slice(start, start + stored.block_rows)) for start in starts])


def _file(name: str, write: Callable[[Path, Logits], None], read: Callable[[Path], Logits]) -> Way:
    """One plain file."""

    def timed(path: Path, logits: Logits) -> float:
        started = time.perf_counter()
        write(path, logits)
        return time.perf_counter() - started

    return Way(name, timed, read, read, lambda path: (path.stat().st_size, 0))


def _write_half(path: Path, logits: Logits) -> None:
    with path.open("wb") as file:
        np.save(file, logits.astype(np.float16))


def _read_half(path: Path) -> Logits:
    with path.open("rb") as file:
        halves: npt.NDArray[np.float16] = np.load(file)
    return halves.astype(np.float32)


def _write_affine(path: Path, logits: Logits, bits: int) -> None:
    """Each row's least value and step in float16, then its codes, two in a byte where they have four bits."""
    low, most = logits.min(axis=1).astype(np.float16), 2**bits - 1
    step = ((logits.max(axis=1) - low) / most).astype(np.float16)
    scaled = (logits - low[:, None].astype(np.float32)) / step[:, None].astype(np.float32)
    codes = np.clip(np.rint(scaled), 0, most).astype(np.uint8)
    if bits == 4:
        even = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
        codes = even[:, ::2] | even[:, 1::2] << 4
    with path.open("wb") as file:
        np.save(file, np.concatenate([np.stack([low, step], axis=1).view(np.uint8), codes], axis=1))


def _read_affine(path: Path, bits: int, classes: int) -> Logits:
    """What :func:`_write_affine` wrote."""
    with path.open("rb") as file:
        packed = np.load(file)
    low, step = (packed[:, start : start + 2].copy().view(np.float16).astype(np.float32) for start in (0, 2))
    codes = packed[:, 4:]
    if bits == 4:
        codes = np.stack([codes & 15, codes >> 4], axis=2).reshape(len(codes), -1)[:, :classes]
    logits: Logits = low + codes * step
    return logits
