"""What caching costs and buys, as ratios from one run: ``make bench``.

    python benchmarks/bench.py [--rounds 5] [--recipe RECIPE --run DIR] [--logits NPZ] [--result JSON] [--small]

* The cache step against the bare forward loop: the same views rendered, the same network run, nothing stored.
* A student's epoch with cached soft targets against hard labels, and against the teacher run in every step.
* Shuffled gathers of dense float32 rows against a memory-mapped float16 file, and the decoding of a view, both at few
  classes (the demo's store, or a small one that is made here) and at 1001 (real logits, where they lie beside the
  repository): then also bytes a row, and the largest KL of the stored logits beside its bound.

Kinds take turns, each ratio is the median over pairs of neighbours. Prints them, and writes them with machine, versions
and command to ``benchmarks/results/bench.json``. Run it in the repository's root, where the recipe's paths start.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads, as the command line does

from gathers import gather_figures, imported_figures
from machine import evidence
from pairs import Ratio
from stages import cache_ratio, epoch_ratios

from logitcache.pipeline.context import RunContext, open_context
from logitcache.pipeline.stage_one import run_stage_one
from logitcache.threads import set_threads

SHARED = Path("../shared/data/logits/mobilenet_v2_imagenet1001.npz")
SMALL_RUN = ("data.samples=6000", "teachers.teach.epochs=1", 'cache.splits=["train"]')


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = parse(words)
    set_threads()
    figures: dict[str, Any] = {**evidence(), "ratios": [], "figures": []}
    with tempfile.TemporaryDirectory(prefix="bench_") as name:
        for figure in measure(options, Path(name)):
            print(figure if isinstance(figure, Ratio) else show(figure), flush=True)
            kind = "ratios" if isinstance(figure, Ratio) else "figures"
            figures[kind].append(figure.to_json() if isinstance(figure, Ratio) else figure)
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(f"written to {options.result}")


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Ratio | dict[str, Any]]:
    """All ratios and figures."""
    context = demo(options, folder)
    yield {"what": "demo", "store": "of the demo" if context.out == options.run else "a small one made here"}
    yield cache_ratio(context, folder, options.rounds, options.rows)
    yield from epoch_ratios(context, options.rounds)
    store = context.store()
    if store is None:
        sys.exit(f"{context.store_path} does not exist")
    reader = store.logits(context.recipe.teachers[0].name, "train")
    yield from gather_figures(reader, 1, folder, options.rounds)
    if options.logits.exists():
        yield from imported_figures(options.logits, folder, options.rounds)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="pairs, after a round that warms up")
    parser.add_argument("--rows", type=int, default=60_000, help="samples of the cache step that is timed")
    parser.add_argument("--recipe", type=Path, default=Path("pipelines/fashion_mnist.toml"))
    parser.add_argument("--run", type=Path, default=Path("runs/fashion_mnist"), help="its run directory")
    parser.add_argument("--logits", type=Path, default=SHARED, help=".npz with logits (samples, classes)")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/bench.json"))
    parser.add_argument("--small", action="store_true", help="one round over few samples, to see that it works")
    options = parser.parse_args(words)
    if options.small:
        options.rounds, options.rows = 1, 200
    return options


def demo(options: argparse.Namespace, folder: Path) -> RunContext:
    """The demo's run where stage 1 is finished and its teacher at hand, else a small one."""
    context = open_context(options.recipe, [], options.run, "cpu")
    checkpoint = context.checkpoint(context.recipe.teachers[0])
    if context.has_mark("verify") and checkpoint is not None and checkpoint.exists():
        return context
    made = open_context(options.recipe, SMALL_RUN, folder / "run", "cpu")
    run_stage_one(made)
    return made


def show(figure: dict[str, Any]) -> str:
    """A figure on one line."""
    values = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in figure.items())
    return ", ".join(values).removeprefix("what ")


if __name__ == "__main__":
    main()
