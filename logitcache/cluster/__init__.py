"""Work on a Dask cluster: opened by address or on this machine, and many small tasks sent to it, a few at a time.

``clients``  a client of a cluster
``window``   tasks in flight: lost ones are sent again, slow ones twice
"""

from logitcache.cluster.clients import ClusterOptions, open_client
from logitcache.cluster.window import TaskOptions, run_tasks

__all__ = ["ClusterOptions", "TaskOptions", "open_client", "run_tasks"]
