"""Logits of very many classes: made by a random linear head, then encoded in a process whose memory is told.

    python benchmarks/store_wide.py make LOGITS.npy [--rows 20000] [--classes 21841] [--rank 768]
    python benchmarks/store_wide.py encode LOGITS.npy STORE [--max-kl 0.1] ...

The head is random. Features are noise whose spectrum falls like 1 / k**0.7, for logits with a standard deviation of
about three, and something of the weight of one class of each row, which raises that class by a gamma of mean 16: some
rows are sure, some are not, as of a trained network.
``encode`` does as the cache step does, which knows the features and the head, but takes the logits from the file, by
reading and not by mapping it. The last line that it prints is JSON: seconds and the peak of all memory of its process.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from store_made import new_writer

from logitcache.keyed import choose
from logitcache.store import EncodingOptions, Sample, choose_encoding, describe
from logitcache.store.choices import sample_rows
from logitcache.transfer.blocks import write_blocks

__all__ = ["encode", "features_and_head", "make"]

PIECE = 1024
SPREAD = 3.0
Floats = npt.NDArray[np.float32]


def main(words: Sequence[str] | None = None) -> None:
    """Make or encode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "encode"))
    parser.add_argument("logits", type=Path)
    parser.add_argument("store", type=Path, nargs="?")
    for name, default in (("rows", 20_000), ("classes", 21_841), ("rank", 768)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--max-kl", type=float, default=0.1)
    options = parser.parse_args(words)
    shape = options.rows, options.classes
    if options.what == "make":
        make(options.logits, shape, options.rank)
    else:
        print(json.dumps(encode(options.logits, options.store, shape, options.rank, options.max_kl)))


def features_and_head(shape: tuple[int, int], rank: int) -> tuple[Floats, Floats]:
    """Features (rows, rank) and the head's weight (classes, rank)."""
    rows, classes = shape
    chance = np.random.default_rng(0)
    spectrum = np.arange(1, rank + 1) ** -0.7
    spectrum *= SPREAD / np.sqrt(np.square(spectrum).sum())
    weight = chance.standard_normal((classes, rank), np.float32)
    features = chance.standard_normal((rows, rank), np.float32) * spectrum.astype(np.float32)
    label, raised = chance.integers(classes, size=rows), chance.gamma(4.0, 4.0, rows).astype(np.float32)
    features += weight[label] * (raised / np.square(weight[label]).sum(axis=1))[:, None]
    return features, weight


def make(path: Path, shape: tuple[int, int], rank: int) -> None:
    """Write the logits, a piece at a time."""
    features, weight = features_and_head(shape, rank)
    logits = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    for start in range(0, shape[0], PIECE):
        logits[start : start + PIECE] = features[start : start + PIECE] @ weight.T
    logits.flush()


def encode(path: Path, store: Path, shape: tuple[int, int], rank: int, max_kl: float) -> dict[str, Any]:
    """Choose the encoding by features and head, write all blocks, and say what it took."""
    started = time.perf_counter()
    choice = choose_encoding(EncodingOptions(max_kl=max_kl), _sample(path, shape, rank))
    chosen, chosen_peak = time.perf_counter(), _peak()
    writer = new_writer(store, choice, shape)
    write_blocks(writer, writer.pending(), lambda _, block: (_read(path, shape, writer.rows(block)), None))
    writer.finish()
    return {
        "encoding": describe(choice.encoding),
        "choosing": chosen - started,
        "writing": time.perf_counter() - chosen,
        "peak_bytes_while_choosing": chosen_peak,
        "peak_bytes": _peak(),
    }


def _sample(path: Path, shape: tuple[int, int], rank: int) -> Sample:
    """Random rows, with their features and the head."""
    features, weight = features_and_head(shape, rank)
    rows = choose(shape[0], sample_rows(*shape), 0).numpy()
    logits = np.empty((len(rows), shape[1]), np.float32)
    for start in range(0, shape[0], PIECE):
        first, last = np.searchsorted(rows, (start, start + PIECE))
        if last > first:
            piece = _read(path, shape, range(start, min(start + PIECE, shape[0])))
            logits[first:last] = piece[rows[first:last] - start]
    return Sample(torch.from_numpy(logits), shape[0], torch.from_numpy(features[rows]), torch.from_numpy(weight))


def _read(path: Path, shape: tuple[int, int], rows: range) -> Floats:
    """Some rows of the file, read and not mapped: mapped pages would count as memory."""
    header = path.stat().st_size - 4 * shape[0] * shape[1]
    values = np.fromfile(path, np.float32, len(rows) * shape[1], offset=header + 4 * rows.start * shape[1])
    return values.reshape(len(rows), shape[1])


def _peak() -> int:
    """The most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
