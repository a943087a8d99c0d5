"""Sweeps: a grid of student runs with stable ids; each is trained once, finished ones are skipped.

``grid``       turns groups of a recipe into runs
``groups``     which runs can train in one stack
``units``      what is trained at a time, and how an interrupted stack is found again
``workshop``   data, views, soft targets, networks: opened once for all runs of a process
``trainers``   a unit trained alone, stacked, or by several processes together; the files of a run
``attempts``   one attempt at a unit
``workers``    attempts in this process or in several
``cluster_work``  attempts on a Dask cluster
``running``    the whole sweep
``parallel``   the whole sweep under torchrun: one run after another, each by all processes
``events``     what is told of it; ``logs`` tells TensorBoard and a user's hook
``results``    ``run.json`` and ``results.csv``
``student_store``  logits and features of what was trained, as a store
"""

from logitcache.sweep.events import Ended, EpochDone, Event, Listener, ListenerError, Staged, Started
from logitcache.sweep.grid import MOST_SUBSETS_OF, ObjectiveGrid, RunSpec, StudentGroup, expand
from logitcache.sweep.options import SweepOptions
from logitcache.sweep.parallel import run_parallel
from logitcache.sweep.results import COLUMNS, finished_runs, stack_size, write_results
from logitcache.sweep.running import run_sweep
from logitcache.sweep.student_store import (
    STUDENTS_STORE,
    SavedLogits,
    entry_name,
    open_students,
    save_logits,
    whole_entries,
)
from logitcache.sweep.units import Unit, plan_units
from logitcache.sweep.workshop import LoadOnline, SweepContext, Workshop

__all__ = [
    "COLUMNS",
    "MOST_SUBSETS_OF",
    "STUDENTS_STORE",
    "Ended",
    "EpochDone",
    "Event",
    "Listener",
    "ListenerError",
    "LoadOnline",
    "ObjectiveGrid",
    "RunSpec",
    "SavedLogits",
    "Staged",
    "Started",
    "StudentGroup",
    "SweepContext",
    "SweepOptions",
    "Unit",
    "Workshop",
    "entry_name",
    "expand",
    "finished_runs",
    "open_students",
    "plan_units",
    "run_parallel",
    "run_sweep",
    "save_logits",
    "stack_size",
    "whole_entries",
    "write_results",
]
