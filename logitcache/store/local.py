"""A store in a folder of a local disk.

An object is written to a file without a name (``O_TMPFILE``), synced, and linked to its name; a killed writer leaves
nothing behind. Where a file system has no nameless files, a named one stands aside meanwhile (``.partial``), and the
next writer that finishes sweeps it away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from logitcache.errors import DamageError
from logitcache.store.keys import is_key

__all__ = ["LocalBackend"]

_PARTIAL = ".partial"
_TRIES = 20


class LocalBackend:
    """A store in a folder of a local disk.

    Every method raises DamageError for a key that leaves the store.
    """

    remote = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str, limit: int | None = None) -> bytes | None:
        """The object's bytes, None where there is none; DamageError where it has more than ``limit``."""
        path, data = self._path(key), None
        with _absent(), _opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:  # a pipe must not keep us waiting
            status = os.fstat(descriptor)
            if limit is not None and status.st_size > limit:
                raise DamageError(f"{key} is damaged: it has {status.st_size} bytes, at most {limit} are allowed")
            if stat.S_ISREG(status.st_mode):
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    data = file.read()
        return data

    def put(self, key: str, data: bytes) -> bool:
        """Store an object durably where none stands yet; False, and nothing changed, where one does."""
        path = self._path(key)
        for _ in range(_TRIES):
            try:
                return self._put(path, data)
            except (FileNotFoundError, FileExistsError):
                # another writer has tidied the empty folder away: before we were in it, or while mkdir looked at it
                continue
        return self._put(path, data)

    def replace(self, key: str, data: bytes) -> None:
        """Store an object durably in the place of what stands there; readers see the one or the other, whole."""
        path = self._path(key)
        _make_folder(path.parent)
        with _aside(path, data) as aside:
            aside.replace(path)
        with _opened(path.parent) as folder:
            os.fsync(folder)

    def size(self, key: str) -> int | None:
        """The object's length in bytes, None where there is none."""
        found: list[int] = []
        with _absent():
            found.append(self._path(key).stat().st_size)
        return found[0] if found else None

    def names(self, folder: str) -> set[str]:
        """Names of the objects and folders directly in a folder, empty where it does not exist."""
        names: list[str] = []
        with _absent():
            names = os.listdir(self._path(folder) if folder else self.root)
        return {name for name in names if not name.endswith(_PARTIAL) and is_key(name)}

    def delete(self, key: str) -> None:
        """Remove an object, and its folder when that is empty; nothing happens where there is none."""
        path = self._path(key)
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def sweep(self) -> None:
        """Remove what killed writers left aside on file systems without nameless files.

        A writer that is just at work there finds its file gone and puts once more.
        """
        for folder, _, names in os.walk(self.root):  # unlike rglob, it passes over folders that vanish meanwhile
            for name in names:
                if name.endswith(_PARTIAL):
                    (Path(folder) / name).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        """Where an object lies."""
        if not is_key(key) or self._leaves(key):
            raise DamageError(f"key {key!r} leaves the store {self.root}: no object can stand there")
        return self.root / key

    def _leaves(self, key: str) -> bool:
        """Whether a symbolic link below the root leads out of it; the root itself may be one."""
        place = str(self.root)
        for part in key.split("/"):
            place = f"{place}/{part}"
            if os.path.islink(place):  # noqa: PTH114  # on the way of every object
                # realpath also where the link is broken or a circle, which is read as missing
                return not Path(os.path.realpath(place)).is_relative_to(os.path.realpath(self.root))
        return False

    def _put(self, path: Path, data: bytes) -> bool:
        _make_folder(path.parent)
        with _opened(path.parent) as folder:
            linked = None if not path.exists() else False
            if linked is None:
                linked = _put_nameless(folder, path, data)
            if linked is None:
                linked = _put_aside(path, data)
            os.fsync(folder)  # also for an object that stands: its writer may have died before it came to this
        return linked


def _make_folder(folder: Path) -> None:
    """Make a folder and sync the parents that gained an entry."""
    missing = [folder]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        with _opened(path.parent) as parent:
            os.fsync(parent)


@contextlib.contextmanager
def _absent() -> Iterator[None]:
    """Pass over errors that say that there is no such object: also a circle of links, and a socket."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}:
            raise


@contextlib.contextmanager
def _opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A descriptor of a file or folder."""
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes and sync the file."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


def _put_nameless(folder: int, path: Path, data: bytes) -> bool | None:
    """Put through a file without a name; None where the system has none."""
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        descriptor = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o644)
    except OSError:
        return None
    try:
        _write_all(descriptor, data)
        # Only with a folder descriptor does os.link follow the link in /proc to the nameless file.
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=folder, follow_symlinks=True)
    except FileExistsError:
        return False
    except FileNotFoundError:
        return None
    finally:
        os.close(descriptor)
    return True


def _put_aside(path: Path, data: bytes) -> bool:
    """Put through a named file aside, linked to its name when whole."""
    try:
        with _aside(path, data) as aside:
            os.link(aside, path)
    except FileExistsError:
        return False
    return True


@contextlib.contextmanager
def _aside(path: Path, data: bytes) -> Iterator[Path]:
    """A named file beside ``path`` that holds the data, synced; gone afterwards, whatever happens."""
    aside = path.parent / f".{secrets.token_hex(8)}{_PARTIAL}"
    descriptor = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    try:
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)
        yield aside
    finally:
        aside.unlink(missing_ok=True)
