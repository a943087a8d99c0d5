"""Sweeps: a grid of student runs with stable ids; each is trained once, finished ones are skipped.

``grid`` turns groups of a recipe into runs, ``workshop`` trains one run from the store, ``running`` walks all of
them in one process or several, ``results`` writes what came out.
"""

from logitcache.sweep.grid import ObjectiveGrid, RunSpec, StudentGroup, expand
from logitcache.sweep.results import COLUMNS, finished_runs, write_results
from logitcache.sweep.running import run_sweep
from logitcache.sweep.workshop import SweepContext, Workshop

__all__ = [
    "COLUMNS",
    "ObjectiveGrid",
    "RunSpec",
    "StudentGroup",
    "SweepContext",
    "Workshop",
    "expand",
    "finished_runs",
    "run_sweep",
    "write_results",
]
