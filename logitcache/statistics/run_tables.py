"""From a store and its trained students to tables: one task a block of a clean view, one pass, sums joined in a tree.

``tables`` gives four tables, ``write`` makes one CSV file of each:

* ``teachers``: one row a teacher and split;
* ``classes``: one row a teacher, split and true class;
* ``class_means``: the mean logits of each true class, one column a logit;
* ``students``: one row a student and teacher of the test split, those that cannot be measured with the reason.

Accuracies and agreement are percent, entropy and KL nats, variances those of the population. The tree of sums has
the same shape for every scheduler, so results do not depend on it to the last bit; on the length of a block they
depend by rounding only. What was never committed raises ``MissingError``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dask.base import compute as dask_compute
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from logitcache.errors import InputError
from logitcache.records import rows_of_block
from logitcache.statistics.arrays import LogitReader, LogitStore, task_blocks
from logitcache.statistics.measures import (
    StudentTally,
    TeacherTally,
    merge_students,
    merge_teachers,
    tally_student,
    tally_teacher,
)
from logitcache.statistics.students import FACTS, StudentRun, find_students
from logitcache.statistics.watching import Watch, watched

__all__ = ["TAUS", "Table", "tables", "write"]

TAUS = (1.0, 4.0, 20.0)
"""Temperatures of KL(teacher || student): that of accuracy, a usual one of distillation, and a near-linear one."""

# Dask's own function has no types.
_compute_all: Callable[..., tuple[BlockSums, ...]] = dask_compute

TEST = "test"
FAN_IN = 16


@dataclass(frozen=True)
class Table:
    """A named table; every row has one value a column."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True)
class BlockSums:
    """What one task returns: the teacher's sums, and those of every student beside it."""

    teacher: TeacherTally
    students: tuple[StudentTally, ...]


def tables(
    store: LogitStore,
    *,
    students: Path | None = None,
    teachers: Collection[str] | None = None,
    taus: Sequence[float] = TAUS,
    labels: Mapping[str, NDArray[np.int64]] | None = None,
    scheduler: str = "threads",
    watch: Watch | None = None,
) -> tuple[Table, ...]:
    """The tables of a store.

    Args:
        store: what ``open_store`` returns.
        students: the folder of the students' folders; None leaves their table out.
        teachers: names of those that are measured; None for all of the store.
        taus: temperatures of KL(teacher || student), above 0.
        labels: true classes by split, int64 (samples,), of all splits; None for the store's.
        scheduler: Dask's name of it: "threads", "synchronous", "processes" or "distributed".
        watch: who looks on, by tasks, where Dask's own schedulers compute.
    """
    if any(tau <= 0 for tau in taus):
        raise InputError(f"taus = {tuple(taus)}: temperatures are above 0")
    known = ((teacher, split) for split in store.splits for teacher in store.teachers(split))
    pairs = [pair for pair in known if teachers is None or pair[0] in teachers]
    runs = {pair: _runs(store, pair, students) for pair in pairs}
    true = {split: store.labels(split) for split in store.splits} if labels is None else labels
    lazy = [
        _plan(store.logits(*pair), true[pair[1]], [one.logits for one in runs[pair] if not one.reason], taus)
        for pair in pairs
    ]
    keys = [key for _, blocks in lazy for key in blocks]
    with watched(watch, "tables", keys):
        sums = dict(zip(pairs, _compute_all(*(total for total, _ in lazy), scheduler=scheduler), strict=True))
    found = (_teachers(sums), _classes(store.classes, sums), _class_means(store.classes, sums))
    return found if students is None else (*found, _students(runs, sums, taus))


def write(made: Sequence[Table], folder: Path) -> tuple[Path, ...]:
    """One CSV file a table, named after it; the folder is made. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(_write(table, folder / f"{table.name}.csv") for table in made)


def _write(table: Table, path: Path) -> Path:
    """One table as CSV; a float is written so that reading gives the same one back."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(table.rows)
    return path


def _runs(store: LogitStore, pair: tuple[str, str], students: Path | None) -> tuple[StudentRun, ...]:
    """The students that stand beside a teacher: all of them in the test split, none elsewhere."""
    teacher, split = pair
    if students is None or split != TEST:
        return ()
    reader = store.logits(teacher, split)
    return find_students(students, (reader.samples, reader.classes))


def _plan(
    reader: LogitReader, labels: NDArray[np.int64], students: Sequence[Path], taus: Sequence[float]
) -> tuple[Delayed, list[str]]:
    """The lazy sums of one teacher's clean view in one split, and the keys of the tasks that measure blocks."""
    shared, size = delayed(reader, traverse=False, pure=False), reader.block_rows
    tasks = [
        delayed(_measure_blocks)(
            shared, part, labels[part.start * size : part.stop * size], tuple(students), tuple(taus)
        )
        for part in task_blocks(reader.blocks)
    ]
    return _tree(tasks, _merge), [str(task.key) for task in tasks]


def _tree(tasks: list[Delayed], merge: Callable[[list[BlockSums]], BlockSums]) -> Delayed:
    """Join many lazy sums into one, ``FAN_IN`` at a time, so that few of them wait in memory."""
    while len(tasks) > 1:
        tasks = [delayed(merge)(tasks[first : first + FAN_IN]) for first in range(0, len(tasks), FAN_IN)]
    return tasks[0]


