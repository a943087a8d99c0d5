"""The files of a stage: each named by the digest of its bytes, at most so many bytes in all, shared by processes.

::

    DIR/total                     bytes of all files, or more; the lock that whoever changes anything holds
    DIR/3f/3f9a...                a file; its time of change is when it was last read
    DIR/3f/.3f9a....partial       one that is being written; what is seen by who holds the lock was left by a killed one
    DIR/3f/                       the lock of who fetches a file in it, so that others wait and read

Nothing is synced: whoever reads a file compares it with its digest, and fetches it anew where they differ. The total is
raised before a file is written and lowered after one is removed, so that a writer killed between leaves it too high,
never too low; it is counted anew where room is made.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from logitcache.records import sha256

__all__ = ["StageFolder", "is_digest"]

_TOTAL, _PARTIAL = "total", ".partial"
_DIGEST, _FOLDER = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{2}")

_WAIT_TO_CHANGE = 10.0
"""Seconds until who cannot have the lock goes on without: its holder may have been stopped."""
_WAIT_FOR_ANOTHER = 60.0
"""Seconds for which one who fetches the same file is waited for."""
_PAUSE = 0.003
_SPARE = 10
"""Where room is made, a tenth of all, so that not every file that comes has to look at all that are there."""


def is_digest(text: str) -> bool:
    """Whether this is a SHA-256 in hexadecimal digits, and so a name that a file can have here."""
    return _DIGEST.fullmatch(text) is not None


class StageFolder:
    """Files by digest in a folder, never more than ``size`` bytes. Safe in threads and beside other processes."""

    def __init__(self, root: Path, size: int) -> None:
        self.root, self.size = root, size

    def prepare(self) -> None:
        """Make the folder, remove what killed writers left, count, and keep to the size; raises OSError."""
        with self._changing() as total:
            if total is not None:
                total.write(self._tidy(self.size))

    def read(self, digest: str, length: int) -> bytes | None:
        """A file's bytes; None where there is none, or its bytes are not those of its name."""
        path, data = self._path(digest), b""
        with suppress(OSError):
            # neither a link nor a pipe is ours
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                if os.fstat(descriptor).st_size == length:
                    data = file.read()
        if len(data) != length or sha256(data) != digest:
            return None
        self.touch(digest, length)
        return data

    def touch(self, digest: str, length: int) -> bool:
        """Whether a file of this length is there; it counts as read now."""
        path, now = self._path(digest), time.time_ns()
        try:
            os.utime(path, ns=(now, now), follow_symlinks=False)
            return os.lstat(path).st_size == length
        except OSError:
            return False

    def put(self, digest: str, data: bytes) -> bool:
        """Keep a file, in the place of those that were read longest ago; False where others keep the lock too long.

        Raises:
            OSError: the disk is full or fails; nothing is left of the file.
        """
        path = self._path(digest)
        with self._changing() as total:
            if total is None:
                return False
            before = self._room(total, len(data))
            total.write(before + len(data))
            replaced = min(_length(path), len(data))  # no more than was counted, whatever became of it
            try:
                path.parent.mkdir(exist_ok=True)
                _write(path, data)
            except OSError:
                with suppress(OSError):
                    total.write(before)
                raise
            if replaced:
                total.write(before + len(data) - replaced)
        return True

    @contextmanager
    def alone(self, digest: str) -> Iterator[None]:
        """Let others wait who come for the same file, as far as the folder can be locked."""
        with ExitStack() as stack:
            with suppress(OSError):
                folder = self._path(digest).parent
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(_locked(folder, os.O_RDONLY, _WAIT_FOR_ANOTHER))
            yield

    @contextmanager
    def _changing(self) -> Iterator[_Total | None]:
        """The total while nobody else changes anything; None where somebody keeps it too long."""
        self.root.mkdir(parents=True, exist_ok=True)
        with _locked(self.root / _TOTAL, os.O_RDWR | os.O_CREAT, _WAIT_TO_CHANGE) as descriptor:
            yield None if descriptor is None else _Total(descriptor)

    def _room(self, total: _Total, need: int) -> int:
        """Bytes that are there, after room was made for as many as are needed."""
        known = total.read()
        if known is None or known + need > self.size:
            known = self._tidy(self.size - need)
            total.write(known)
        return known

    def _tidy(self, most: int) -> int:
        """Remove left-overs, and of more bytes than ``most`` what was read longest ago; returns what is left."""
        files = list(self._files())
        have = sum(length for _, length, _ in files)
        if have <= most:
            return have
        wanted = max(0, most - self.size // _SPARE)
        for _, length, path in sorted(files):
            if have <= wanted:
                break
            path.unlink(missing_ok=True)
            have -= length
        return have

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """When it was read, length and path of each file; partial ones are removed, and what is not ours is passed."""
        for folder in _names(self.root):
            if _FOLDER.fullmatch(folder):
                for name in _names(self.root / folder):
                    path = self.root / folder / name
                    if name.endswith(_PARTIAL) and is_digest(name[1 : -len(_PARTIAL)]):
                        path.unlink(missing_ok=True)
                    elif is_digest(name):
                        yield *_read_last(path), path

    def _path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest


class _Total:
    """The number in the file that is locked; twenty digits, which are written at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self) -> int | None:
        """It, None where it was never written."""
        text = os.pread(self._descriptor, 64, 0)
        return int(text) if len(text) == 20 and text.isdigit() else None

    def write(self, total: int) -> None:
        """Another one in its place."""
        os.pwrite(self._descriptor, b"%020d" % total, 0)


@contextmanager
def _locked(path: Path, flags: int, patience: float) -> Iterator[int | None]:
    """A descriptor of a file or folder that is locked by nobody else; None where it is for longer than ``patience``."""
    descriptor = os.open(path, flags, 0o666)
    try:
        until = time.monotonic() + patience
        while not _lock(descriptor):
            if time.monotonic() > until:
                yield None
                return
            time.sleep(_PAUSE)
        try:
            yield descriptor
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough where a fork has the descriptor too
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """One try to lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(path: Path, data: bytes) -> None:
    """A file that appears whole or not at all; what stood there is replaced."""
    aside = path.with_name(f".{path.name}{_PARTIAL}")
    try:
        aside.write_bytes(data)
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink()
        raise


def _length(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    return _read_last(path)[1]


def _read_last(path: Path) -> tuple[int, int]:
    """When a file was read last, in nanoseconds, and its length; 0 where it is gone: others may tidy up here, too."""
    try:
        status = path.lstat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _names(folder: Path) -> list[str]:
    """What is in a folder; nothing where it is none, or gone."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
