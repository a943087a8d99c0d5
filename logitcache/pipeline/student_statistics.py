"""Statistics of the students whose logits are kept: of their own logits and features, and against their teachers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import xarray as xr

from logitcache import statistics
from logitcache.pipeline.context import RunContext
from logitcache.records import fingerprint
from logitcache.statistics import Other
from logitcache.store import Store, store_info
from logitcache.store_note import of_teachers
from logitcache.sweep import STUDENTS_STORE, entry_name, finished_runs, open_students, whole_entries

__all__ = ["measure_students", "measured"]

_STEP = "students_statistics"

Against = Mapping[str, Sequence[str]]
"""By student, the teachers that it is compared with."""


def measure_students(context: RunContext) -> None:
    """Measure ``DIR/students.zarr`` into ``DIR/students_statistics``; nothing where no student's logits are kept.

    Students are measured as teachers are, and by ``pair`` and ``similarity`` against the teachers that they learned
    from; those of hard labels, for a comparison, against all teachers of the recipe.
    """
    students = open_students(context.out)
    against = {} if students is None else _against(context, students)
    if students is None or not against:
        return
    folder = statistics.results_folder(context.out / STUDENTS_STORE)
    kept = of_teachers({**store_info(students), "path": ""}, against)
    inputs = fingerprint({"students": kept, "store": context.store_fingerprint(), "against": against})
    if folder.is_dir() and context.was_done(_STEP, inputs):
        context.screen.say("statistics of students: done before")
        return
    title = f"statistics of {len(against)} students"
    with context.screen.step(title), context.screen.bar(title, len(against), "students") as bar:
        found = measured(students, context.store(), against, bar.advance)
        root = xr.Dataset(attrs={"store": students.url, "views": "clean"})
        statistics.write_tree(xr.DataTree.from_dict({"/": root, **found}), folder)
    context.mark_done(_STEP, inputs)


def _against(context: RunContext, students: Store) -> dict[str, tuple[str, ...]]:
    """The teachers of each of the recipe's students that is done and wholly in the store of students."""
    runs, whole = context.runs(), whole_entries(students)
    done = {name for name, record in finished_runs(context.out, runs).items() if record["status"] == "done"}
    named = {entry_name(run.run_id): run for run in runs if run.run_id in done}
    everyone = tuple(teacher.name for teacher in context.recipe.teachers)
    return {name: run.teachers or everyone for name, run in named.items() if name in whole}


def measured(
    students: Store, teachers: Store | None, against: Against, progress: Callable[[int], None] | None = None
) -> dict[str, xr.Dataset]:
    """All that is measured of students, one after another: what waits in memory is of one of them.

    Args:
        students: the store of students.
        teachers: that of teachers; what it does not have is not compared, None: nothing is.
        against: the students, at least one, and the teachers of each.
        progress: called with the number of students that are done since.

    Returns:
        A dataset a measure, with the dimensions teacher (here the student's name) and split. ``pair`` and
        ``similarity`` have ``other`` after them, the teacher that it is compared with; NaN where the two are not.
    """
    parts: dict[str, list[xr.Dataset]] = {}
    for name, others in against.items():
        tree = statistics.compute(students, teachers=[name])
        compared = {} if teachers is None else _compared(students, name, teachers, others)
        for measure, found in {**{key: tree[key].to_dataset() for key in tree.children}, **compared}.items():
            parts.setdefault(measure, []).append(found)
        if progress is not None:
            progress(1)
    return {measure: _joined(each, "teacher", list(against)) for measure, each in parts.items()}


def _compared(students: Store, name: str, teachers: Store, others: Sequence[str]) -> dict[str, xr.Dataset]:
    """What is said of a student beside each of its teachers."""
    parts: dict[str, list[xr.Dataset]] = {}
    for teacher in others:
        other, measures = Other(teachers, teacher), _measures(students, name, teachers, teacher)
        tree = statistics.compute(students, measures, teachers=[name], against=[other]) if measures else {}
        for measure in measures:
            found = _of_any(tree[measure].to_dataset(), other.name(students))
            parts.setdefault(measure, []).append(found.expand_dims(other=[teacher]))
    joined = {measure: _joined(each, "other", others) for measure, each in parts.items()}
    return {measure: found.transpose("teacher", "split", "other", ...) for measure, found in joined.items()}


def _measures(students: Store, name: str, teachers: Store, teacher: str) -> tuple[str, ...]:
    """What can be said of a student beside a teacher: nothing without a split of both, no more without features."""
    found: set[str] = set()
    for split in set(students.splits) & set(teachers.splits):
        if name in students.teachers(split) and teacher in teachers.teachers(split):
            both = students.logits(name, split), teachers.logits(teacher, split)
            found |= {"pair"} | ({"similarity"} if all(reader.record.features for reader in both) else set())
    return tuple(sorted(found))


def _of_any(found: xr.Dataset, told: str) -> xr.Dataset:
    """A dataset whose variables' names tell of any other, where they told of one."""
    for values in found.data_vars.values():
        values.attrs["long_name"] = str(values.attrs["long_name"]).replace(told, "the other")
    return found.drop_attrs(deep=False)


def _joined(parts: Sequence[xr.Dataset], dim: str, names: Sequence[str]) -> xr.Dataset:
    """Datasets one after another, in the order of ``names``; what one of them lacks is NaN there."""
    joined = xr.concat(
        parts, dim, data_vars="all", coords="minimal", compat="override", join="outer", combine_attrs="override"
    )
    known = set(joined[dim].values)
    return joined.sel({dim: [name for name in names if name in known]})
