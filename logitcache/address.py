"""Where a store is: a folder, or an address of an object store as ``s3://bucket/prefix``, which is always text.

An address names no credentials: those come from the environment or from what the provider's machines are given. One
that seems to hold some is refused, and what it says is not repeated, for messages end up in logs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from logitcache.errors import InputError

__all__ = [
    "Address",
    "RemotePlace",
    "as_address",
    "is_remote",
    "local_path",
    "remote_place",
    "same_place",
    "without_secrets",
]

Address: TypeAlias = str | Path
"""A folder, or text as ``s3://bucket/prefix``; text without ``://`` is a folder too."""

SCHEMES = ("s3", "gs", "az")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SWALLOWED = re.compile(r"(?:s3|gs|az):/[^/]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_SECRETIVE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:[^\s\"']*[@?#]|[^\s\"'/]*:[^\s\"'/]*[^\s\"'/0-9])[^\s\"']*")
_FORMS = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX and az://CONTAINER/PREFIX"


@dataclass(frozen=True)
class RemotePlace:
    """What an address of an object store says."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        """The address as we write it: without a slash at its end."""
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def is_remote(address: Address) -> bool:
    """Whether this is an address, and no folder."""
    return _SCHEME.match(str(address)) is not None


def as_address(text: Address) -> Address:
    """The folder that a text names, or the address as we write it.

    Raises:
        InputError: see :func:`remote_place`.
    """
    return str(remote_place(text)) if is_remote(text) else local_path(text)


def remote_place(address: Address) -> RemotePlace:
    """The parts of an address.

    Raises:
        InputError: it is of another scheme, seems to hold credentials, or names no bucket or no plain prefix.
    """
    text = str(address)
    scheme, _, rest = text.partition("://")
    if scheme not in SCHEMES:
        raise InputError(f"{_shown(scheme)}://...: stores are kept in folders and at {_FORMS}")
    if any(mark in rest for mark in "@?#"):
        raise InputError(
            f"{scheme}://...: an address has no user, password, query or fragment (no @, ? or #); it is {_FORMS}, and "
            "credentials come from the environment alone"
        )
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise InputError(f"{scheme}://...: this names no bucket; allowed are {_FORMS}")
    prefix = prefix.removesuffix("/")
    if prefix and any(part in {"", ".", ".."} or not part.isprintable() for part in prefix.split("/")):
        raise InputError(f"{text}: the prefix has an empty part, . or ..; allowed are plain names between slashes")
    return RemotePlace(scheme, bucket, prefix)


def local_path(address: Address) -> Path:
    """The folder that an address names.

    Raises:
        InputError: it is of an object store, or was one until it was made a ``Path``, which takes a slash away.
    """
    if is_remote(address):
        raise InputError(f"{as_address(address)} is not a folder of this machine; a folder is needed here")
    if isinstance(address, Path) and _SWALLOWED.match(str(address)):
        fixed = str(address).replace(":/", "://", 1)
        raise InputError(f"Path({fixed!r}) is no address, for Path takes a slash away: give it as text")
    return Path(address)


def same_place(one: Address, other: Address) -> bool:
    """Whether two addresses are of one store, as far as can be told from them; links are followed."""
    if is_remote(one) or is_remote(other):
        return is_remote(one) and is_remote(other) and remote_place(one) == remote_place(other)
    return local_path(one).resolve() == local_path(other).resolve()


def without_secrets(text: str) -> str:
    """A text for a message, what may be credentials in its addresses left out."""
    return _SECRETIVE.sub(r"\1://...", text)


def _shown(scheme: str) -> str:
    """A scheme, where it may be one, for a message."""
    return scheme if _SCHEME.fullmatch(f"{scheme}://") else "..."
