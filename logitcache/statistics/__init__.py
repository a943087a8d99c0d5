"""What logits, soft targets and features of a store are like: measures, by Dask, in one pass over its blocks.

    tree = statistics.compute(open_store("store.zarr"), ["tau", "moments"], taus=[1, 4])
    tree["tau"].entropy          # xarray: (teacher, split, tau)

* ``block``, ``measure``: what a measure looks at, and what it is; ``catalogue`` names them all.
* ``moments``, ``histogram``, ``agreement``, ``softness``, ``topk``, ``covariance``: of one teacher's logits.
* ``pairs``, ``ensembles``, ``fidelity``, ``view_information``: of several teachers, or views.
* ``penultimate``, ``plane``, ``similarity``, ``label_quality``: of features, and of labels.
* ``stores``, ``labels``, ``comparing``, ``sources``: what is read, and whether it may be compared.
* ``passing``, ``watching``, ``measuring``: the pass, who looks on, results.
* ``writing``, ``running``, ``folders``: files.
* ``run_tables``, ``measures``, ``students``: the tables of a run that its report reads.
* ``arrays``: the store as lazy Dask arrays, for questions of one's own.
"""

from logitcache.statistics.arrays import LogitReader, LogitStore, array
from logitcache.statistics.block import Block
from logitcache.statistics.catalogue import CATALOGUE, LOGIT_MEASURES
from logitcache.statistics.folders import results_folder, student_runs
from logitcache.statistics.measure import About, Measure, Tally, ViewsMeasure
from logitcache.statistics.measuring import TAUS, compute
from logitcache.statistics.run_tables import Table, tables, write
from logitcache.statistics.running import run
from logitcache.statistics.stores import Other
from logitcache.statistics.writing import write_tree

__all__ = [
    "CATALOGUE",
    "LOGIT_MEASURES",
    "TAUS",
    "About",
    "Block",
    "LogitReader",
    "LogitStore",
    "Measure",
    "Other",
    "Table",
    "Tally",
    "ViewsMeasure",
    "array",
    "compute",
    "results_folder",
    "run",
    "student_runs",
    "tables",
    "write",
    "write_tree",
]
