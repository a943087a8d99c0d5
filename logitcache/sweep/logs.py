"""Records of epochs for other programs: TensorBoard's event files, and a function of the user's.

A user of another tracker writes one function and names it in the recipe as ``sweep.hook = "mytracking:log"``::

    def log(run_id: str, record: dict) -> None:   # the record is a line of metrics.jsonl
        run = RUNS.get(run_id) or RUNS.setdefault(run_id, wandb.init(id=run_id, resume="allow", reinit="create_new"))
        run.log(record, step=record["epoch"])

It is called in the process that runs the sweep, in the order of epochs of each run; a run that goes on after it was
killed tells the epochs after its checkpoint again.
"""

from __future__ import annotations

import importlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from logitcache.errors import InputError
from logitcache.factories import load_factory
from logitcache.sweep.events import Ended, EpochDone, Event, Listener, on_epochs

__all__ = ["TensorBoard", "load_hook"]

_AXES = {"epoch", "samples", "train_seconds"}
"""What of a record is no curve of its own."""


def load_hook(name: str) -> Listener:
    """The listener that calls ``module:function`` with a run's id and the dict of each of its records.

    Raises:
        InputError: there is no such function.
    """
    function = load_factory(name)
    return on_epochs(lambda run_id, record: function(run_id, asdict(record)))


class TensorBoard:
    """Writes loss, learning rate, images per second and all that is measured into the folder of the run.

    ``tensorboard --logdir DIR/students`` shows all of a sweep. A run that goes on hides what it tells again.

    Args:
        students: the folder of the runs' folders.

    Raises:
        InputError: the package tensorboard is not installed.
    """

    def __init__(self, students: Path) -> None:
        self._students = students
        self._writers: dict[str, Any] = {}
        try:
            self._make = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError as error:
            raise InputError(
                "sweep.tensorboard = true needs the package tensorboard: pip install 'logitcache[tensorboard]'"
            ) from error

    def __call__(self, event: Event) -> None:
        """Write what an epoch brought; close the files of a run that ended."""
        if isinstance(event, EpochDone):
            self._write(event)
        elif isinstance(event, Ended) and event.run_id in self._writers:
            self._writers.pop(event.run_id).close()

    def _write(self, event: EpochDone) -> None:
        """One point a curve."""
        record = event.record
        if event.run_id not in self._writers:
            folder = str(self._students / event.run_id)
            self._writers[event.run_id] = self._make(folder, purge_step=record.epoch)
        seconds = record.train_seconds
        curves = {name: value for name, value in asdict(record).items() if name not in _AXES}
        values = {**curves, "images_per_second": record.samples / seconds if seconds else None}
        for name, value in values.items():
            if value is not None:
                self._writers[event.run_id].add_scalar(name, value, record.epoch)
