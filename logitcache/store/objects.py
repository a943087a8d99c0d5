"""A store in an object store (S3, GCS, Azure), through obstore.

An object is one conditional PUT, so it appears whole, and only where nothing stands. What fails in passing (5xx, time
limits, broken connections) is asked again here, and not by obstore, which does not repeat a conditional PUT whose
outcome is unknown: when such a PUT finds an object the next time, that is ours if its bytes are.

Credentials come from the environment, or from what the provider gives the machine. None is kept here, so that none
travels to other processes with a store, or gets into a message.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any, TypeVar

from logitcache.address import RemotePlace, remote_place
from logitcache.errors import DamageError, InputError
from logitcache.records import fingerprint
from logitcache.store.keys import is_key
from logitcache.store.object_troubles import Trouble, diagnose, told

__all__ = ["ObjectBackend", "Patience"]

T = TypeVar("T")

_used_in: set[int] = set()
"""The process that has used a client; a fork of it finds its parent here and must not."""


@dataclass(frozen=True)
class Patience:
    """How often and how long an object store is asked; times in seconds.

    Attributes:
        tries: requests before it is given up.
        first_wait: the longest pause after the first; each further one is twice as long at most.
        longest_wait: no pause is longer. Its length is random, so that many clients do not come back at once.
        timeout: for a whole request, its body included.
        connect_timeout: until there is a connection.
    """

    tries: int = 12
    first_wait: float = 0.1
    longest_wait: float = 10.0
    timeout: float = 120.0
    connect_timeout: float = 10.0

    def pause(self, failed: int) -> None:
        """Wait after so many failures."""
        time.sleep(random.uniform(0, min(self.longest_wait, self.first_wait * 2 ** (failed - 1))))  # noqa: S311


PATIENCE = Patience()

_TRIES_FOR_CREDENTIALS = 3
"""The service that gives a machine credentials may fail in passing; mostly there is none."""

_clients: dict[tuple[RemotePlace, Patience, str], Any] = {}
"""Clients that are open: one holds connections, and credentials that a machine was given for a while."""


class _AgainError(Exception):
    """An answer that is no failure, and yet has to be asked for again: a conflict of two writers, or half a body."""


class ObjectBackend:
    """A store below a prefix of a bucket.

    Every method raises DamageError for a key that leaves the store, RemoteError where the object store cannot be
    reached or refuses, and InputError in a fork of a process that has used a client: it would hang there.
    """

    remote = True

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        self._place = remote_place(url)
        self._patience = patience or PATIENCE
        self._obstore, self._exceptions = _library(self._place)
        self._client: Any = None

    def __reduce__(self) -> tuple[type[ObjectBackend], tuple[str, Patience]]:
        """Only the address travels to other processes; they have credentials of their own."""
        return ObjectBackend, (str(self._place), self._patience)

    def get(self, key: str, limit: int | None = None) -> bytes | None:
        """The object's bytes, None where there is none; DamageError where it has more than ``limit``."""
        return self._ask(lambda client, _: self._get(client, _checked(key, self._place), limit))

    def put(self, key: str, data: bytes) -> bool:
        """Store an object durably where none stands yet; False, and nothing changed, where one does."""
        _checked(key, self._place)

        def put(client: Any, failed: int) -> bool:
            try:
                self._obstore.put(client, key, data, mode="create", use_multipart=False)
            except (self._exceptions.AlreadyExistsError, self._exceptions.PreconditionError):
                standing = self._get(client, key) if failed else self._head(client, key)
                if standing is None:  # S3 answers "conflict" where two write at once, or one deletes
                    raise _AgainError("two writers met") from None
                return failed > 0 and standing == data
            return True

        return self._ask(put)

    def replace(self, key: str, data: bytes) -> None:
        """Store an object durably in the place of what stands there; readers see the one or the other, whole."""
        _checked(key, self._place)
        self._ask(lambda client, _: self._obstore.put(client, key, data, use_multipart=False))

    def size(self, key: str) -> int | None:
        """The object's length in bytes, None where there is none."""
        return self._ask(lambda client, _: self._head(client, _checked(key, self._place)))

    def names(self, folder: str) -> set[str]:
        """Names of the objects and folders directly in a folder, empty where it does not exist."""
        prefix = _checked(folder, self._place) if folder else None
        found = self._ask(lambda client, _: self._obstore.list_with_delimiter(client, prefix))
        paths = [*found["common_prefixes"], *(each["path"] for each in found["objects"])]
        names = {str(path).rstrip("/").rpartition("/")[2] for path in paths}
        return {name for name in names if is_key(name)}

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""

        def delete(client: Any, _: int) -> None:
            try:
                self._obstore.delete(client, _checked(key, self._place))
            except FileNotFoundError as error:
                self._check_bucket(error)

        self._ask(delete)

    def sweep(self) -> None:
        """Nothing: an upload that was broken off leaves nothing behind."""

    def _get(self, client: Any, key: str, limit: int | None = None) -> bytes | None:
        """One try to read an object."""
        try:
            answer = self._obstore.get(client, key)
        except FileNotFoundError as error:
            self._check_bucket(error)
            return None
        size: int = answer.meta["size"]
        if limit is not None and size > limit:
            raise DamageError(f"{key} is damaged: it has {size} bytes, at most {limit} are allowed")
        data = bytes(answer.bytes())
        if len(data) != size:
            raise _AgainError("the answer was cut off")
        return data

    def _head(self, client: Any, key: str) -> int | None:
        """One try to read an object's length."""
        try:
            return int(self._obstore.head(client, key)["size"])
        except FileNotFoundError as error:
            self._check_bucket(error)
            return None

    def _check_bucket(self, error: Exception) -> None:
        """Tell an object that is not there from a bucket that is not there."""
        trouble = diagnose(error)
        if trouble.kind == "bucket":
            raise told(trouble, self._place, 1) from None

    def _ask(self, act: Callable[[Any, int], T]) -> T:
        """Do what is given a client and how often it has failed before, until it succeeds or patience ends."""
        client = self._connected()
        failed = 0
        while True:
            try:
                return act(client, failed)
            except FileNotFoundError:  # of a put: nothing but its bucket can be missing
                trouble = Trouble("bucket", "not found", final=True)
            except self._exceptions.BaseError as error:
                trouble = diagnose(error)
            except _AgainError as error:
                trouble = Trouble("connection", str(error), final=False)
            failed += 1
            tries = _TRIES_FOR_CREDENTIALS if trouble.kind == "no credentials" else self._patience.tries
            if trouble.final or failed >= tries:
                raise told(trouble, self._place, failed) from None  # the cause may repeat keys
            self._patience.pause(failed)

    def _connected(self) -> Any:
        """The client of this process, made when it is first needed."""
        if _used_in - {os.getpid()}:
            raise InputError(
                f"{self._place}: this process was forked from one that has used an object store, in which a client "
                'hangs; start processes by "forkserver" or "spawn"'
            )
        if self._client is None:
            _used_in.add(os.getpid())
            known = self._place, self._patience, _environment()
            try:
                self._client = _clients.get(known) or _clients.setdefault(known, _open(self._place, self._patience))
            except (self._exceptions.BaseError, ValueError) as error:
                raise told(diagnose(error), self._place, 1) from None
        return self._client


