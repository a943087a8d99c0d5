"""The store: logits in Zarr v3, chunked, compressed, checked. ``schema`` holds the format on one page.

Data flows from ``write`` through ``encodings`` and ``schema`` to a ``backend``, and back through ``read``;
``calibration`` chooses an encoding, ``commits`` says which blocks exist and how exact they are, ``verify`` whether they
are intact, ``staging`` keeps copies of shards on this machine.
Nothing here knows teachers, views or students.
"""

from logitcache.store.calibration import choose_encoding
from logitcache.store.choices import Choice, Sample, answers
from logitcache.store.encodings import Encoding, EncodingOptions, describe, resolve
from logitcache.store.identity import UNKNOWN, SplitRecord, StoreRecord, TeacherRecord
from logitcache.store.info import store_info
from logitcache.store.read import LogitsReader, Store, open_store
from logitcache.store.stage_options import StageOptions
from logitcache.store.staging import Stage, Tally
from logitcache.store.verify import verify
from logitcache.store.write import SplitContent, TeacherContent, TeacherWriter, create_store

__all__ = [
    "UNKNOWN",
    "Choice",
    "Encoding",
    "EncodingOptions",
    "LogitsReader",
    "Sample",
    "SplitContent",
    "SplitRecord",
    "Stage",
    "StageOptions",
    "Store",
    "StoreRecord",
    "Tally",
    "TeacherContent",
    "TeacherRecord",
    "TeacherWriter",
    "answers",
    "choose_encoding",
    "create_store",
    "describe",
    "open_store",
    "resolve",
    "store_info",
    "verify",
]
