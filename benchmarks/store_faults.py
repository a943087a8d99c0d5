"""Damage and death: bits flipped in a store of every encoding, writers killed and disks filled at random moments."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from flip_bits import count, flip_bits
from store_made import Figure, Logits

from logitcache.formats import SourceOptions, open_source
from logitcache.store import EncodingOptions
from logitcache.transfer import ImportOptions, import_logits

__all__ = ["flips", "kills", "small_store"]

SMALL = (96, 24)
"""Rows and classes of the store whose bits are flipped: its metadata weigh as much as its logits."""
BLOCK = 48
ENCODINGS = {
    "uniform": EncodingOptions(kind="uniform"),
    "portable": EncodingOptions(kind="uniform", codec="portable"),
    "lossless": EncodingOptions(kind="lossless"),
    "spectral": EncodingOptions(kind="spectral", max_kl=0.1, head=0),
    "with_head": EncodingOptions(kind="spectral", max_kl=0.1, head=4),
    "largest": EncodingOptions(kind="topk", entries=5),
}


def small_store(logits: Logits, folder: Path) -> Path:
    """A store with a teacher in every encoding, of the first rows and classes of some logits."""
    part = np.ascontiguousarray(logits[: SMALL[0], : SMALL[1]])
    np.save(folder / "part.npy", part)
    for name, options in ENCODINGS.items():
        source = open_source(folder / "part.npy", SourceOptions())
        import_logits(source, folder / "flipped.zarr", ImportOptions(name, encoding=options, block=BLOCK))
    return folder / "flipped.zarr"


def flips(logits: Logits, folder: Path, number: int, seed: int) -> Iterator[Figure]:
    """Random bits over all files, metadata included, each followed by verify and a full read."""
    counts = count(flip_bits(small_store(logits, folder), number, seed))
    text = (
        f"{counts.flips} bits flipped, one at a time, in a store of {len(ENCODINGS)} encodings: {counts.found} found "
        f"(verify {counts.found_by_verify}, a read {counts.found_by_read}), {counts.harmless} harmless (identical "
        f"values), {counts.silently_wrong} silently wrong"
    )
    yield Figure(text, {"what": "flips", **asdict(counts)}, broken=counts.silently_wrong > 0)


def kills(number: int, disks: int, seed: int) -> Iterator[Figure]:
    """Writers killed and disks filled, by ``kill_store.py``: in a process of its own, for it forks."""
    words = [f"--kills={number}", f"--disks={disks}", f"--seed={seed}"]
    script = Path(__file__).with_name("kill_store.py")
    started = time.perf_counter()
    done = subprocess.run([sys.executable, script, *words], stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - started
    record = {"what": "kills", "kills": number, "disks": disks, "exit_code": done.returncode, "seconds": seconds}
    yield Figure(done.stdout.rstrip(), {**record, "said": done.stdout.splitlines()}, broken=done.returncode != 0)
