"""How fast: shuffled gathers beside a memory-mapped float16 file, and encoding with the check of every row."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from gathers import gather_all, read_all
from machine import cpu_flags
from pairs import compare, interleave
from store_made import TEACHER, Figure, Logits, make_store

from logitcache.soft_targets import SoftTargets, open_store
from logitcache.store import EncodingOptions
from logitcache.threads import cores

__all__ = ["encoding", "gathers", "tiled"]

BATCH = 1024
BOUNDS = (0.1, 0.03, 0.01)
NOISE = 1e-3
ENCODED_ROWS = 20_000
"""Rows a second that encoding should reach."""
STEPS = (4.0, 1.5)


def tiled(logits: Logits, times: int) -> Logits:
    """The rows several times over, with a little noise, so that no two are the same."""
    chance = np.random.default_rng(0)
    parts = [logits + NOISE * chance.standard_normal(logits.shape, np.float32) for _ in range(times)]
    return np.concatenate(parts)


@dataclass(frozen=True)
class Kind:
    """Something to gather from, and the least share of memmap's speed that it should reach, None where no one says.

    ``dense``: kept as SoftTargets does where memory allows; else in the encoding's own form, multiplied when gathered.
    """

    name: str
    options: EncodingOptions
    least: float | None
    dense: bool = True

    def verdict(self, share: float) -> str:
        """Whether the least share is reached, nothing where there is none."""
        return "" if self.least is None else f">= {self.least:g}: {'reached' if share >= self.least else 'missed'}"

    def soft_targets(self, store: Path) -> SoftTargets:
        """The store's, with just the memory that the form needs."""
        reader = open_store(store).logits(TEACHER)
        if self.dense:
            return SoftTargets([reader])
        return SoftTargets([reader], memory=reader.samples * reader.codec.row_bytes)


def kinds(classes: int) -> Iterator[Kind]:
    """Encodings to gather from."""
    yield Kind("uniform, max_kl 0.001", EncodingOptions(kind="uniform", max_kl=1e-3), 1.0)
    for step, head, least in ((STEPS[0], 0, 0.5), (STEPS[1], 0, 0.5), (STEPS[0], min(8, classes - 1), 0.4)):
        name = f"spectral, step {step:g}" + (f", head {head}" if head else "")
        options = EncodingOptions(kind="spectral", step=step, head=head)
        yield Kind(f"{name}, kept dense", options, least)
        for precision in ("float32", "bf16"):
            exact = options.model_copy(update={"precision": precision})
            wanted = least if precision == "bf16" and has_amx() else None
            yield Kind(f"{name}, {precision} product", exact, wanted, dense=False)


def gathers(logits: Logits, folder: Path, rounds: int) -> Iterator[Figure]:
    """All rows in batches of 1024 in random order, decoded to float32, on one torch thread."""
    amx, flags = has_amx(), ", ".join(cpu_flags()) or "flags unknown"
    has = "has AMX" if amx else "has no AMX: bf16 products run without it and have no target"
    size = f"{len(logits):,} rows of {logits.shape[1]}"
    text = f"shuffled gathers of {size}, batch {BATCH}, one thread; this CPU {has} ({flags})"
    yield Figure(text, {"what": "gathers on", "rows": len(logits), "amx": amx, "cpu_flags": flags})
    threads = torch.get_num_threads()
    made = enumerate(kinds(logits.shape[1]))
    stores = {kind: make_store(folder / f"{place}.zarr", logits, kind.options).path for place, kind in made}
    torch.set_num_threads(1)
    try:
        yield from _gathers(stores, logits, folder, rounds)
    finally:
        torch.set_num_threads(threads)


def _gathers(stores: Mapping[Kind, Path], logits: Logits, folder: Path, rounds: int) -> Iterator[Figure]:
    """The same of stores that are made."""
    soft, filling = {}, {}
    for kind, store in stores.items():
        soft[kind] = kind.soft_targets(store)
        filling[kind] = seconds_of(partial(soft[kind].gather, torch.arange(1), 0))
    halves = folder / "halves"
    logits.astype(np.float16).tofile(halves)
    mapped = np.memmap(halves, np.float16, "r", shape=logits.shape)
    rows = torch.randperm(len(logits), generator=torch.Generator().manual_seed(0)).split(BATCH)
    work = {kind.name: partial(gather_all, targets, rows, 0) for kind, targets in soft.items()}
    seconds = interleave({"memmap float16": partial(read_all, mapped, rows), **work}, rounds)
    for kind, store in stores.items():
        ratio = compare("gather", seconds, "memmap float16", kind.name, f">= {kind.least:g}" if kind.least else "")
        how = kind.verdict(ratio.ratio)
        rate, off = len(logits) / ratio.seconds_against, largest_difference(soft[kind], store)
        text = (
            f"  {kind.name:<42} {rate:>9,.0f} rows/s, {ratio.ratio:.2f} of memmap's{f' ({how})' if how else ''}; "
            f"filled in {filling[kind]:.2f} s; at most {off:.1e} from what blocks decode to"
        )
        record = {"rows_per_second": rate, "fill_seconds": filling[kind], "largest_difference": off, "result": how}
        yield Figure(text, {**ratio.to_json(), **record})


def has_amx() -> bool:
    """Whether this CPU multiplies bf16 matrices in tiles."""
    return any("amx" in flag for flag in cpu_flags())


def largest_difference(soft: SoftTargets, store: Path) -> float:
    """How far gathered logits are from those that a block decodes to, at most, over some rows."""
    rows = torch.arange(min(BATCH, soft.samples))
    decoded = open_store(store).logits(TEACHER).read(0, 0)[: len(rows)]
    return float(np.abs(soft.gather(rows[: len(decoded)], 0).numpy() - decoded).max())


def seconds_of(work: Callable[[], object]) -> float:
    """How long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def encoding(logits: Logits, folder: Path, rounds: int) -> Iterator[Figure]:
    """Blocks encoded, checked, compressed and stored, on all cores; choosing the encoding is told apart."""
    for max_kl in BOUNDS:
        options = EncodingOptions(max_kl=max_kl)
        made = [make_store(folder / f"encoded_{max_kl:g}_{turn}.zarr", logits, options) for turn in range(rounds)]
        rate = len(logits) / statistics.median(each.writing for each in made)
        choosing = statistics.median(each.choosing for each in made)
        kind = open_store(made[0].path).logits(TEACHER).encoding
        name = f"{kind.kind}, step {kind.step:g}" + (f", head {kind.head}" if kind.head else "")
        how = "reached" if rate >= ENCODED_ROWS else "missed"
        text = (
            f"encoding {len(logits):,} rows of {logits.shape[1]}, max_kl {max_kl:g} ({name}): {rate:,.0f} rows/s on "
            f"{cores()} cores (>= {ENCODED_ROWS:,}: {how}), after {choosing:.1f} s of choosing"
        )
        record = {"what": "encoding speed", "max_kl": max_kl, "encoding": name, "rows_per_second": rate}
        yield Figure(text, {**record, "choosing_seconds": choosing, "cores": cores(), "result": how})
