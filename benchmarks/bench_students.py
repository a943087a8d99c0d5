"""How cheap many students are, as ratios from one run: ``make bench-students``.

    python benchmarks/bench_students.py [--rounds 5] [--recipe RECIPE --run DIR] [--result JSON] [--small]

* A student's epoch with cached soft targets against hard labels, and against the demo's teacher run in every step.
* Eight students of one network: in processes or stacked, against one after another.
* This loop against the usual one: per-sample transforms in a DataLoader with two workers, the same network.
* An epoch over image files, with cached soft targets against hard labels.

Kinds take turns, each ratio is the median over pairs of neighbours. Prints them, and writes them with machine, versions
and command to ``benchmarks/results/bench_students.json``. Run it in the repository's root.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads, as the command line does

from bench import demo
from machine import evidence
from pairs import Ratio
from stages import epoch_ratios
from students_group import STUDENTS, group_ratios, seeds
from students_loop import file_ratio, loop_ratios

from logitcache.student.training import TrainingOptions
from logitcache.threads import set_threads


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = parse(words)
    set_threads()
    ratios = []
    with tempfile.TemporaryDirectory(prefix="bench_") as name:
        for ratio in measure(options, Path(name)):
            print(ratio, flush=True)
            ratios.append(ratio.to_json())
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps({**evidence(), "ratios": ratios}, indent=1) + "\n", encoding="utf-8")
    print(f"written to {options.result}")


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Ratio]:
    """All ratios."""
    context = demo(options, folder)
    timing = context.recipe.timing
    model = timing.model if timing else context.recipe.students[0].model[0]
    training = timing.training if timing else TrainingOptions(epochs=1)
    yield from epoch_ratios(context, options.rounds, "<= 1.03")
    yield from loop_ratios(context, model, training, options.rounds, options.rows)
    yield file_ratio(folder, options.rounds, options.images)
    students = seeds(context, options.students, options.rows, options.epochs)
    yield from group_ratios(context, folder, max(1, options.rounds // 2), students)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="pairs; sweeps of many students take half as many")
    parser.add_argument("--rows", type=int, default=30_000, help="samples of an epoch of the loops and of the sweeps")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each of the many students")
    parser.add_argument("--students", type=int, default=STUDENTS, help="students of one network")
    parser.add_argument("--images", type=int, default=4000, help="image files")
    parser.add_argument("--recipe", type=Path, default=Path("pipelines/fashion_mnist.toml"))
    parser.add_argument("--run", type=Path, default=Path("runs/fashion_mnist"), help="its run directory")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/bench_students.json"))
    parser.add_argument("--small", action="store_true", help="one round over few samples, to see that it works")
    options = parser.parse_args(words)
    if options.small:
        options.rounds, options.rows, options.epochs, options.students, options.images = 1, 300, 1, 2, 100
    return options


if __name__ == "__main__":
    main()
