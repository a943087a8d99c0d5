"""A client of a Dask cluster: one that runs somewhere, or one of processes on this machine.

Workers of this machine have one thread: torch, encoders and the teacher are the parallelism inside of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from logitcache.errors import InputError

__all__ = ["ALLOWED_FAILURES", "ClusterOptions", "open_client"]

ALLOWED_FAILURES = 1000
"""Workers that may die of a task before Dask gives it up. Its default, 3, takes a task for the murderer of workers
that somebody else kills; on clusters that are not ours lost tasks are sent again instead."""

_OWN_CLUSTER = {
    "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
    "distributed.deploy.lost-worker-timeout": "1 hour",
}
"""While a cluster of this machine is open. Dask gives up a place whose worker died and has no successor after 15 s;
one that loads torch on a busy machine takes longer, and with the last place gone a command would wait for ever."""

_ANSWER_SECONDS = 20
_DASHBOARD = "127.0.0.1:0"  # nobody else's business, and any port that is free


@dataclass(frozen=True)
class ClusterOptions:
    """Where tasks run.

    Args:
        scheduler: address of a scheduler, tcp://HOST:PORT.
        workers: processes on this machine instead.
        gpus: whether each of these is to have a GPU of its own, where there are some and dask-cuda is installed.
    """

    scheduler: str | None = None
    workers: int | None = None
    gpus: bool = False

    def __post_init__(self) -> None:
        if self.scheduler is not None and self.workers is not None:
            raise InputError("--scheduler and --workers were both given; give the address of a cluster, or a number "
                             "of processes on this machine")  # fmt: skip
        if self.scheduler is not None and ":" not in self.scheduler:
            raise InputError(f"scheduler = {self.scheduler}: must be an address, for example tcp://host:8786")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers = {self.workers}: must be at least 1")

    @property
    def asked(self) -> bool:
        """Whether a cluster is asked for."""
        return self.scheduler is not None or self.workers is not None


@contextmanager
def open_client(options: ClusterOptions) -> Iterator[Any]:
    """A ``distributed.Client``, closed afterwards, with the cluster where it is ours.

    Raises:
        InputError: no scheduler answers at the address.
    """
    distributed: Any = import_module("distributed")  # its classes have no types
    if options.scheduler is None:
        config: Any = import_module("dask.config")
        with (
            config.set(_OWN_CLUSTER),
            _own_cluster(distributed, options) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = distributed.Client(options.scheduler, timeout=_ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {options.scheduler} ({error})") from error
    with client:
        yield client


def _own_cluster(distributed: Any, options: ClusterOptions) -> Any:
    """Processes of this machine, of one thread each."""
    gpus = import_module("torch").cuda.device_count() if options.gpus and find_spec("dask_cuda") is not None else 0
    if gpus:
        return import_module("dask_cuda").LocalCUDACluster(n_workers=min(options.workers or gpus, gpus))
    return distributed.LocalCluster(n_workers=options.workers, threads_per_worker=1, dashboard_address=_DASHBOARD)
