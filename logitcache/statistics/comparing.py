"""May a teacher be compared with another, row by row and view by view? Asked before any block is read."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from logitcache.errors import InputError, UnknownOriginWarning
from logitcache.statistics.stores import FeatureReader, MeasuredStore, Other
from logitcache.store import UNKNOWN

__all__ = ["check_views", "same_samples"]

_ADVICE = "compare the clean views alone (views = 'clean', --views clean)"


def same_samples(store: MeasuredStore, teacher: str, other: Other, split: str) -> FeatureReader:
    """The other teacher's reader, after a look at whether it saw the same samples.

    Raises:
        InputError: it has other samples, or classes.
    """
    reader, own = other.store.logits(other.teacher, split), store.logits(teacher, split)
    if (reader.samples, reader.classes) != (own.samples, own.classes):
        raise InputError(
            f"{other.teacher!r} of {other.store.url} has {reader.samples} samples of {reader.classes} classes in split "
            f"{split!r}, {teacher!r} has {own.samples} of {own.classes}; compare teachers of the same split"
        )
    known = {each.split(split).fingerprint for each in (store, other.store)} - {UNKNOWN}
    if len(known) > 1 or not np.array_equal(store.index(split), other.store.index(split)):
        raise InputError(
            f"split {split!r} of {other.store.url} has other samples than that of {store.url}; "
            "compare stores of one data set and split"
        )
    return reader


def check_views(store: MeasuredStore, teacher: str, split: str, others: Sequence[Other]) -> None:
    """Refuse to compare views beyond the clean one, which all stores have, where they may not be the same.

    Under one policy view v is the same however many views there are, so that the other may have more of them. Of
    imported logits the policy is not known, which an :class:`UnknownOriginWarning` says.

    Raises:
        InputError: the other has fewer views, other ones, or rendered them otherwise.
    """
    views = store.logits(teacher, split).views
    for other in others if views > 1 else ():
        there = other.store.logits(other.teacher, split).views
        if there < views:
            raise InputError(
                f"{teacher!r} has {views} views in split {split!r}, and {other.name(store)!r}, which it is compared "
                f"with, has {there}; {_ADVICE}, or cache the missing views"
            )
        if other.store.url != store.url:
            _check_policy(store, other.store, split)


def _check_policy(ours: MeasuredStore, theirs: MeasuredStore, split: str) -> None:
    """Compare what two stores say of their views."""
    policies = dict(ours.record.views), dict(theirs.record.views)
    if UNKNOWN in {policy.get("kind") for policy in policies}:
        warnings.warn(
            f"{ours.url} and {theirs.url} are compared view by view; nobody knows which views imported logits are of",
            UnknownOriginWarning,
            stacklevel=2,
        )
        return
    mine, its = policies
    keys = [key for key in sorted({*mine, *its}) if mine.get(key) != its.get(key)]
    if keys:
        raise InputError(
            f"views of {ours.url} are of {_entries(mine, keys)}, those of {theirs.url} of {_entries(its, keys)}; "
            f"{_ADVICE}"
        )
    probes = {store.split(split).probe for store in (ours, theirs)} - {None}
    if len(probes) > 1:
        raise InputError(
            f"the views of {ours.url} and {theirs.url} in split {split!r} are of one policy, but were rendered by "
            f"software that renders otherwise; {_ADVICE}"
        )


def _entries(policy: Mapping[str, Any], keys: Collection[str]) -> str:
    """Some entries of a view policy."""
    return ", ".join(f"{key} = {json.dumps(policy.get(key))}" for key in keys)
