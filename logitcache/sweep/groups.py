"""Which runs train together: those whose networks a stack can step at once. Pure; the order of runs decides all."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import pairwise

from logitcache.records import fingerprint
from logitcache.sweep.grid import RunSpec

__all__ = ["group_id", "group_runs", "stack_key"]

# each member of a stack has its own of these
_OWN = {"learning_rate", "schedule", "milestones", "gamma", "warmup", "weight_decay", "measure_train"}


def stack_key(spec: RunSpec) -> Hashable:
    """What runs must share to train in one stack: the network, the steps of an epoch, and the optimizer."""
    return spec.model, spec.samples, spec.training.model_dump_json(exclude=_OWN)


def group_runs(specs: Sequence[RunSpec], members: int) -> list[tuple[RunSpec, ...]]:
    """Runs in groups of at most ``members``, as equal in size as they can be.

    Otherwise they keep the order given, but for runs that read the same batches: those come together, since a stack
    renders their inputs once.
    """
    alike: dict[Hashable, dict[Hashable, list[RunSpec]]] = {}
    for spec in specs:
        alike.setdefault(stack_key(spec), {}).setdefault(_inputs_key(spec), []).append(spec)
    return [
        group
        for by_inputs in alike.values()
        for group in _cut([spec for same in by_inputs.values() for spec in same], members)
    ]


def group_id(run_ids: Sequence[str]) -> str:
    """The name of a group: a hash of its runs in order."""
    return fingerprint({"runs": list(run_ids)})


def _inputs_key(spec: RunSpec) -> Hashable:
    """What decides which views a run reads at each step."""
    return spec.order_key, spec.sample_seed, spec.views


def _cut(specs: Sequence[RunSpec], members: int) -> list[tuple[RunSpec, ...]]:
    """Neighbours in as few parts as ``members`` allows, of sizes that differ by one at most."""
    parts = -(-len(specs) // members)
    bounds = [len(specs) * part // parts for part in range(parts + 1)]
    return [tuple(specs[start:stop]) for start, stop in pairwise(bounds)]
