"""Are the stored logits within their bound? A check in float64 that shares no code with the store.

    python benchmarks/check_bound.py runs/fashion_mnist/store.zarr             the teacher is run again
    python benchmarks/check_bound.py STORE --logits LOGITS.npy                 an import, against its file
    python benchmarks/check_bound.py STORE --logits LOGITS.npy --taus 101      from tau_min to 100 tau_min

The store is read with Zarr and NumPy alone (``store_plain.py``). The teacher's logits are those of a ``.npy`` file
((samples, classes) or (views, samples, classes); then nothing of logitcache is loaded), or come from the checkpoint of
the run that the store lies in, by the recipe ``pipelines/<name of the run's folder>.toml`` or ``--recipe``. Prints the
largest KL over all rows at each tau beside the bound: (step / tau)**2 / 8 for uniform, ``max_kl`` at tau >= tau_min for
spectral; with ``--taus``, of so many temperatures in equal ratios only the one that comes closest to its bound. The
exit code is 1 where one is above.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from store_plain import PlainTeacher, compare, kl_bound, kl_rows, open_teachers

__all__ = ["TAUS", "Line", "check_store", "closest", "file_source", "kl_bound", "kl_rows", "spaced"]

TAUS = (0.5, 1.0, 2.0, 4.0, 20.0)

Part = tuple[int, slice, npt.NDArray[np.float32]]
"""A view, rows in it, and the teacher's logits of them."""
Source = Callable[[PlainTeacher], Iterator[Part]]
"""From a stored teacher to its logits of all that is stored."""


@dataclass(frozen=True)
class Line:
    """One teacher in one split at one tau; ``bound`` is None where nothing is promised."""

    split: str
    teacher: str
    rows: int
    tau: float
    largest: float
    bound: float | None

    @property
    def above(self) -> bool:
        """Whether the promise is broken."""
        return self.bound is not None and self.largest > self.bound

    @property
    def share(self) -> float:
        """How much of the bound is reached, 0 where there is none."""
        return 0.0 if self.bound is None else self.largest / self.bound if self.bound else float(self.above)

    def __str__(self) -> str:
        """The line for people."""
        verdict = "no promise" if self.bound is None else "ABOVE" if self.above else "within"
        bound = "none" if self.bound is None else f"{self.bound:.4e}"
        name = f"{self.split}/{self.teacher} ({self.rows:,} rows)"
        return f"{name:<40} tau {self.tau:<5.4g} largest KL {self.largest:.4e}  bound {bound:<10}  {verdict}"


def main(words: Sequence[str] | None = None) -> None:
    """Check the stores of the command line and exit with the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+", type=Path, metavar="STORE")
    parser.add_argument("--logits", type=Path, help=".npy that the stores were imported from")
    parser.add_argument("--recipe", type=Path, help="recipe that the stores were made by")
    parser.add_argument("--taus", type=int, default=0, help="so many temperatures from tau_min to 100 tau_min")
    options = parser.parse_args(words)
    above, checked = False, 0
    for path in options.stores:
        checks = check_store(path, _source(options, path), options.taus)
        for _, group in groupby(checks, key=lambda line: (line.split, line.teacher)):
            lines = list(group)
            for line in [closest(lines)] if options.taus else lines:
                print(line, flush=True)
            above |= any(line.above for line in lines)
            checked += len(lines)
    sys.exit(1 if above or not checked else 0)


def check_store(path: Path, source: Source, taus: int = 0) -> Iterator[Line]:
    """For every teacher in every split of a store a line at each tau, ``TAUS`` or as many of :func:`spaced`."""
    for stored in open_teachers(path):
        grid = spaced(stored.tau_min, taus) if taus else TAUS
        largest, rows = np.zeros(len(grid)), 0
        for view, cut, logits in source(stored):
            found = compare(stored, view, cut.start, logits, grid)
            largest = np.maximum(largest, found.kl.max(axis=1))
            rows += len(logits)
        if rows != stored.views * stored.samples:
            sys.exit(f"{path}: {rows} rows were compared, {stored.views * stored.samples} are stored")
        pairs = zip(grid, largest.tolist(), strict=True)
        yield from (Line(stored.split, stored.name, rows, tau, kl, stored.bound(tau)) for tau, kl in pairs)


def spaced(tau_min: float, count: int) -> tuple[float, ...]:
    """Temperatures in equal ratios from tau_min to 100 tau_min."""
    return tuple((tau_min * 100 ** np.linspace(0, 1, count)).tolist())


def closest(lines: Sequence[Line]) -> Line:
    """The line that reaches most of its bound."""
    return max(lines, key=lambda line: line.share)


def file_source(path: Path) -> Source:
    """Logits from the file that was imported, a block at a time."""
    logits = np.load(path, mmap_mode="r")
    views: Any = logits[None] if logits.ndim == 2 else logits

    def read(stored: PlainTeacher) -> Iterator[Part]:
        for view in range(stored.views):
            for start in range(0, stored.samples, stored.block_rows):
                cut = slice(start, min(start + stored.block_rows, stored.samples))
                yield view, cut, np.asarray(views[view, cut], np.float32)

    return read


def _source(options: argparse.Namespace, store: Path) -> Source:
    """Where the teacher's logits come from."""
    if options.logits:
        return file_source(options.logits)
    from store_teacher import teacher_source  # loads logitcache

    return teacher_source(store.parent, options.recipe)


if __name__ == "__main__":
    main()
