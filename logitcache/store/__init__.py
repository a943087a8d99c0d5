"""The store: logits in Zarr v3, chunked, compressed, checked. ``schema`` holds the format on one page.

Data flows from ``write`` through ``encodings`` and ``schema`` to a ``backend``, and back through ``read``;
``commits`` says which blocks exist, ``fidelity`` how exact they are, ``verify`` whether they are intact.
Nothing here knows teachers, views or students.
"""

from logitcache.store.encodings import Encoding, EncodingOptions, resolve
from logitcache.store.identity import UNKNOWN, SplitRecord, StoreRecord, TeacherRecord
from logitcache.store.info import store_info
from logitcache.store.read import LogitsReader, Store, open_store
from logitcache.store.verify import verify
from logitcache.store.write import SplitContent, TeacherContent, TeacherWriter, create_store

__all__ = [
    "UNKNOWN",
    "Encoding",
    "EncodingOptions",
    "LogitsReader",
    "SplitContent",
    "SplitRecord",
    "Store",
    "StoreRecord",
    "TeacherContent",
    "TeacherRecord",
    "TeacherWriter",
    "create_store",
    "open_store",
    "resolve",
    "store_info",
    "verify",
]
