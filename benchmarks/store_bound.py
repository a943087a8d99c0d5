"""Is the promise kept? Real logits at three bounds, and very many classes in a process whose memory is watched."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from check_bound import check_store, closest, file_source, spaced
from store_made import Figure, Logits, disk_bytes
from store_plain import compare, open_teachers
from store_wide import make

from logitcache.formats import SourceOptions, open_source
from logitcache.store import EncodingOptions
from logitcache.transfer import ImportOptions, import_logits

__all__ = ["bounds", "wide"]

BOUNDS = (0.1, 0.03, 0.01)
TAUS, FEW_TAUS = 101, 17
FEW_ROWS = 2000
MOST_MEMORY = 6e9
WIDE_KL = 0.1


def bounds(name: str, logits: Logits, folder: Path) -> Iterator[Figure]:
    """Imported with nothing said but the bound: bytes a row, and the largest KL over all rows and 101 temperatures."""
    path = folder / "logits.npy"
    np.save(path, logits)
    for max_kl in BOUNDS:
        store, options = folder / f"bound_{max_kl:g}.zarr", ImportOptions("t", encoding=EncodingOptions(max_kl=max_kl))
        outcome = import_logits(open_source(path, SourceOptions()), store, options)
        worst = closest(list(check_store(store, file_source(path), TAUS)))
        own, shared = disk_bytes(store)
        verdict = "ABOVE" if worst.largest > max_kl else "within"
        record = {
            "what": "bound",
            "logits": name,
            "max_kl": max_kl,
            "encoding": outcome.encoding,
            "bytes_per_row": own / len(logits),
            "bytes_with_shared": (own + shared) / len(logits),
            "largest_kl": worst.largest,
            "at_tau": worst.tau,
            "temperatures": TAUS,
        }
        text = (
            f"{name}, max_kl {max_kl:g}, tau_min 1: {record['bytes_per_row']:.1f} B/row "
            f"({record['bytes_with_shared']:.1f} with the transform), largest KL of {len(logits):,} rows at {TAUS} "
            f"temperatures {worst.largest:.4g} (tau {worst.tau:.3g}), {verdict}\n  {outcome.encoding}"
        )
        yield Figure(text, record, broken=worst.largest > max_kl)


def wide(folder: Path, *, rows: int, classes: int, rank: int, all_taus: bool = False) -> Iterator[Figure]:
    """Synthetic logits behind a linear head, encoded in a process of its own, checked here."""
    script = Path(__file__).with_name("store_wide.py")
    logits, store = folder / "wide.npy", folder / "wide.zarr"
    sizes = [f"--{name}={value}" for name, value in (("rows", rows), ("classes", classes), ("rank", rank))]
    make(logits, (rows, classes), rank)
    words = [sys.executable, script, "encode", logits, store, *sizes, f"--max-kl={WIDE_KL}"]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    own, shared = disk_bytes(store)
    heavy = found["peak_bytes"] > MOST_MEMORY
    text = (
        f"{classes:,} classes x {rows:,} rows of rank {rank}, max_kl {WIDE_KL:g}: {own / rows:.1f} B/row "
        f"({(own + shared) / rows:.1f} with the transform; float16 takes {2 * classes:,}), chosen in "
        f"{found['choosing']:.0f} s, written in {found['writing']:.0f} s, peak memory "
        f"{found['peak_bytes'] / 1e9:.2f} GB ({'ABOVE' if heavy else 'under'} 6; "
        f"{found['peak_bytes_while_choosing'] / 1e9:.2f} while choosing)\n  {found['encoding']}"
    )
    sizes_record = {"rows": rows, "classes": classes, "rank": rank, "max_kl": WIDE_KL}
    bytes_record = {"bytes_per_row": own / rows, "bytes_with_shared": (own + shared) / rows}
    yield Figure(text, {"what": "wide", **sizes_record, **bytes_record, **found}, broken=heavy)
    yield _check_wide(store, logits, TAUS if all_taus else FEW_TAUS)
    if not all_taus:
        yield _check_some(store, logits)


def _check_wide(store: Path, logits: Path, taus: int) -> Figure:
    """All rows at some temperatures."""
    started = time.perf_counter()
    worst = closest(list(check_store(store, file_source(logits), taus)))
    above = worst.largest > WIDE_KL
    text = (
        f"  all {worst.rows:,} rows at {taus} temperatures: largest KL {worst.largest:.4g} (tau {worst.tau:.3g}), "
        f"{'ABOVE' if above else 'within'}; {time.perf_counter() - started:.0f} s of checking"
    )
    return Figure(text, {"what": "wide, all rows", "temperatures": taus, **asdict(worst)}, broken=above)


def _check_some(store: Path, logits: Path) -> Figure:
    """Some runs of rows, spread over all blocks, at all temperatures."""
    [stored], values = open_teachers(store), np.load(logits, mmap_mode="r")
    grid = spaced(stored.tau_min, TAUS)
    blocks = range(0, stored.samples, stored.block_rows)
    each = max(1, min(FEW_ROWS, stored.samples) // len(blocks))
    chance = np.random.default_rng(0)
    largest, rows = 0.0, 0
    for start in blocks:
        first = start + int(chance.integers(max(1, min(stored.block_rows, stored.samples - start) - each)))
        part = np.asarray(values[first : first + each])
        largest, rows = max(largest, float(compare(stored, 0, first, part, grid).kl.max())), rows + len(part)
    above = largest > WIDE_KL
    text = f"  {rows:,} of the rows at {TAUS} temperatures: largest KL {largest:.4g}, {'ABOVE' if above else 'within'}"
    return Figure(
        text, {"what": "wide, some rows", "rows": rows, "temperatures": TAUS, "largest": largest}, broken=above
    )
