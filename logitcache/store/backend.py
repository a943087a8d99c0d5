"""Where the objects of a store live: whole objects by key, put only where nothing stands yet.

An object appears whole or not at all. On a local disk it is written to a file without a name (``O_TMPFILE``),
synced, and linked to its name; a killed writer leaves nothing behind. Where a file system has no nameless
files, a named one stands aside meanwhile (``.partial``), and the next writer that finishes sweeps it away.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from logitcache.errors import InputError

__all__ = ["Backend", "LocalBackend", "open_backend"]

_PARTIAL = ".partial"
_TRIES = 20


class Backend(Protocol):
    """Whole objects by key; keys are relative paths with ``/``."""

    def get(self, key: str) -> bytes | None:
        """The object's bytes, None where there is none."""

    def put(self, key: str, data: bytes) -> bool:
        """Store an object durably where none stands yet; False, and nothing changed, where one does."""

    def size(self, key: str) -> int | None:
        """The object's length in bytes, None where there is none."""

    def names(self, folder: str) -> set[str]:
        """Names of the objects and folders directly in a folder, empty where it does not exist."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""

    def sweep(self) -> None:
        """Remove what killed writers left aside."""


class LocalBackend:
    """A store in a folder of a local disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> bytes | None:
        """The object's bytes, None where there is none."""
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def put(self, key: str, data: bytes) -> bool:
        """Store an object durably where none stands yet; False, and nothing changed, where one does."""
        path = self.root / key
        for _ in range(_TRIES):
            try:
                return self._put(path, data)
            except (FileNotFoundError, FileExistsError):
                # another writer has tidied the empty folder away: before we were in it, or while mkdir looked at it
                continue
        return self._put(path, data)

    def _put(self, path: Path, data: bytes) -> bool:
        _make_folder(path.parent)
        with _folder(path.parent) as folder:
            linked = None if not path.exists() else False
            if linked is None:
                linked = _put_nameless(folder, path, data)
            if linked is None:
                linked = _put_aside(path, data)
            os.fsync(folder)  # also for an object that stands: its writer may have died before it came to this
        return linked

    def size(self, key: str) -> int | None:
        """The object's length in bytes, None where there is none."""
        try:
            return (self.root / key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, folder: str) -> set[str]:
        """Names of the objects and folders directly in a folder, empty where it does not exist."""
        try:
            return {name for name in os.listdir(self.root / folder) if not name.endswith(_PARTIAL)}
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def delete(self, key: str) -> None:
        """Remove an object, and its folder when that is empty; nothing happens where there is none."""
        path = self.root / key
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


def open_backend(url: str | Path) -> LocalBackend:
    """The backend of a store's path.

    Raises:
        InputError: the address names an object store, which this version cannot open.
    """
    if "://" in str(url):
        raise InputError(f"{url} is not a local path; this version keeps stores on local disks only")
    return LocalBackend(Path(url))


def _make_folder(folder: Path) -> None:
    """Make a folder and sync the parents that gained an entry."""
    missing = [folder]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        with _folder(path.parent) as parent:
            os.fsync(parent)


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int]:
    """A descriptor of a folder."""
    descriptor = os.open(path, os.O_RDONLY)
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
    aside = path.parent / f".{path.name}.{secrets.token_hex(8)}{_PARTIAL}"
    descriptor = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    try:
        _write_all(descriptor, data)
        os.link(aside, path)
    except FileExistsError:
        return False
    finally:
        os.close(descriptor)
        aside.unlink(missing_ok=True)
    return True
