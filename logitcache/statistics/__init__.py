"""Measures of a store's logits, computed by Dask block by block and written as CSV files.

* ``arrays``: the store as lazy Dask arrays, one task a block.
* ``measures``: what is counted in one block, and how two counts become one; pure functions.
* ``compute``: from a store and trained students to tables and their files.
"""

from logitcache.statistics.arrays import LogitReader, LogitStore, array
from logitcache.statistics.compute import TAUS, Table, compute, run, write

__all__ = ["TAUS", "LogitReader", "LogitStore", "Table", "array", "compute", "run", "write"]
