"""Where the objects of a store live: whole objects by key, put only where nothing stands yet.

An object appears whole or not at all: in a folder of a local disk (``local``), or in an object store (``objects``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from logitcache.address import Address, is_remote, local_path
from logitcache.store.keys import is_key
from logitcache.store.local import LocalBackend
from logitcache.store.objects import ObjectBackend
from logitcache.threads import mapped

__all__ = ["REQUESTS", "Backend", "LocalBackend", "ObjectBackend", "is_key", "is_store", "open_backend", "side_by_side"]

A = TypeVar("A")
B = TypeVar("B")

REQUESTS = 16
"""Requests to an object store that one step has under way at a time: each waits for the network, not for a core."""


class Backend(Protocol):
    """Whole objects by key; keys are relative paths with ``/``."""

    @property
    def remote(self) -> bool:
        """Whether a client speaks to another machine: one that was used before a fork hangs the child."""

    def get(self, key: str, limit: int | None = None) -> bytes | None:
        """The object's bytes, None where there is none; DamageError where it has more than ``limit``."""

    def put(self, key: str, data: bytes) -> bool:
        """Store an object durably where none stands yet; False, and nothing changed, where one does."""

    def replace(self, key: str, data: bytes) -> None:
        """Store an object durably in the place of what stands there; readers see the one or the other, whole."""

    def size(self, key: str) -> int | None:
        """The object's length in bytes, None where there is none."""

    def names(self, folder: str) -> set[str]:
        """Names of the objects and folders directly in a folder, empty where it does not exist."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""

    def sweep(self) -> None:
        """Remove what killed writers left aside."""


def open_backend(address: Address) -> Backend:
    """The backend of a store's address; nothing is read.

    Raises:
        InputError: it is no address of a store, or of an object store, and obstore is not installed.
    """
    return ObjectBackend(str(address)) if is_remote(address) else LocalBackend(local_path(address))


def is_store(address: Address) -> bool:
    """Whether a store, or the beginning of one, is there; errors as of :func:`open_backend`."""
    return open_backend(address).size("zarr.json") is not None


def side_by_side(backend: Backend, act: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """What ``act`` makes of each item, in order; requests to an object store wait for their answers together."""
    if not backend.remote:
        yield from map(act, items)
        return
    with ThreadPoolExecutor(REQUESTS, thread_name_prefix="requests") as pool:
        yield from mapped(pool, act, items, 2 * REQUESTS)
