"""What the store's encodings cost, keep and promise, all from one run: ``make bench-store``.

    python benchmarks/bench_store.py [--only table,bound,wide,gather,encode,flips,kills,students] [--quick]
        [--logits NPZ] [--recipe RECIPE --run DIR] [--out JSON] [--kills 100] [--disks 20] [--all-taus]

* ``table``: bytes a row, KL, signal lost, RMSE, top-1, speeds of every encoding, on real logits of 1001 classes and on
  the demo's (its teacher run again). What is decoded for KL is decoded by NumPy and Zarr alone, in float64.
* ``bound``: the largest KL over all rows and 101 temperatures at three bounds.
* ``wide``: the same for 21 841 classes, in a process whose peak memory is told.
* ``gather``, ``encode``: shuffled gathers beside a memory-mapped float16 file; encoding with the check of every row.
* ``flips``, ``kills``: damaged bits; writers killed and disks filled.
* ``students``: trained from spectral stores at three rates and from a lossless one.

Prints all of it, and writes it with machine, versions and command to ``benchmarks/results/bench_store.json``. Run it in
the repository's root. The exit code is 1 where a promise was broken; a target of speed or size that was missed is said
beside it. ``--quick`` looks at few rows of everything, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads, as the command line does

from bench import demo
from machine import evidence
from store_bound import bounds, wide
from store_faults import flips, kills
from store_made import Figure, Logits, load_logits
from store_plain import open_teachers
from store_speed import encoding, gathers, tiled
from store_students import students
from store_table import table
from store_teacher import clean_logits

from logitcache.pipeline.context import RunContext
from logitcache.threads import set_threads

SHARED = Path("../shared/data/logits/mobilenet_v2_imagenet1001.npz")
NAME = "MobileNetV2"

Section = Callable[["Bench", Path], Iterator[Figure]]


class Bench:
    """What the sections share: options, the real logits, the demo's run."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.quick = options, bool(options.quick)
        self.logits: Logits = load_logits(options.logits, 1000 if self.quick else None)
        self._folder = folder

    def table(self, folder: Path) -> Iterator[Figure]:
        """The table on both sets of logits."""
        yield from table(NAME, self.logits, folder, targets=True)
        context = self._demo()
        [stored] = (each for each in open_teachers(context.store_path) if each.split == "train")
        logits = clean_logits(context, stored)[: 1000 if self.quick else None]
        yield from table(f"{context.recipe.name} (clean view)", logits, folder, targets=False)

    def bound(self, folder: Path) -> Iterator[Figure]:
        """Three bounds."""
        yield from bounds(NAME, self.logits, folder)

    def wide(self, folder: Path) -> Iterator[Figure]:
        """Very many classes."""
        rows, classes, rank = (500, 2200, 32) if self.quick else (20_000, 21_841, 768)
        yield from wide(folder, rows=rows, classes=classes, rank=rank, all_taus=self.options.all_taus)

    def gather(self, folder: Path) -> Iterator[Figure]:
        """Shuffled gathers."""
        logits = self.logits if self.quick else tiled(self.logits, 4)
        yield from gathers(logits, folder, 1 if self.quick else 5)

    def encode(self, folder: Path) -> Iterator[Figure]:
        """Encoding with the check."""
        logits = self.logits if self.quick else tiled(self.logits, 8)
        yield from encoding(logits, folder, 1 if self.quick else 3)

    def flips(self, folder: Path) -> Iterator[Figure]:
        """Damaged bits."""
        yield from flips(self.logits, folder, 20 if self.quick else self.options.flips, self.options.seed)

    def kills(self, _: Path) -> Iterator[Figure]:
        """Killed writers and full disks."""
        few = (2, 1) if self.quick else (self.options.kills, self.options.disks)
        yield from kills(*few, self.options.seed)

    def students(self, folder: Path) -> Iterator[Figure]:
        """Students by store."""
        yield from students(self._demo(), folder, *((1, 1) if self.quick else (40, None)))

    def _demo(self) -> RunContext:
        """The demo's run, or a small one that is made here."""
        return demo(self.options, self._folder)


SECTIONS: Mapping[str, Section] = {
    "table": Bench.table,
    "bound": Bench.bound,
    "wide": Bench.wide,
    "gather": Bench.gather,
    "encode": Bench.encode,
    "flips": Bench.flips,
    "kills": Bench.kills,
    "students": Bench.students,
}


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and write; exit with 1 where a promise was broken."""
    options = parse(words)
    set_threads()
    results, broken = {**evidence(), "seconds": {}, "figures": {}}, False
    with tempfile.TemporaryDirectory(prefix="bench_store_") as name:
        bench = Bench(options, Path(name))
        for section in options.only:
            started, folder = time.perf_counter(), Path(name) / f"section_{section}"
            folder.mkdir()
            print(f"\n== {section}", flush=True)
            found = results["figures"][section] = []
            for figure in SECTIONS[section](bench, folder):
                print(figure.text, flush=True)
                found += [dict(figure.record)] if figure.record else []
                broken |= figure.broken
            shutil.rmtree(folder)
            results["seconds"][section] = round(time.perf_counter() - started, 1)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**results, "broken": broken}, indent=1) + "\n", encoding="utf-8")
    print(f"\nseconds: {results['seconds']}; written to {options.out}")
    sys.exit(1 if broken else 0)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_sections, default=list(SECTIONS), help="sections, with commas between")
    parser.add_argument("--logits", type=Path, default=SHARED, help=".npz with logits (samples, classes)")
    parser.add_argument("--recipe", type=Path, default=Path("pipelines/fashion_mnist.toml"))
    parser.add_argument("--run", type=Path, default=Path("runs/fashion_mnist"), help="its run directory")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bench_store.json"))
    for name, default in (("flips", 1000), ("kills", 100), ("disks", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--all-taus", action="store_true", help="101 temperatures for all rows of the wide section")
    parser.add_argument("--quick", action="store_true", help="few rows of everything")
    return parser.parse_args(words)


def _sections(text: str) -> list[str]:
    """Names of sections."""
    names = text.split(",")
    unknown = set(names) - set(SECTIONS)
    if unknown:
        raise argparse.ArgumentTypeError(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return names


if __name__ == "__main__":
    main()
