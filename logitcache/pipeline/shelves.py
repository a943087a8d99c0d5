"""What steps of a run have opened, for the next ones: the data set, the store, and what the store said of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logitcache.address import Address
from logitcache.data import DataOptions, Split, open_data
from logitcache.soft_targets import CachedStore, open_store
from logitcache.store import store_info
from logitcache.store.backend import is_store

__all__ = ["DataShelf", "StoreShelf"]


class DataShelf:
    """Keeps the data set that was opened last, for who asks for the same next."""

    def __init__(self) -> None:
        self._options: DataOptions | None = None
        self._splits: Mapping[str, Split] = {}

    def open(self, options: DataOptions) -> Mapping[str, Split]:
        """The data set of these options."""
        if options != self._options:
            self._options, self._splits = None, {}  # the last one's memory is free before the next is opened
            self._splits = open_data(options)
            self._options = options
        return self._splits


class StoreShelf:
    """Keeps the store that was opened last, and what it said, until :meth:`forget`: to ask a bucket takes its time.

    Metadata of a store never change. What other commands add meanwhile is met by the next command.
    """

    def __init__(self) -> None:
        self._place: Address | None = None
        self._store: CachedStore | None = None
        self._info: dict[str, Any] | None = None
        self._teachers: dict[str, tuple[str, ...]] = {}

    def open(self, place: Address) -> CachedStore | None:
        """The store at an address, None where there is none yet."""
        if place != self._place:
            self.forget()
        if self._store is None and is_store(place):
            self._store, self._place = open_store(place), place
        return self._store

    def info(self, place: Address) -> Mapping[str, Any] | None:
        """What it holds, as :func:`logitcache.store.store_info` says; None where there is none yet."""
        store = self.open(place)
        if self._info is None and store is not None:
            self._info = store_info(store)
        return self._info

    def teachers(self, place: Address, split: str) -> tuple[str, ...]:
        """Names of its teachers in a split, none where there is no such split."""
        store = self.open(place)
        if store is None or split not in store.splits:
            return ()
        if split not in self._teachers:
            self._teachers[split] = store.teachers(split)
        return self._teachers[split]

    def forget(self) -> None:
        """Open it anew the next time: this command has written to it."""
        self._place = self._store = self._info = None
        self._teachers = {}
