"""Logits that a plan weighs encodings on: rows of a file, or of a store that is there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from logitcache.address import Address, is_remote, local_path
from logitcache.errors import InputError
from logitcache.formats import SourceOptions, open_source
from logitcache.keyed import choose, shuffled
from logitcache.store import LogitsReader, Sample, Store, describe, open_store
from logitcache.store.backend import is_store
from logitcache.store.choices import sample_rows

__all__ = ["Calibration", "load_sample"]

_FILES = ("npy", "npz", "safetensors")
_BLOCKS = 16
"""Blocks of a store that rows are taken from: reading single rows of all blocks would decode the whole view."""
_SEED = 0


@dataclass(frozen=True)
class Calibration:
    """A sample of logits, and what people should know of it."""

    sample: Sample
    said: str


def load_sample(place: Address, classes: int, stored_rows: int, teachers: Collection[str]) -> Calibration:
    """Random rows of the clean view in a file (.npy, .npz, .safetensors) or a store.

    Args:
        place: the file, the store's folder, or its address.
        classes: logits a row that the planned store will have.
        stored_rows: rows that it will have, which share the bytes of a transform.
        teachers: names of the planned teachers; a store of several must have one of them.

    Raises:
        InputError: there is no such file or store, it is of other classes, or holds no whole finite logits.
        DamageError: the store's bytes are not those that were committed.
    """
    if is_remote(place) or is_store(place):
        sample, said = _of_store(open_store(place), classes, teachers)
    else:
        sample, said = Sample(_of_file(place, classes), 0), ""
    finite = torch.isfinite(sample.logits).all(1)
    if not bool(finite.all()):
        raise InputError(f"{place}: logits of {int((~finite).sum())} rows of the sample are not finite; leave them out")
    said = f"measured on {len(sample.logits):,} rows of {place}{said}"
    return Calibration(replace(sample, stored_rows=stored_rows), said)


def _of_file(place: Address, classes: int) -> Tensor:
    """Rows of a file of whole logits."""
    source = open_source(local_path(place), SourceOptions())
    if source.format not in _FILES:
        raise InputError(f"{place} is of layout {source.format}; a sample is {', '.join(_FILES)}, or a store")
    _check_classes(place, source.classes, classes)
    rows = choose(source.samples, sample_rows(source.samples, classes), _SEED).tolist()
    picked = [np.asarray(source.read(0, range(row, row + 1)), np.float32) for row in rows]
    return torch.from_numpy(np.concatenate(picked))


def _of_store(store: Store, classes: int, teachers: Collection[str]) -> tuple[Sample, str]:
    """Rows of a few blocks of a store, drawn by key from those that are committed; with features where it has them."""
    split = "train" if "train" in store.splits else store.splits[0]
    known = store.teachers(split)
    name = next((name for name in known if len(known) == 1 or name in teachers), None)
    if name is None:
        raise InputError(
            f"{store.url} has the teachers {', '.join(known) or 'none'} in split {split!r}, and none is the recipe's; "
            "give a store with one of them, or with a single teacher"
        )
    reader = store.logits(name, split)
    _check_classes(store.url, reader.classes, classes)
    if not reader.encoding.whole:
        raise InputError(f"{store.url} keeps only the largest entries of {name!r}; a sample needs whole logits")
    exact = reader.encoding.kind == "lossless"
    less = "" if exact else f" ({describe(reader.encoding).split(',')[0]}: what is finer comes out too small)"
    logits, features = _some_rows(reader, sample_rows(reader.samples, classes))
    weight = None if features is None else store.classifier(name, split).get("weight")
    return Sample(logits, 0, features, None if weight is None else torch.from_numpy(weight)), less


def _some_rows(reader: LogitsReader, wanted: int) -> tuple[Tensor, Tensor | None]:
    """Logits and features of about so many rows of the clean view, or of as many as its committed blocks have."""
    there = (block for block in shuffled(reader.blocks, _SEED).tolist() if reader.has(0, block))
    blocks = sorted(islice(there, _BLOCKS))
    if not blocks:
        raise InputError(f"no block of the clean view of {reader.teacher!r} is committed; give another sample")
    share = -(-wanted // len(blocks))
    logits, features = [], []
    for block in blocks:
        count = len(reader.rows(block))
        rows = choose(count, min(share, count), _SEED, block)
        logits.append(torch.from_numpy(reader.read(0, block))[rows])
        if reader.record.features:
            features.append(torch.from_numpy(reader.features(0, block))[rows])
    return torch.cat(logits), torch.cat(features) if features else None


def _check_classes(place: Address, found: int, wanted: int) -> None:
    """Refuse a sample of other rows."""
    if found != wanted:
        raise InputError(f"{place} has rows of {found} logits, and the recipe's data set {wanted} classes")
