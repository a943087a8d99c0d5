"""Are the stored logits within their bound? A check in float64 that shares no code with the store.

    python benchmarks/check_bound.py runs/fashion_mnist/store.zarr             the teacher is run again
    python benchmarks/check_bound.py STORE --logits LOGITS.npy                 an import, against its file

The store is read with Zarr alone, codes times ``scale_factor``. The teacher's logits are those of a ``.npy`` file
((samples, classes) or (views, samples, classes)), or come from the checkpoint of the run that the store lies in, by the
recipe ``pipelines/<name of the run's folder>.toml`` or ``--recipe``. Prints the largest KL over all rows at each tau
beside (step / tau)**2 / 8; the exit code is 1 where one is above.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import zarr

from logitcache.pipeline.context import RunContext, open_context
from logitcache.teacher import Teacher, load_teacher
from logitcache.views import Renderer, ViewOptions

TAUS = (0.5, 1.0, 2.0, 4.0, 20.0)

Rows = npt.NDArray[np.float64]
Part = tuple[int, slice, npt.NDArray[np.float32]]
"""A view, rows in it, and the teacher's logits of them."""
Source = Callable[[str, str, Any], Iterator[Part]]
"""From (split, teacher, array of codes) to the teacher's logits of all of it."""


@dataclass(frozen=True)
class Line:
    """One teacher in one split at one tau."""

    split: str
    teacher: str
    rows: int
    tau: float
    largest: float
    bound: float

    def __str__(self) -> str:
        """The line for people."""
        verdict = "within" if self.largest <= self.bound else "ABOVE"
        name = f"{self.split}/{self.teacher} ({self.rows:,} rows)"
        return f"{name:<40} tau {self.tau:<5g} largest KL {self.largest:.4e}  bound {self.bound:.4e}  {verdict}"


def main(words: Sequence[str] | None = None) -> None:
    """Check the stores of the command line and exit with the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+", type=Path, metavar="STORE")
    parser.add_argument("--logits", type=Path, help=".npy that the stores were imported from")
    parser.add_argument("--recipe", type=Path, help="recipe that the stores were made by")
    options = parser.parse_args(words)
    lines = []
    for path in options.stores:
        source = file_source(options.logits) if options.logits else teacher_source(path.parent, options.recipe)
        for line in check_store(path, source):
            print(line, flush=True)
            lines.append(line)
    sys.exit(1 if not lines or any(line.largest > line.bound for line in lines) else 0)


def check_store(path: Path, source: Source) -> Iterator[Line]:
    """Every teacher in every split of a store at every tau."""
    for split in sorted(zarr.open_group(path, mode="r").group_keys()):
        for teacher in sorted(zarr.open_group(path, mode="r", path=f"{split}/teachers").group_keys()):
            codes: Any = zarr.open_array(path, mode="r", path=f"{split}/teachers/{teacher}/logits")
            step = float(codes.attrs.get("scale_factor", 0))
            largest, rows = dict.fromkeys(TAUS, 0.0), 0
            for view, cut, logits in source(split, teacher, codes):
                decoded = codes[view, cut].astype(np.float64) * (step or 1)
                rows += len(decoded)
                for tau in TAUS:
                    largest[tau] = max(largest[tau], float(kl_rows(logits, decoded, tau).max()))
            if rows != codes.shape[0] * codes.shape[1]:
                sys.exit(f"{path}: {rows} rows were compared, {codes.shape[0] * codes.shape[1]} are stored")
            yield from (Line(split, teacher, rows, tau, largest[tau], kl_bound(step, tau)) for tau in TAUS)


def kl_rows(logits: npt.ArrayLike, decoded: npt.ArrayLike, tau: float) -> Rows:
    """KL(softmax(logits / tau) || softmax(decoded / tau)) of each row in nats, in float64."""
    ours, theirs = (log_softmax(np.asarray(each, dtype=np.float64) / tau) for each in (logits, decoded))
    kl: Rows = (np.exp(ours) * (ours - theirs)).sum(axis=1)
    return kl


def log_softmax(logits: Rows) -> Rows:
    """Row by row."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Rows = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def kl_bound(step: float, tau: float) -> float:
    """Hoeffding's lemma for errors in a range of one step."""
    return (step / tau) ** 2 / 8


def file_source(path: Path) -> Source:
    """Logits from the file that was imported."""
    logits = np.load(path, mmap_mode="r")
    views = logits[None] if logits.ndim == 2 else logits

    def read(split: str, teacher: str, codes: Any) -> Iterator[Part]:
        del split, teacher
        for view in range(codes.shape[0]):
            for start in range(0, codes.shape[1], 4096):
                yield view, slice(start, start + 4096), np.asarray(views[view, start : start + 4096], np.float32)

    return read


def teacher_source(run: Path, recipe: Path | None) -> Source:
    """Logits from the checkpoints of a run, batches cut as the cache step cuts them."""
    context = open_context(recipe or Path("pipelines") / f"{run.name}.toml", [], run, "cpu")

    def read(split: str, name: str, codes: Any) -> Iterator[Part]:
        teacher, samples, block = open_teacher(context, split, name), codes.shape[1], codes.shards[1]
        views = context.recipe.views if split == "train" else ViewOptions()
        renderer = Renderer(context.splits[split], views, context.device, context.recipe.cache.workers)
        cuts = [slice(start, min(start + block, samples)) for start in range(0, samples, block)]
        parts = [(view, cut) for view in range(codes.shape[0]) for cut in cuts]
        jobs = ((torch.arange(cut.start, cut.stop), view) for view, cut in parts)
        batches = renderer.stream(jobs, context.recipe.cache.inference.batch)
        for view, cut in parts:
            logits: list[torch.Tensor] = []
            while sum(map(len, logits)) < cut.stop - cut.start:
                logits.append(teacher(next(batches).inputs)[0])
            yield view, cut, torch.cat(logits).numpy()

    return read


def open_teacher(context: RunContext, split: str, name: str) -> Teacher:
    """The teacher of that name in the run's recipe."""
    [record] = [teacher for teacher in context.recipe.teachers if teacher.name == name]
    shape, classes = context.splits[split].shape, len(context.splits[split].classes)
    options, inference = context.teacher_options(record), context.recipe.cache.inference
    return load_teacher(options, classes, shape, inference, context.device)


if __name__ == "__main__":
    main()
