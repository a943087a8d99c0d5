"""Walk the runs of a sweep, in this process or in several: finished ones are skipped, failed ones are tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from logitcache.errors import CheckError
from logitcache.sweep.attempts import Failure
from logitcache.sweep.cluster_work import work_on_cluster
from logitcache.sweep.events import Ended, Listener, Progress, on_epochs, to_all
from logitcache.sweep.grid import RunSpec
from logitcache.sweep.logs import TensorBoard, load_hook
from logitcache.sweep.options import SweepOptions
from logitcache.sweep.results import failed_record, finished_runs, run_folder, write_record, write_results
from logitcache.sweep.units import Unit, drop_group, plan_units, tidy
from logitcache.sweep.workers import work_here, work_in_processes
from logitcache.sweep.workshop import SweepContext
from logitcache.threads import cores

__all__ = ["default_processes", "own_listeners", "run_sweep"]


def default_processes(device: str, runs: int) -> int:
    """One process a core with one thread each on CPU, where small students do not fill two; one on a GPU."""
    return 1 if device != "cpu" else max(1, min(runs, cores()))


def run_sweep(
    context: SweepContext,
    specs: Sequence[RunSpec],
    options: SweepOptions | None = None,
    *,
    progress: Progress | None = None,
    listeners: Sequence[Listener] = (),
    client: Any = None,
) -> int:
    """Train all runs that are not finished, then write ``results.csv``; returns how many there were to train.

    Runs that need a teacher in every step are left alone where the context has none; what they left is in the results.
    A run that diverges is recorded as such. One that fails, or whose process dies, stops no other: it is tried again
    as often as the options say, then recorded as failed, and tried again by the next sweep.

    Args:
        context: where data, store and results are.
        specs: the runs.
        options: which of them train together, in how many processes, and who is told.
        progress: called in this process with a run's id and the record of each of its epochs.
        listeners: told of all events, in this process.
        client: a ``distributed.Client`` whose workers train the runs; they see data, store and results under the same
            paths.

    Raises:
        CheckError: runs failed, with the names and the reasons; all others are trained.
        ListenerError: ``progress``, a hook or another listener raised an error; the sweep stopped.
    """
    options = options or SweepOptions()
    tell = to_all([*listeners, *own_listeners(context, options, progress)])
    if not specs:
        return 0
    tidy(context.out, specs)
    own = [spec for spec in specs if context.trains(spec)]
    missing = len(own) - len(finished_runs(context.out, own))
    context = replace(context, way=options.way, stage=options.staging)
    units = plan_units(context.out, own, options, context.device)
    ledger = _Ledger(context.out, options.retries, tell)
    processes = options.processes or default_processes(context.device, len(units))
    try:
        if client is not None:
            work_on_cluster(context, units, client, ledger.settle, tell)
        elif min(processes, len(units)) > 1:
            work_in_processes(context, units, min(processes, len(units)), ledger.settle, tell)
        else:
            work_here(context, units, ledger.settle, tell)
    finally:
        tidy(context.out, specs)
        write_results(context.out, specs)
    ledger.check()
    return missing


def own_listeners(context: SweepContext, options: SweepOptions, progress: Progress | None = None) -> list[Listener]:
    """The listeners that an argument and the options name."""
    listeners: list[Listener] = [] if progress is None else [on_epochs(progress)]
    if options.tensorboard:
        listeners.append(TensorBoard(context.out / "students"))
    if options.hook is not None:
        listeners.append(load_hook(options.hook))
    return listeners


class _Ledger:
    """Counts attempts, and says what is to be tried again."""

    def __init__(self, out: Path, retries: int, tell: Listener) -> None:
        self._out, self._retries, self._tell = out, retries, tell
        self._failures: Counter[str] = Counter()
        self._given_up: dict[str, str] = {}
        """Why, by run id."""

    def settle(self, unit: Unit, failure: Failure | None) -> list[Unit]:
        """What to train because of how a unit ended.

        A stack whose process died is tried again as it is. One that failed otherwise falls apart, which counts as no
        attempt: one of its runs may be the cause, or their number.
        """
        if failure is None:
            return []
        done = finished_runs(self._out, unit.specs)
        open_specs = [spec for spec in unit.specs if spec.run_id not in done]
        if unit.stacked and not failure.died:
            drop_group(self._out, unit)
            return [Unit((spec,)) for spec in open_specs]
        self._failures.update(spec.run_id for spec in open_specs)
        again = [spec for spec in open_specs if self._failures[spec.run_id] <= self._retries]
        for spec in open_specs:
            if spec not in again:
                self._give_up(spec, failure.reason)
        return [unit] if again else []

    def check(self) -> None:
        """Raise CheckError where runs failed."""
        if self._given_up:
            by_reason: dict[str, list[str]] = {}
            for run_id, reason in self._given_up.items():
                by_reason.setdefault(reason, []).append(run_id)
            lines = [f"{reason} ({', '.join(run_ids)})" for reason, run_ids in by_reason.items()]
            raise CheckError(
                f"{len(self._given_up)} runs failed; all others are trained. Run the same command again to retry: "
                + "\n".join(lines)
            )

    def _give_up(self, spec: RunSpec, reason: str) -> None:
        """Record a run as failed."""
        record = failed_record(spec, reason)
        write_record(run_folder(self._out, spec), record)
        self._given_up[spec.run_id] = reason
        self._tell(Ended(spec.run_id, record))
