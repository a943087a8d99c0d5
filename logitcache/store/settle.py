"""Bring a store's metadata into being, or find that what stands there is the same; never change anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logitcache.errors import DamageError, MismatchError
from logitcache.records import canonical_json, sha256
from logitcache.store import schema
from logitcache.store.backend import Backend
from logitcache.store.identity import attributes_of

__all__ = ["Objects", "check_digests", "digests_key", "settle"]

_NAMES = {
    "classes": "the list of classes",
    "dataset": "the data set",
    "encoding": "the encoding",
    "features": "the width of stored features",
    "fingerprint": "the data set's fingerprint",
    "format_version": "the format version",
    "model": "the teacher's architecture",
    "precision": "the precision of inference",
    "probe": "the rendering of views (torchvision or Pillow may have changed)",
    "samples": "the number of samples",
    "views": "the view policy",
    "weights": "the teacher's weight fingerprint",
}


@dataclass(frozen=True)
class Objects:
    """Objects of a store that belong together, and the array in whose folder their digests stand."""

    objects: Mapping[str, bytes]
    array: str


def digests_key(array: str) -> str:
    """Where the digests of a group of objects stand: a file under an array does not disturb Zarr's listing."""
    return f"{array}/digests.json"


def settle(backend: Backend, groups: Sequence[Objects]) -> None:
    """Put all objects that are not there yet, after comparing all that are; their digests come last.

    Raises:
        MismatchError: what is there is another store; nothing was written.
    """
    for group in groups:
        for key, wanted in group.objects.items():
            stored = backend.get(key)
            if stored is not None and key.endswith("zarr.json"):
                _compare(key, stored, wanted)
    for group in groups:
        if backend.size(digests_key(group.array)) is None:
            for key, wanted in group.objects.items():
                backend.put(key, wanted)
            digests = {key: sha256(backend.get(key) or b"") for key in group.objects}
            backend.put(digests_key(group.array), schema.pack(digests))


def check_digests(backend: Backend, array: str) -> None:
    """Compare objects with their recorded digests.

    Raises:
        DamageError: naming the first object that is missing or differs.
    """
    key = digests_key(array)
    data = backend.get(key)
    if data is None:
        raise DamageError(f"{key} is missing: the store's creation was interrupted; run the same command again")
    for name, digest in schema.unpack(data, key).items():
        stored = backend.get(name)
        if stored is None:
            raise DamageError(f"{name} is missing")
        if sha256(stored) != digest:
            raise DamageError(f"{name} is damaged: its bytes are not those that were written")


def _compare(key: str, stored: bytes, wanted: bytes) -> None:
    """Raise when a metadata object differs in what matters."""
    try:
        have = json.loads(stored)
    except ValueError as error:
        raise DamageError(f"{key} is damaged: {error}") from error
    ours, theirs = attributes_of(wanted), attributes_of(stored)
    for name in ours:
        if _plain(ours[name]) != _plain(theirs.get(name)):
            raise _mismatch(key, name, theirs.get(name), ours[name])
    want = json.loads(wanted)
    for name in ("node_type", "shape", "data_type", "chunk_grid", "codecs", "fill_value"):
        if have.get(name) != want.get(name):
            raise _mismatch(key, name, have.get(name), want.get(name))


def _mismatch(key: str, name: str, stored: Any, given: Any) -> MismatchError:
    """The error with both values, long ones with their fingerprints and the part that differs."""
    what = f"{_NAMES.get(name, name)} ({key.removesuffix('/zarr.json')})"
    shown = [_show(stored), _show(given)]
    if isinstance(stored, dict) and isinstance(given, dict):
        parts = [k for k in sorted({*stored, *given}) if _plain(stored.get(k)) != _plain(given.get(k))]
        shown = [f"{_show(v)} ({', '.join(f'{k}={_show(v.get(k))}' for k in parts)})" for v in (stored, given)]
    return MismatchError(what, shown[0], shown[1], "use another store or the recipe that made this one")


def _show(value: Any) -> str:
    """A short value as it is, a long one by its fingerprint."""
    text = canonical_json(value).decode()
    return text if len(text) <= 40 else f"fingerprint {sha256(text.encode())[:16]}"


def _plain(value: Any) -> Any:
    """A value as it looks after JSON, so that tuples equal lists."""
    return json.loads(canonical_json(value))
