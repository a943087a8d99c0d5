"""Bring a store's metadata into being, or find that what stands there is the same; never change anything.

Beside the metadata stand their digests, one ``digests.json`` for each split and teacher; what differs is a finding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from logitcache.errors import DamageError, MismatchError
from logitcache.records import BlockId, canonical_json, sha256
from logitcache.store.backend import Backend, is_key, side_by_side
from logitcache.store.documents import LARGEST_DOCUMENT, pack, parse, read_attributes, read_json, unpack
from logitcache.store.identity import ATTRIBUTE

__all__ = ["Finding", "Objects", "check_digests", "digest_findings", "digests_key", "settle"]

_NAMES = {
    "classes": "the list of classes",
    "commit_group": "the number of blocks whose commits are together",
    "dataset": "the data set",
    "encoding": "the encoding",
    "features": "the width of stored features",
    "fingerprint": "the data set's fingerprint",
    "format_version": "the format version",
    "model": "the teacher's architecture",
    "noise": "the noise of the labels",
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


@dataclass(frozen=True)
class Finding:
    """One object of a store that is missing or not what was written.

    Attributes:
        kind: ``metadata``, ``commit`` (a record of commits) or ``block`` (a shard, or a commit that was never made).
        key: the object's key.
        problem: what is wrong with it.
        blocks: the blocks that it takes away; none for metadata.
    """

    kind: Literal["metadata", "commit", "block"]
    key: str
    problem: str
    blocks: tuple[BlockId, ...] = ()

    @property
    def where(self) -> str:
        """The name of the block, of the object where it is none of a block."""
        return str(self.blocks[0]) if self.kind == "block" else self.key

    def __str__(self) -> str:
        """The finding on one line; a problem that names the place already does not get it twice."""
        return self.problem if self.where in self.problem else f"{self.where}: {self.problem}"


def digests_key(array: str) -> str:
    """Where the digests of a group of objects stand: a file under an array does not disturb Zarr's listing."""
    return f"{array}/digests.json"


def settle(backend: Backend, groups: Sequence[Objects]) -> None:
    """Put all objects that are not there yet, after comparing all that are; their digests come last.

    Raises:
        MismatchError: what is there is another store; nothing was written.
    """
    for group in groups:
        metadata = [key for key in group.objects if key.endswith("zarr.json")]
        for key, stored in zip(metadata, side_by_side(backend, backend.get, metadata), strict=True):
            if stored is not None:
                _compare(key, stored, group.objects[key])
    for group in groups:
        if backend.size(digests_key(group.array)) is None:
            digests = dict(side_by_side(backend, partial(_put, backend), group.objects.items()))
            backend.put(digests_key(group.array), pack(digests))


def _put(backend: Backend, item: tuple[str, bytes]) -> tuple[str, str]:
    """Put one object, and digest what stands there: another writer may have been the first."""
    key, wanted = item
    data = wanted if backend.put(key, wanted) else backend.get(key) or b""
    return key, sha256(data)


def check_digests(backend: Backend, array: str, known: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """Compare objects with their recorded digests.

    Args:
        backend: where they are.
        array: in whose folder the digests are.
        known: objects that were read already, by key; they are compared and not read again.

    Returns:
        Those of them that are metadata, ``zarr.json`` each, by key.

    Raises:
        DamageError: naming the first object that is missing or differs.
    """
    findings, metadata = _compared(backend, array, known or {})
    for finding in findings:
        raise DamageError(finding.problem)
    return metadata


def digest_findings(backend: Backend, array: str) -> list[Finding]:
    """All objects that are not what their digests say, in order; the digests are those in the folder of ``array``."""
    return _compared(backend, array, {})[0]


def _compared(backend: Backend, array: str, known: Mapping[str, bytes]) -> tuple[list[Finding], dict[str, bytes]]:
    """Findings, and the metadata among the objects that are none."""
    try:
        digests = _digests(backend, array)
    except DamageError as error:
        return [Finding("metadata", digests_key(array), str(error))], {}
    findings: list[Finding] = []
    metadata: dict[str, bytes] = {}
    looks = side_by_side(backend, lambda key: _look(backend, key, digests[key], known.get(key)), sorted(digests))
    for key, found in zip(sorted(digests), looks, strict=True):
        if isinstance(found, str):
            findings.append(Finding("metadata", key, found))
        elif found is not None:
            metadata[key] = found
    return findings, metadata


def _digests(backend: Backend, array: str) -> dict[str, str]:
    """SHA-256 by key; the keys come from a file: only those of its own split or teacher, and the root's, are taken."""
    key, folder = digests_key(array), array.rpartition("/")[0]
    data = backend.get(key, LARGEST_DOCUMENT)
    if data is None:
        raise DamageError(f"{key} is missing: the store's creation was interrupted; run the same command again")
    digests = parse(dict[str, str], unpack(data, key), key)
    for name in digests:
        if not is_key(name) or not (name == "zarr.json" or name.startswith(f"{folder}/")):
            raise DamageError(f"{key} is damaged: it names {name!r}, which is not below {folder}")
    return digests


def _look(backend: Backend, key: str, digest: str, known: bytes | None) -> str | bytes | None:
    """What is wrong with an object, in words; where nothing is, its bytes if it is metadata."""
    try:
        stored = backend.get(key) if known is None else known
    except DamageError as error:
        return str(error)
    if stored is None:
        return f"{key} is missing"
    if sha256(stored) != digest:
        return f"{key} is damaged: its bytes are not those that were written"
    return stored if key.rpartition("/")[2] == "zarr.json" else None


def _compare(key: str, stored: bytes, wanted: bytes) -> None:
    """Raise when a metadata object differs in what matters."""
    have = read_json(stored, key)
    if not isinstance(have, dict):
        raise DamageError(f"{key} is damaged: it is no Zarr metadata")
    ours, theirs = (read_attributes(data, key, ATTRIBUTE) for data in (wanted, stored))
    for name in {**ours, **theirs}:
        if _plain(ours.get(name)) != _plain(theirs.get(name)):
            raise _mismatch(key, name, theirs.get(name), ours.get(name))
    want = json.loads(wanted)
    for name in ("node_type", "shape", "data_type", "chunk_grid", "codecs", "fill_value"):
        if have.get(name) != want.get(name):
            raise _mismatch(key, name, have.get(name), want.get(name))


def _mismatch(key: str, name: str, stored: Any, given: Any) -> MismatchError:
    """The error with both values, long ones with their fingerprints and the part that differs."""
    what = f"{_NAMES.get(name, name)} ({key.removesuffix('/zarr.json')})"
    shown = [_show(stored), _show(given)]
    if all(value is None or isinstance(value, dict) for value in (stored, given)):
        tables = [value or {} for value in (stored, given)]
        parts = [k for k in sorted({*tables[0], *tables[1]}) if _plain(tables[0].get(k)) != _plain(tables[1].get(k))]
        differing = (", ".join(f"{k}={_show(table.get(k))}" for k in parts) for table in tables)
        shown = [f"{text} ({values})" for text, values in zip(shown, differing, strict=True)]
    return MismatchError(what, shown[0], shown[1], "use another store or the recipe that made this one")


def _show(value: Any) -> str:
    """A short value as it is, a long one by its fingerprint."""
    text = canonical_json(value).decode()
    return text if len(text) <= 40 else f"fingerprint {sha256(text.encode())[:16]}"


def _plain(value: Any) -> Any:
    """A value as it looks after JSON, so that tuples equal lists."""
    return json.loads(canonical_json(value))