def _library(place: RemotePlace) -> tuple[Any, Any]:
    """The library, obstore, and its exceptions.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module("obstore"), import_module("obstore.exceptions")
    except ImportError:
        raise InputError(
            f"{place} is in an object store, which needs obstore: install logitcache with the extra s3, "
            "pip install 'logitcache[s3]'"
        ) from None


def _checked(key: str, place: RemotePlace) -> str:
    """The key, where an object can have it."""
    if not is_key(key) or not key.isprintable():
        raise DamageError(f"key {key!r} leaves the store {place}: no object can stand there")
    return key


def _environment() -> str:
    """A digest of the variables that decide what a client is."""
    decisive = ("AWS_", "GOOGLE_", "AZURE_", "HTTP", "http", "ALL_PROXY", "NO_PROXY", "no_proxy")
    return fingerprint({name: value for name, value in os.environ.items() if name.startswith(decisive)})


def _open(place: RemotePlace, patience: Patience) -> Any:
    """A client of obstore; retrying is left to us.

    Raises:
        InputError: the environment chooses a profile that is not there, or boto3, which reads it, is not installed.
    """
    stores = import_module("obstore.store")
    kind, variable = {
        "s3": (stores.S3Store, "AWS_ALLOW_HTTP"),
        "gs": (stores.GCSStore, "GOOGLE_ALLOW_HTTP"),
        "az": (stores.AzureStore, "AZURE_ALLOW_HTTP"),
    }[place.scheme]
    options = {
        "timeout": timedelta(seconds=patience.timeout),
        "connect_timeout": timedelta(seconds=patience.connect_timeout),
        "allow_http": os.environ.get(variable, "").lower() in {"1", "true", "yes"},
    }
    own = {"credential_provider": _profile(place)} if place.scheme == "s3" and _has_profile() else {}
    return kind(
        place.bucket, prefix=place.prefix or None, client_options=options, retry_config={"max_retries": 0}, **own
    )


def _has_profile() -> bool:
    """Whether the environment chooses a profile of the AWS command line, and names no keys, which come before it."""
    return bool(os.environ.get("AWS_PROFILE")) and not os.environ.get("AWS_ACCESS_KEY_ID")


def _profile(place: RemotePlace) -> Any:
    """What gives the credentials of that profile, which obstore by itself does not read."""
    try:
        provider = import_module("obstore.auth.boto3").Boto3CredentialProvider
        faults = import_module("botocore.exceptions").BotoCoreError, ValueError
    except ImportError:
        raise InputError(f"{place}: AWS_PROFILE is set, and boto3 reads profiles: pip install boto3") from None
    try:
        return provider()
    except faults:
        name = os.environ["AWS_PROFILE"]
        raise InputError(f"{place}: AWS_PROFILE = {name!r} names no profile with credentials on this machine") from None
