"""One stage of ``bench_scale`` in a process of its own: ``python benchmarks/scale_stages.py STAGE FOLDER``.

The code is that of the commands: ``run_cache``, ``cached_blocks``, ``verify``, ``CachedStream``, ``compute``. What a
stage took is written to ``FOLDER/STAGE.json``: seconds and CPU seconds once Python, torch and the images are loaded,
and the process's peak memory before and after. Where a result is not what it must be, a stage ends with a message and
writes nothing.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads, as the command line does

import torch
from scale_measured import Attempts, Report
from scale_options import Scale
from scale_reading import read_epochs
from scale_teacher import MODEL, PADDING, SHAPE, make_split, write_bank

from logitcache.cache_job import CacheJob, CacheOptions, cached_blocks
from logitcache.caching import CacheOutcome, run_cache
from logitcache.data import Split
from logitcache.errors import CheckError, LogitcacheError
from logitcache.memory import keep_freed_memory
from logitcache.soft_targets import open_store
from logitcache.store import EncodingOptions, verify
from logitcache.teacher import InferenceOptions, Teacher, TeacherOptions, load_teacher
from logitcache.threads import set_threads
from logitcache.views import Renderer, ViewOptions

__all__ = ["STAGES", "Work", "main"]

Figures = dict[str, Any]

_STOP = 0.99
_IN_FLIGHT = 8
"""No more blocks than that are computed and not committed at a time."""
_BATCH = 1024
_COUNTED = 1 << 16
"""Rows of the clean view on which the teacher's accuracy is counted anew."""
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Work:
    """What every stage is given.

    Attributes:
        folder: where the store is, and what earlier stages took and found.
        scale: how large the run is.
        split: the images.
        report: writes what the stage took and found.
    """

    folder: Path
    scale: Scale
    split: Split
    report: Report

    @property
    def store(self) -> Path:
        """Where the store is."""
        return self.folder / "store.zarr"

    @property
    def views(self) -> ViewOptions:
        """The view policy."""
        return ViewOptions(kind="crop_flip", padding=PADDING, count=self.scale.views)

    @cached_property
    def job(self) -> CacheJob:
        """What is cached."""
        encoding = EncodingOptions.model_validate({"kind": self.scale.encoding, "max_kl": self.scale.max_kl})
        inference = InferenceOptions(batch=_BATCH)
        options = CacheOptions(encoding=encoding, inference=inference, block=self.scale.block, splits=("train",))
        return CacheJob(self.store, {"train": self.split}, self.views, options)

    @property
    def teacher_options(self) -> TeacherOptions:
        """The teacher by name."""
        return TeacherOptions(name="bank", model=MODEL, checkpoint=self.folder / "bank.safetensors")

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher, loaded."""
        return load_teacher(self.teacher_options, self.scale.classes, SHAPE, self.job.options.inference, _CPU)

    def cached(self) -> tuple[int, int]:
        """(committed, all) blocks of the store."""
        return cached_blocks(self.job, self.teacher_options)

    def cache(self, progress: Callable[[int], None] | None = None) -> CacheOutcome:
        """Run the cache step."""
        return run_cache(self.job, self.teacher, _CPU, progress)


def prepare(work: Work) -> Figures:
    """Write the teacher's checkpoint."""
    write_bank(work.folder / "bank.safetensors", work.scale.classes)
    return {}


def cache(work: Work) -> Figures:
    """Cache until 99 % of the rows are computed; then this process is killed with blocks in flight."""
    attempts = Attempts(work.folder / "cache.jsonl", work.scale.rows)
    committed, total = work.cached()
    left = math.ceil(_STOP * work.scale.rows) - committed * work.scale.rows // total

    def progress(rows: int) -> None:
        attempts.add(rows)
        if attempts.rows >= left:
            work.report(attempts.figures())
            os.kill(os.getpid(), signal.SIGKILL)

    if left > 0:
        work.cache(progress)
    return attempts.figures()


def plan(work: Work) -> Figures:
    """Look how much there is: what ``logitcache plan`` and every command ask first."""
    committed, total = work.cached()
    fewest = _STOP * total - _IN_FLIGHT
    _check(fewest <= committed < total, f"{committed} of {total} blocks are there after the kill")
    return {"rows": work.scale.rows, "committed": committed, "blocks": total}


