"""What a block costs beside its bytes, from a thousand blocks to a million, in many views and in one view.

    python benchmarks/bench_blocks.py [--most 1000000] [--least 1000] [--tasks 100000] [--out benchmarks/results/...]

A store is made whose commits are real files and whose shards are not (``blocks_made.py``), and is taken through the
stages of ``blocks_stages.py``: commit, resume with 99 % committed, plan, fold, read commits in random order, verify,
info, order of windows. Each runs in a fork of its own; seconds are medians where a size is measured several times, and
memory is what a stage took at its peak beyond what the process had before. Tasks are sent to a real scheduler with one
worker, both in the process. A stage is flat where a block of the largest store costs no more than 1.2 times as much as
where it costs least; on a machine that does other work too, what it costs of a core tells more.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

os.environ["OMP_NUM_THREADS"] = "1"  # threads do not come along into a fork: there must be none

from blocks_made import Made, Shape, create, design, folder_for, shapes
from blocks_stages import STAGES, TASKS, Measured, Stage, apart, send_tasks
from machine import evidence

FLAT = 1.2
RESULTS = Path(__file__).parent / "results/bench_blocks.json"
REPEATS = {1_000: 7, 10_000: 5, 100_000: 3}


@dataclass(frozen=True)
class Figure:
    """A stage with one size of store: microseconds a block, in all and of a core, and megabytes at the peak.

    Medians of ``runs``.
    """

    shape: str
    stage: str
    blocks: int
    microseconds: float
    cpu_microseconds: float
    peak_megabytes: float
    runs: int


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = parse(words)
    sizes = [10**k for k in range(1, 10) if options.least <= 10**k <= options.most]
    folder, place = folder_for(max(sizes))
    figures: list[Figure] = []
    try:
        for total in sizes:
            for shape in shapes(total):
                figures += measure(shape, folder, options.repeats or REPEATS.get(total, 1))
        for count in [size for size in sizes if size <= options.tasks]:
            found = apart(partial(send_tasks, count), folder / "log")
            print(f"{count:,} tasks: {found.seconds:.2f} s", file=sys.stderr)
            figures.append(figure("cluster", TASKS, count, [found]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(figures))
    grown = {
        of: {f"{shape}: {stage}": times for (shape, stage), times in growth(figures, of).items()}
        for of in ("microseconds", "cpu_microseconds")
    }
    record = {**evidence(), "place": place, "flat": FLAT, "growth": grown}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**record, "figures": [vars(each) for each in figures]}, indent=1)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(f"\nin {place}; written to {options.out}")


def measure(shape: Shape, folder: Path, repeats: int) -> Iterator[Figure]:
    """The figures of all stages, the store made anew for each repetition."""
    found: dict[str, list[Measured]] = {stage.name: [] for stage in STAGES}
    for number in range(repeats):
        made = design(folder / f"{shape.total}_{number}", shape)
        apart(lambda _, made=made: partial(create, made), folder / "log")  # it starts threads
        for name, measured in stages(made, folder / "log"):
            found[name].append(measured)
            print(f"{shape.name}, {shape.total:,} blocks: {name}: {measured.seconds:.2f} s", file=sys.stderr)
        shutil.rmtree(made.path)
    for name, runs in found.items():
        yield figure(shape.name, name, shape.total, runs)


def stages(made: Made, log: Path) -> Iterator[tuple[str, Measured]]:
    """Every stage in turn."""
    for stage in STAGES:
        if stage.before is not None:
            apart(lambda _, stage=stage: partial(_unmeasured, stage, made), log)
        yield stage.name, apart(lambda _, stage=stage: partial(stage.act, made), log)


def _unmeasured(stage: Stage, made: Made) -> int:
    """Do what comes before a stage."""
    if stage.before is not None:
        stage.before(made)
    return made.shape.total


def figure(shape: str, stage: str, blocks: int, runs: Sequence[Measured]) -> Figure:
    """The medians of some runs."""
    microseconds = median(1e6 * run.seconds / run.blocks for run in runs)
    cpu = median(1e6 * run.cpu_seconds / run.blocks for run in runs)
    megabytes = median(run.peak_bytes / 1e6 for run in runs)
    return Figure(shape, stage, blocks, round(microseconds, 4), round(cpu, 4), round(megabytes, 1), len(runs))


def growth(figures: Iterable[Figure], of: str = "microseconds") -> dict[tuple[str, str], float]:
    """By shape and stage: what a block of the largest store costs, in times of where it costs least."""
    costs: dict[tuple[str, str], dict[int, float]] = {}
    for each in figures:
        costs.setdefault((each.shape, each.stage), {})[each.blocks] = getattr(each, of)
    return {key: round(found[max(found)] / min(found.values()), 3) for key, found in costs.items()}


def table(figures: Sequence[Figure]) -> str:
    """Microseconds a block by size, how they grow, in all and of a core, and the highest peak."""
    grown, of_cores = growth(figures), growth(figures, "cpu_microseconds")
    sizes = sorted({each.blocks for each in figures})
    known = {(each.shape, each.stage, each.blocks): each for each in figures}
    heads = "".join(f"{size:>11,}" for size in sizes)
    lines = ["microseconds a block".ljust(36) + f"{heads}   growth  of a core  peak MB"]
    for (shape, stage), times in grown.items():
        cells = [known.get((shape, stage, size)) for size in sizes]
        numbers = "".join(f"{each.microseconds:>11.3g}" if each else " " * 11 for each in cells)
        peak = max(each.peak_megabytes for each in cells if each)
        cpu, mark = of_cores[shape, stage], "" if times <= FLAT else "  not flat"
        lines.append(f"{shape}: {stage}".ljust(36) + f"{numbers}{times:>9.2f}{cpu:>11.2f}{peak:>9.1f}{mark}")
    return "\n".join(lines)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1_000_000, help="blocks of the largest store")
    parser.add_argument("--least", type=int, default=1_000, help="blocks of the smallest")
    parser.add_argument("--tasks", type=int, default=100_000, help="no more tasks than these are sent")
    parser.add_argument("--repeats", type=int, default=0, help="runs of each size; 0: 7, 5, 3 and 1")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    if not 10 <= options.least <= options.most:
        parser.error(f"--least {options.least} --most {options.most}: must be that 10 <= least <= most")
    return options


if __name__ == "__main__":
    main()
