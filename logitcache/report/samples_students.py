"""Which students stand beside the teacher in the explorer: of each objective the best run, hard labels first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from logitcache.report.samples import Source
from logitcache.report.sources import Run, read_runs
from logitcache.store import LogitsReader

__all__ = ["beside", "best"]

MOST = 4
"""More than four marks in a row of bars cannot be told apart."""

Logits: TypeAlias = LogitsReader | NDArray[np.float32]


def beside(directory: Path, shape: tuple[int, int]) -> list[Source]:
    """The :func:`best` runs by their ``students/<run_id>/test_logits.npy``.

    Args:
        directory: a run folder.
        shape: (rows of the test split, classes); other logits are left out.

    Raises:
        InputError: ``results.csv`` is not what it should be.
    """
    return best(directory, lambda run_id: _test_logits(directory / "students" / run_id, shape))


def best(directory: Path, find: Callable[[str], Logits | None]) -> list[Source]:
    """The best run of each objective that has logits: one of hard labels, then the best others, four at most.

    Runs are compared by accuracy after the last epoch on the test split: it is a choice of what to show, and no
    finding.

    Args:
        directory: a run folder; without ``results.csv`` there are no runs.
        find: the clean-view logits of a run by its id, None where there are none.

    Raises:
        InputError: ``results.csv`` is not what it should be.
    """
    results = directory / "results.csv"
    runs = read_runs(results) if results.is_file() else ()
    done = [run for run in runs if run.status == "done" and run.test_accuracy is not None]
    ordered = sorted(done, key=lambda run: (-(run.test_accuracy or 0.0), run.run_id))
    found: dict[str, tuple[Run, Logits]] = {}
    for run in _hard_first(ordered):
        if run.label not in found and len(found) < MOST:
            logits = find(run.run_id)
            found |= {} if logits is None else {run.label: (run, logits)}
    alike = len({run.student for run, _ in found.values()}) == 1
    return [
        Source(f"{'student' if alike else run.student}, {run.label}", teacher=False, logits=logits)
        for run, logits in found.values()
    ]


def _hard_first(runs: Sequence[Run]) -> list[Run]:
    """The runs, the best one of hard labels before all others."""
    hard = [run for run in runs if not run.teachers][:1]
    return [*hard, *(run for run in runs if run not in hard)]


def _test_logits(folder: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """The logits of one run, memory-mapped; None where they are absent or of another split."""
    try:
        logits: NDArray[np.float32] = np.load(folder / "test_logits.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return logits if logits.shape == shape else None
