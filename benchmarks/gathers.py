"""Shuffled gathers from soft targets beside a memory-mapped float16 file, the decoding of a view, and real logits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from check_bound import TAUS, check_store, file_source
from pairs import Ratio, compare, interleave
from torch import Tensor

from logitcache.formats import SourceOptions, open_source
from logitcache.soft_targets import SoftTargets, open_store
from logitcache.store import EncodingOptions, LogitsReader, store_info
from logitcache.transfer import ImportOptions, import_logits

__all__ = ["gather_figures", "imported_figures"]

BATCHES = (256, 1024)
Half = npt.NDArray[np.float16]


def gather_figures(reader: LogitsReader, view: int, folder: Path, rounds: int) -> Iterator[Ratio | dict[str, Any]]:
    """Each batch size's ratio with the view decoded and with its decoding once an epoch, on one torch thread."""
    soft, halves = SoftTargets([reader]), half_file(reader, view, folder / "rows.f16")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        decoding = [decode_seconds(reader, view) for _ in range(rounds)]
        for batch in BATCHES:
            rows = torch.randperm(reader.samples, generator=torch.Generator().manual_seed(batch)).split(batch)
            kinds = {
                "soft targets": lambda rows=rows: gather_all(soft, rows, view),
                "memmap float16": lambda rows=rows: read_all(halves, rows),
            }
            seconds = interleave(kinds, rounds)
            with_decoding = [a + b for a, b in zip(seconds["soft targets"], decoding, strict=True)]
            what = f"epoch of gathers, {reader.classes} classes, batch {batch}"
            yield compare(what, seconds, "memmap float16", "soft targets", ">= 1.0")
            yield compare(what, {**seconds, "with decoding": with_decoding}, "memmap float16", "with decoding")
        yield {
            "what": f"decoding of a view, {reader.classes} classes",
            "samples": reader.samples,
            "seconds_per_epoch": float(np.median(decoding)),
        }
    finally:
        torch.set_num_threads(threads)


def imported_figures(source: Path, folder: Path, rounds: int) -> Iterator[Ratio | dict[str, Any]]:
    """Real logits imported with ``max_kl = 1e-3``: bytes a row, largest KL beside its bound, gathers."""
    path, store = folder / "logits.npy", folder / "imported.zarr"
    with np.load(source) as archive:
        np.save(path, archive["logits"])
    import_logits(
        open_source(path, SourceOptions()),
        store,
        ImportOptions("imported", encoding=EncodingOptions(kind="uniform", max_kl=1e-3)),
    )
    [teacher] = store_info(open_store(store))["splits"][0]["teachers"]
    [array] = teacher["arrays"]
    reader = open_store(store).logits("imported")
    yield {
        "what": f"{source.name}, {reader.classes} classes, uniform with max_kl 1e-3",
        "bytes_per_row": array["bytes_per_row"],
        "float16_bytes_per_row": teacher["float16_bytes_per_row"],
        "bits_per_logit": 8 * array["bytes_per_row"] / reader.classes,
    }
    lines = {line.tau: line for line in check_store(store, file_source(path))}
    for tau in TAUS:
        yield {"what": f"largest KL at tau {tau:g}", "kl": lines[tau].largest, "bound": lines[tau].bound}
    yield from gather_figures(reader, 0, folder, rounds)


def half_file(reader: LogitsReader, view: int, path: Path) -> Half:
    """A view's logits as float16 rows in a file, mapped; the page cache holds it, as it would after an epoch."""
    logits = np.concatenate([reader.read(view, block) for block in range(reader.blocks)]).astype(np.float16)
    logits.tofile(path)
    return np.memmap(path, dtype=np.float16, mode="r", shape=logits.shape)


def decode_seconds(reader: LogitsReader, view: int) -> float:
    """Seconds until a view that nobody has read is decoded."""
    started = time.perf_counter()
    SoftTargets([reader]).gather(torch.arange(1), view)
    return time.perf_counter() - started


def gather_all(soft: SoftTargets, batches: tuple[Tensor, ...], view: int) -> None:
    """All batches as float32 tensors."""
    for rows in batches:
        soft.gather(rows, view)


def read_all(halves: Half, batches: tuple[Tensor, ...]) -> None:
    """The same from the mapped file."""
    for rows in batches:
        torch.from_numpy(halves[rows.numpy()].astype(np.float32))
