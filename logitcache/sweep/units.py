"""What is trained at a time, one run or a stack, and how a stack that was begun is found again.

::

    DIR/students/<run_id>/checkpoint.safetensors   a run that was begun alone goes on alone
    DIR/groups/<id>/group.json                     the runs of a stack that was begun, in order
    DIR/groups/<id>/checkpoint.safetensors         its training; the folder goes when all its runs are recorded

A stack goes on with exactly its runs, finished ones included: only so does it end in the same bits.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from logitcache.errors import InputError
from logitcache.files import sweep_aside, write_text
from logitcache.student.training import CHECKPOINT
from logitcache.sweep.grid import RunSpec
from logitcache.sweep.groups import group_id, group_runs
from logitcache.sweep.options import SweepOptions
from logitcache.sweep.results import finished_runs, run_folder

__all__ = ["Unit", "begin_group", "drop_group", "group_folder", "plan_units", "tidy"]


@dataclass(frozen=True)
class Unit:
    """Runs that are trained together: one alone, or several in a stack."""

    specs: tuple[RunSpec, ...]

    @property
    def stacked(self) -> bool:
        """Whether it is a stack."""
        return len(self.specs) > 1

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The names of its runs."""
        return tuple(spec.run_id for spec in self.specs)

    def alone(self) -> list[Unit]:
        """Its runs, each by itself."""
        return [Unit((spec,)) for spec in self.specs]


def plan_units(out: Path, specs: Sequence[RunSpec], options: SweepOptions, device: str) -> list[Unit]:
    """What is left to train of a sweep, in order: stacks that were begun, runs that train alone, all others.

    Args:
        out: the run directory.
        specs: all runs of the sweep.
        options: whether and how runs are stacked.
        device: ``cpu`` or ``cuda``.
    """
    done = finished_runs(out, specs)
    missing = {spec.run_id: spec for spec in specs if spec.run_id not in done}
    if not options.stacks(device):
        return [Unit((spec,)) for spec in missing.values()]
    begun = _begun(out, {spec.run_id: spec for spec in specs}, missing)
    taken = {run_id for unit in begun for run_id in unit.run_ids}
    rest = [spec for run_id, spec in missing.items() if run_id not in taken]
    # a teacher in every step fills the device by itself: such a run never trains in a stack
    own = [spec for spec in rest if spec.targets == "online" or (run_folder(out, spec) / CHECKPOINT).exists()]
    new = group_runs([spec for spec in rest if spec not in own], options.members)
    return [*begun, *(Unit((spec,)) for spec in own), *(Unit(group) for group in new)]


def tidy(out: Path, specs: Sequence[RunSpec]) -> None:
    """Remove what a killed sweep left beside runs that are recorded: their checkpoints and their stacks'."""
    done = finished_runs(out, specs)
    for spec in specs:
        if spec.run_id in done:
            (run_folder(out, spec) / CHECKPOINT).unlink(missing_ok=True)
            for name in (CHECKPOINT, "model.safetensors", "run.json"):
                sweep_aside(run_folder(out, spec) / name)
    for folder in _group_folders(out):
        if all(run_id in done for run_id in _read_group(folder)):
            shutil.rmtree(folder)
    if (out / "groups").is_dir() and not any((out / "groups").iterdir()):
        (out / "groups").rmdir()


def group_folder(out: Path, unit: Unit) -> Path:
    """The folder of a stack."""
    return out / "groups" / group_id(unit.run_ids)


def begin_group(out: Path, unit: Unit) -> Path:
    """Note which runs a stack has, before it has a checkpoint; returns its folder."""
    folder = group_folder(out, unit)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "group.json", json.dumps({"runs": unit.run_ids}, indent=1) + "\n")
    return folder


def drop_group(out: Path, unit: Unit) -> None:
    """Forget a stack: its runs are recorded, or are trained otherwise."""
    shutil.rmtree(group_folder(out, unit), ignore_errors=True)


def _begun(out: Path, known: Mapping[str, RunSpec], missing: Collection[str]) -> list[Unit]:
    """The stacks that were begun, whose runs the sweep still has, and of which some is missing; no run twice."""
    units: list[Unit] = []
    taken: set[str] = set()
    for folder in _group_folders(out):
        run_ids = _read_group(folder)
        left = set(run_ids) & set(missing)
        if left and not left & taken and set(run_ids) <= set(known):
            units.append(Unit(tuple(known[run_id] for run_id in run_ids)))
            taken |= left
    return units


def _group_folders(out: Path) -> list[Path]:
    """The folders of stacks that were begun, by name."""
    return [path.parent for path in sorted((out / "groups").glob("*/group.json"))]


def _read_group(folder: Path) -> list[str]:
    """The runs of a stack.

    Raises:
        InputError: the note is damaged.
    """
    path = folder / "group.json"
    try:
        return [str(run_id) for run_id in json.loads(path.read_text(encoding="utf-8"))["runs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); delete {folder} to train its runs anew") from error
