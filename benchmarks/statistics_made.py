"""What bench_statistics measures: stores with labels, real or made up block by block, and the obvious way in Dask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import torch
from numpy.typing import NDArray
from store_made import SPLIT, TEACHER

from logitcache.store import (
    UNKNOWN,
    EncodingOptions,
    Sample,
    SplitContent,
    SplitRecord,
    Store,
    StoreRecord,
    TeacherContent,
    TeacherRecord,
    choose_encoding,
    create_store,
)
from logitcache.store.layout import block_shape
from logitcache.transfer.blocks import write_blocks

__all__ = ["obvious", "synthetic_rows", "write_labelled"]

Logits = NDArray[np.float32]
_SAMPLE = 4096


def write_labelled(
    path: Path,
    *,
    labels: NDArray[np.int64],
    classes: int,
    rows: Callable[[int, int], Logits],
    options: EncodingOptions,
    block: int = 8192,
) -> None:
    """Write a store whose rows from ``first`` to ``last`` are ``rows(first, last)``, blocks side by side."""
    samples = len(labels)
    head = rows(0, min(_SAMPLE, samples))
    choice = choose_encoding(options, Sample(torch.from_numpy(head), samples))
    block_rows, chunk_rows = block_shape(samples, classes, block)
    record = TeacherRecord(
        name=TEACHER,
        model=UNKNOWN,
        weights=UNKNOWN,
        precision="float32",
        provenance="benchmark",
        encoding=choice.encoding,
        views=1,
        samples=samples,
        classes=classes,
        block_rows=block_rows,
        chunk_rows=chunk_rows,
    )
    split = SplitContent(SplitRecord(SPLIT, samples, UNKNOWN), labels, np.arange(samples, dtype=np.int64))
    root = StoreRecord(UNKNOWN, tuple(map(str, range(classes))), {"kind": UNKNOWN})
    [writer] = create_store(path, root, [split], [TeacherContent(SPLIT, record, choice.wholes)])
    write_blocks(
        writer, writer.pending(), lambda _, number: (rows(writer.rows(number).start, writer.rows(number).stop), None)
    )
    writer.finish()


def synthetic_rows(classes: int, rank: int = 48) -> Callable[[int, int], Logits]:
    """Rows like a network's: a few directions, noise, one class that stands out; a function of their numbers."""
    basis = np.random.default_rng(0).normal(0, 1.5 / rank**0.5, (rank, classes)).astype(np.float32)

    def rows(first: int, last: int) -> Logits:
        random = np.random.default_rng(first)
        logits = torch.from_numpy(random.normal(0, 2, (last - first, rank)).astype(np.float32)) @ torch.from_numpy(
            basis
        )
        found: Logits = logits.numpy()
        found[np.arange(last - first), np.arange(first, last) % classes] += 6
        return found

    return rows


def obvious(store: Store, labels: NDArray[np.int64], taus: Sequence[float]) -> dict[str, Any]:
    """Logit measures at some temperatures as one would write them with dask.array, in one ``dask.compute``."""
    import logitcache

    z = logitcache.statistics.array(store, TEACHER, SPLIT)[0]
    y = da.from_array(labels, chunks=z.chunks[0])
    own = da.map_blocks(_take, z, y[:, None], dtype=np.float32, chunks=(z.chunks[0], (1,)))[:, 0]
    mean, off = z.mean(axis=0), z - z.mean(axis=0)
    wanted: dict[str, Any] = {
        "mean": mean,
        "variance": z.var(axis=0),
        "skewness": (off**3).mean(axis=0) / z.var(axis=0) ** 1.5,
        "kurtosis": (off**4).mean(axis=0) / z.var(axis=0) ** 2 - 3,
        "minimum": z.min(axis=0),
        "maximum": z.max(axis=0),
        "histogram": da.histogram(z, bins=128, range=(-64, 64))[0],
        "row_norm": da.sqrt((z**2).sum(axis=1)).mean(),
        "accuracy": (z.argmax(axis=1) == y).mean(),
    }
    best = da.topk(z, 50, axis=1)
    for tau in taus:
        scaled = z / tau - (z / tau).max(axis=1, keepdims=True)
        log_p = scaled - da.log(da.exp(scaled).sum(axis=1, keepdims=True))
        p = da.exp(log_p)
        log_total = z.max(axis=1) / tau + da.log(da.exp(scaled).sum(axis=1))
        wanted[f"entropy {tau:g}"] = -(p * log_p).sum(axis=1).mean()
        wanted[f"confidence {tau:g}"] = p.max(axis=1).mean()
        wanted[f"nll {tau:g}"] = (log_total - own / tau).mean()
        wanted[f"square {tau:g}"] = (p**2).sum(axis=1).mean()
        wanted[f"mass {tau:g}"] = da.exp(best / tau - log_total[:, None]).cumsum(axis=1).mean(axis=0)
    found: tuple[dict[str, Any]] = dask.compute(wanted)
    return found[0]


def _take(z: Logits, y: NDArray[np.int64]) -> Logits:
    """The logit of each row's class."""
    return np.take_along_axis(z, np.maximum(y, 0), axis=1)
