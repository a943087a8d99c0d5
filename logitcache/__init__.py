"""logitcache: compute a teacher's logits once, store them with a proved bound, distil any number of students from them.

The public names, by what they are for::

    read a store           open_store, CachedStore, SoftTargets, CombineOptions, Stage
    one's own trainer      CachedDataset, CachedStream, FeatureTargets, epoch_view, losses
    write a store          create_store, TeacherWriter, and the records of what is written
    data, views, networks  open_data, memory_split, lazy_split, Renderer, ViewOptions, build_model
    statistics             measures of a store, by Dask
    errors                 LogitcacheError and its family, drawn in ``logitcache.errors``

Nothing is loaded before it is asked for: torch takes seconds, which ``logitcache --help`` must not cost.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logitcache import statistics as statistics
    from logitcache.data import DataOptions as DataOptions
    from logitcache.data import Split as Split
    from logitcache.data import lazy_split as lazy_split
    from logitcache.data import memory_split as memory_split
    from logitcache.data import open_data as open_data
    from logitcache.errors import CheckError as CheckError
    from logitcache.errors import DamageError as DamageError
    from logitcache.errors import DivergedError as DivergedError
    from logitcache.errors import InputError as InputError
    from logitcache.errors import LogitcacheError as LogitcacheError
    from logitcache.errors import MismatchError as MismatchError
    from logitcache.errors import MissingError as MissingError
    from logitcache.errors import RecipeError as RecipeError
    from logitcache.errors import RemoteError as RemoteError
    from logitcache.errors import StageWarning as StageWarning
    from logitcache.errors import UnknownOriginWarning as UnknownOriginWarning
    from logitcache.models import build_model as build_model
    from logitcache.models import model_names as model_names
    from logitcache.soft_targets import CachedDataset as CachedDataset
    from logitcache.soft_targets import CachedStore as CachedStore
    from logitcache.soft_targets import CachedStream as CachedStream
    from logitcache.soft_targets import CombineOptions as CombineOptions
    from logitcache.soft_targets import FeatureTargets as FeatureTargets
    from logitcache.soft_targets import SoftTargets as SoftTargets
    from logitcache.soft_targets import epoch_view as epoch_view
    from logitcache.soft_targets import open_store as open_store
    from logitcache.store import Encoding as Encoding
    from logitcache.store import EncodingOptions as EncodingOptions
    from logitcache.store import Sample as Sample
    from logitcache.store import SplitContent as SplitContent
    from logitcache.store import SplitRecord as SplitRecord
    from logitcache.store import Stage as Stage
    from logitcache.store import StoreRecord as StoreRecord
    from logitcache.store import TeacherContent as TeacherContent
    from logitcache.store import TeacherRecord as TeacherRecord
    from logitcache.store import TeacherWriter as TeacherWriter
    from logitcache.store import choose_encoding as choose_encoding
    from logitcache.store import create_store as create_store
    from logitcache.student import losses as losses
    from logitcache.views import MixOptions as MixOptions
    from logitcache.views import Rendered as Rendered
    from logitcache.views import Renderer as Renderer
    from logitcache.views import ViewOptions as ViewOptions

__version__ = "0.1.0"

_NAMES = {
    "logitcache.data": ("DataOptions", "Split", "lazy_split", "memory_split", "open_data"),
    "logitcache.errors": (
        "CheckError",
        "DamageError",
        "DivergedError",
        "InputError",
        "LogitcacheError",
        "MismatchError",
        "MissingError",
        "RecipeError",
        "RemoteError",
        "StageWarning",
        "UnknownOriginWarning",
    ),
    "logitcache.models": ("build_model", "model_names"),
    "logitcache.soft_targets": (
        "CachedDataset",
        "CachedStore",
        "CachedStream",
        "CombineOptions",
        "FeatureTargets",
        "SoftTargets",
        "epoch_view",
        "open_store",
    ),
    "logitcache.store": (
        "Encoding",
        "EncodingOptions",
        "Sample",
        "SplitContent",
        "SplitRecord",
        "Stage",
        "StoreRecord",
        "TeacherContent",
        "TeacherRecord",
        "TeacherWriter",
        "choose_encoding",
        "create_store",
    ),
    "logitcache.statistics": ("statistics",),
    "logitcache.student.losses": ("losses",),
    "logitcache.views": ("MixOptions", "Rendered", "Renderer", "ViewOptions"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Load a public name's module when the name is first asked for (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(home)
    value = module if home.endswith(f".{name}") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All names, loaded or not."""
    return sorted({*globals(), *__all__})
