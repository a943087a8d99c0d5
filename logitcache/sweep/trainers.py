"""How the runs of a unit are trained, alone, stacked, or by all processes together, and what each of them leaves.

The files of a run are the same however it was trained; ``run.json`` is written last and says that it ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from logitcache.models import Network
from logitcache.models.weights import save_checkpoint
from logitcache.student.distributed import batch_norm_note, train_distributed
from logitcache.student.stack import can_stack, train_stack
from logitcache.student.training import CHECKPOINT, EpochRecord, Member, Outcome, train
from logitcache.student.world import World
from logitcache.sweep.events import Ended, EpochDone, Listener, Started
from logitcache.sweep.grid import RunSpec
from logitcache.sweep.results import finished_runs, run_folder, run_record, write_record
from logitcache.sweep.units import Unit, begin_group, drop_group, group_folder
from logitcache.sweep.workshop import Workshop

__all__ = ["Trained", "keep", "train_alone", "train_parallel", "train_stacked", "train_unit"]


@dataclass(frozen=True)
class Trained:
    """A run that ended, and how it was trained: "alone", "stacked N", "parallel N"."""

    spec: RunSpec
    network: Network
    outcome: Outcome
    mode: str


def train_unit(workshop: Workshop, unit: Unit, tell: Listener) -> None:
    """Train the runs of a unit, or go on where they were interrupted; those that are recorded stay as they are."""
    if unit.stacked and train_stacked(workshop, unit, tell):
        return
    done = finished_runs(workshop.context.out, unit.specs)
    for spec in unit.specs:
        if spec.run_id not in done:
            train_alone(workshop, spec, tell)


def train_alone(workshop: Workshop, spec: RunSpec, tell: Listener) -> None:
    """Train one run by itself."""
    tell(Started(spec.run_id, spec.training.epochs, 1))
    folder = run_folder(workshop.context.out, spec)
    folder.mkdir(parents=True, exist_ok=True)
    network, objective = workshop.student(spec)
    outcome = train(
        network,
        workshop.feed(spec),
        objective,
        spec.training,
        folder=folder,
        evaluate=workshop.evaluation(spec),
        seed=spec.seed,
        progress=lambda record: tell(EpochDone(spec.run_id, record)),
    )
    keep(workshop, Trained(spec, network, outcome, "alone"), tell)
    (folder / CHECKPOINT).unlink(missing_ok=True)


def train_stacked(workshop: Workshop, unit: Unit, tell: Listener) -> bool:
    """Train the runs of a unit in one stack; False where their networks do not stack, and nothing was done."""
    out, specs = workshop.context.out, unit.specs
    networks, objectives = zip(*map(workshop.student, specs), strict=True)
    if can_stack(networks, [spec.training for spec in specs]):
        drop_group(out, unit)
        return False
    done = finished_runs(out, specs)
    folder = begin_group(out, unit)
    # members that are recorded train along for the others' sake; what they left is not written again
    folders = [folder / spec.run_id if spec.run_id in done else run_folder(out, spec) for spec in specs]
    for each in folders:
        each.mkdir(parents=True, exist_ok=True)
    for spec in specs:
        tell(Started(spec.run_id, spec.training.epochs, len(specs)))
    outcomes = train_stack(
        networks,
        [workshop.feed(spec) for spec in specs],
        objectives,
        [Member(spec.training, spec.seed, each) for spec, each in zip(specs, folders, strict=True)],
        checkpoint=group_folder(out, unit) / CHECKPOINT,
        evaluate=[workshop.evaluation(spec) for spec in specs],
        progress=partial(_tell_epoch, specs, tell),
        way=workshop.context.way,
    )
    for spec, network, outcome in zip(specs, networks, outcomes, strict=True):
        if spec.run_id not in done:
            keep(workshop, Trained(spec, network, outcome, f"stacked {len(specs)}"), tell)
    drop_group(out, unit)
    return True


def train_parallel(workshop: Workshop, spec: RunSpec, world: World, tell: Listener) -> None:
    """Train one run by all processes together; every one of them calls this, and rank 0 writes what it leaves."""
    folder = run_folder(workshop.context.out, spec)
    folder.mkdir(parents=True, exist_ok=True)
    network, objective = workshop.student(spec)
    note = batch_norm_note(network, world)
    tell(Started(spec.run_id, spec.training.epochs, 1, note))
    outcome = train_distributed(
        network,
        workshop.feed(spec, world),
        objective,
        spec.training,
        folder=folder,
        evaluate=workshop.evaluation(spec),
        seed=spec.seed,
        world=world,
        progress=lambda record: tell(EpochDone(spec.run_id, record)),
    )
    if world.leads:
        mode = f"parallel {world.size}" + (", local batch norm" if note and workshop.device.type == "cpu" else "")
        keep(workshop, Trained(spec, network, outcome, mode), tell)
        (folder / CHECKPOINT).unlink(missing_ok=True)


def keep(workshop: Workshop, trained: Trained, tell: Listener) -> None:
    """Write what a run leaves behind: test logits, weights, and last its record."""
    spec, network = trained.spec, trained.network
    folder = run_folder(workshop.context.out, spec)
    logits = workshop.evaluator(spec.training.precision).logits(network)
    np.save(folder / "test_logits.npy", logits.cpu().numpy())
    save_checkpoint(folder / "model.safetensors", network, spec.model, {"run_id": spec.run_id})
    record = run_record(spec, trained.outcome, sum(p.numel() for p in network.parameters()), trained.mode)
    write_record(folder, record)
    tell(Ended(spec.run_id, record))


def _tell_epoch(specs: tuple[RunSpec, ...], tell: Listener, number: int, record: EpochRecord) -> None:
    """Tell of an epoch of a stack's member."""
    tell(EpochDone(specs[number].run_id, record))