def resume(work: Work) -> Figures:
    """Go on to the end; ``scan_seconds`` go by before the first row is computed."""
    begun: list[float] = []
    started = time.perf_counter()
    outcome = work.cache(lambda _: begun.append(time.perf_counter()) if not begun else None)
    before = json.loads((work.folder / "plan.json").read_text(encoding="utf-8"))
    _check(outcome.found >= before["committed"], f"{outcome.found} blocks were found, {before['committed']} were there")
    _check(outcome.written == before["blocks"] - outcome.found, f"{outcome.written} more blocks were written")
    committed, total = work.cached()
    _check(committed == total, f"{committed} of {total} blocks are there after resuming")
    scan = (begun[0] if begun else time.perf_counter()) - started
    return {"rows": outcome.forward_passes, "written": outcome.written, "found": outcome.found, "scan_seconds": scan}


def again(work: Work) -> Figures:
    """The same once more: there is nothing left to do."""
    outcome = work.cache()
    done = outcome.written, outcome.forward_passes
    _check(done == (0, 0), f"{done[0]} blocks were written and {done[1]} rows computed, with all of them there")
    return {"rows": work.scale.rows, "found": outcome.found}


def check(work: Work) -> Figures:
    """Verify every byte, and ask what the store says of itself."""
    started = time.perf_counter()
    store = open_store(work.store)
    found = verify(store)
    seconds = time.perf_counter() - started
    _check(not found.findings, f"{len(found.findings)} findings: {'; '.join(map(str, found.findings[:3]))}")
    started = time.perf_counter()
    [split] = store.info()["splits"]
    [teacher] = split["teachers"]
    fidelity = teacher["fidelity"]
    _check((teacher["rows"], teacher["blocks"]) == (work.scale.rows, found.blocks), f"{teacher['rows']} rows are there")
    return {
        "seconds": seconds,
        "rows": teacher["rows"],
        "blocks": found.blocks,
        "bytes": found.bytes,
        "info_seconds": time.perf_counter() - started,
        "encoding": teacher["encoding_text"],
        "bytes_per_row": teacher["logits_bytes_per_row"],
        "largest_kl": dict(zip(map(str, fidelity["taus"]), fidelity["kl_largest"], strict=True)),
    }


def read(work: Work) -> Figures:
    """Shuffled epochs."""
    scale = work.scale
    limits = {"epochs": scale.epochs, "memory": scale.memory, "max_kl": scale.max_kl}
    return read_epochs(work.store, work.split, work.views, work.teacher, **limits)


def stats(work: Work) -> Figures:
    """The measures that are made where none is named, of the clean view, in one pass."""
    from logitcache import statistics

    started = time.perf_counter()
    tree = statistics.compute(open_store(work.store))
    seconds = time.perf_counter() - started
    accuracy, counted = float(tree["agreement"]["accuracy"].squeeze()), _accuracy(work)
    _check(abs(accuracy - counted) < 3, f"the measured accuracy is {accuracy:.2f} %, the teacher's {counted:.2f} %")
    measures = sorted(tree.children)
    return {"seconds": seconds, "rows": work.scale.samples, "measures": measures, "accuracy": accuracy}


def _accuracy(work: Work) -> float:
    """The teacher's accuracy on the first rows of the clean view, in percent."""
    rows, right = torch.arange(min(_COUNTED, work.scale.samples)), 0
    for batch in Renderer(work.split, work.views).stream([(rows, 0)], _BATCH):
        right += int((work.teacher(batch.inputs)[0].argmax(1) == work.split.labels[batch.rows]).sum())
    return 100 * right / len(rows)


def _check(good: bool, otherwise: str) -> None:  # noqa: FBT001  # it reads as a sentence
    """:class:`CheckError` with what is the matter, where something is not as it must be."""
    if not good:
        raise CheckError(otherwise)


STAGES: dict[str, Callable[[Work], Figures]] = {
    "prepare": prepare,
    "cache": cache,
    "plan": plan,
    "resume": resume,
    "again": again,
    "verify": check,
    "read": read,
    "stats": stats,
}


def main(words: Sequence[str] | None = None) -> None:
    """Do one stage and write what it took."""
    name, place = sys.argv[1:] if words is None else words
    _die_with_parent()
    set_threads()
    keep_freed_memory()
    folder = Path(place)
    scale = Scale(**json.loads((folder / "scale.json").read_text(encoding="utf-8")))
    split = make_split(scale)
    work = Work(folder, scale, split, Report(folder / f"{name}.json"))
    try:
        work.report(STAGES[name](work))
    except LogitcacheError as error:
        sys.exit(f"{name}: {error}")


def _die_with_parent() -> None:
    """Be killed when the process that started this one ends: a benchmark that goes on must not meet its past self."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of linux/prctl.h


if __name__ == "__main__":
    main()