def _measure_blocks(
    reader: LogitReader,
    blocks: Sequence[int],
    labels: NDArray[np.int64],
    students: tuple[Path, ...],
    taus: tuple[float, ...],
) -> BlockSums:
    """The sums of some blocks of the clean view, read one after another; ``labels`` are those of their rows."""
    first = blocks[0] * reader.block_rows
    found: list[BlockSums] = []
    for block in blocks:
        rows = rows_of_block(block, reader.block_rows, reader.samples)
        own = labels[rows.start - first : rows.stop - first]
        found = [_merge([*found, _measure(reader.read(0, block), own, rows.start, students, taus)])]
    return found[0]


def _measure(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    first: int,
    students: tuple[Path, ...],
    taus: tuple[float, ...],
) -> BlockSums:
    """The sums of one block (rows, classes) that starts at row ``first``; students' rows are read from their files."""
    rows = slice(first, first + len(logits))
    beside = (np.load(path, mmap_mode="r", allow_pickle=False)[rows] for path in students)
    return BlockSums(
        tally_teacher(logits, labels), tuple(tally_student(logits, student, labels, taus) for student in beside)
    )


def _merge(parts: list[BlockSums]) -> BlockSums:
    """The sums of several blocks, in their order."""
    total, *rest = parts
    for part in rest:
        total = BlockSums(
            merge_teachers(total.teacher, part.teacher),
            tuple(merge_students(a, b) for a, b in zip(total.students, part.students, strict=True)),
        )
    return total


def _teachers(sums: dict[tuple[str, str], BlockSums]) -> Table:
    """Accuracy, entropy and logits of each teacher in each split."""
    columns = ("teacher", "split", "samples", "accuracy", "mean_entropy", "logit_mean", "logit_variance")
    rows = []
    for (teacher, split), block in sums.items():
        tally = block.teacher
        centre = tally.mean.mean()
        # The spread of all logits is the spread within each column and that of the columns' means.
        variance = tally.scatter.sum() / (tally.rows * len(tally.mean)) + np.square(tally.mean - centre).mean()
        accuracy = _percent(tally.class_correct.sum(), tally.class_rows.sum())
        row = (teacher, split, tally.rows, accuracy, tally.entropy / tally.rows, float(centre), float(variance))
        rows.append(row)
    return Table("teachers", columns, tuple(rows))


def _classes(names: tuple[str, ...], sums: dict[tuple[str, str], BlockSums]) -> Table:
    """Accuracy and entropy of each true class, and mean and variance of its logit over all rows and over its own."""
    measures = ("accuracy", "mean_entropy", "logit_mean", "logit_variance", "own_logit_mean")
    rows: list[tuple[object, ...]] = []
    for (teacher, split), block in sums.items():
        tally = block.teacher
        for k, name in enumerate(_named(names, len(tally.mean))):
            count = int(tally.class_rows[k])
            accuracy = _percent(tally.class_correct[k], count)
            entropy, own = _mean(tally.class_entropy[k], count), _mean(tally.class_logits[k, k], count)
            spread = float(tally.scatter[k] / tally.rows)
            rows.append((teacher, split, name, count, accuracy, entropy, float(tally.mean[k]), spread, own))
    return Table("classes", ("teacher", "split", "class", "samples", *measures), tuple(rows))


def _class_means(names: tuple[str, ...], sums: dict[tuple[str, str], BlockSums]) -> Table:
    """The mean logits of the rows of each true class: what the teacher thinks is like what."""
    columns: tuple[str, ...] = ()
    rows: list[tuple[object, ...]] = []
    for (teacher, split), block in sums.items():
        tally = block.teacher
        named = _named(names, len(tally.mean))
        columns = ("teacher", "split", "class", "samples", *(f"logit_{name}" for name in named))
        for k, name in enumerate(named):
            count = int(tally.class_rows[k])
            means = (_mean(value, count) for value in tally.class_logits[k])
            rows.append((teacher, split, name, count, *means))
    return Table("class_means", columns, tuple(rows))


def _students(
    runs: dict[tuple[str, str], tuple[StudentRun, ...]], sums: dict[tuple[str, str], BlockSums], taus: Sequence[float]
) -> Table:
    """One row a student and teacher; a student that was skipped has its reason and no numbers."""
    measures = ("test_samples", "accuracy", "agreement", *(f"kl_tau_{tau:g}" for tau in taus))
    rows: list[tuple[object, ...]] = []
    for pair, found in runs.items():
        tallies = iter(sums[pair].students)
        for one in found:
            numbers = () if one.reason else _student_numbers(next(tallies))
            reason = one.reason or ("" if np.isfinite(numbers[3:]).all() else "logits are not finite")
            measured = numbers if not reason else ("",) * len(measures)
            rows.append((*one.facts, pair[0], "skipped" if reason else "measured", reason, *measured))
    return Table("students", (*FACTS, "teacher", "status", "reason", *measures), tuple(rows))


def _student_numbers(tally: StudentTally) -> tuple[Any, ...]:
    """Rows, accuracy, agreement and mean KL at each temperature."""
    kl = (float(value) for value in tally.kl / tally.rows)
    return (tally.rows, _percent(tally.correct, tally.labelled), _percent(tally.agreed, tally.rows), *kl)


def _named(names: tuple[str, ...], classes: int) -> tuple[str, ...]:
    """The classes' names, or their numbers where there is no name for each."""
    return names if len(names) == classes else tuple(str(k) for k in range(classes))


def _percent(part: Any, whole: Any) -> float | str:
    """A share in percent; '' of nothing, which is an empty cell."""
    return 100.0 * float(part) / float(whole) if whole else ""


def _mean(total: Any, count: int) -> float | str:
    """A mean; '' of nothing, which is an empty cell."""
    return float(total) / count if count else ""
