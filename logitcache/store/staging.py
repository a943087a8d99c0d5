"""A stage: copies of a store's shards on a disk of this machine, ahead of who reads them and for who reads them again.

A copy is named by the SHA-256 that the shard's commit says, so it can belong to any store and never to the wrong shard,
and it is compared with it whenever it is read: what is damaged is fetched anew. Where the disk is full or fails, shards
are read from the store as without a stage, and that is said once.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from pathlib import Path
from threading import Lock
from weakref import WeakKeyDictionary

from logitcache.address import local_path
from logitcache.errors import InputError, StageWarning
from logitcache.store.stage_folder import StageFolder, is_digest
from logitcache.store.stage_options import STAGE_SIZE, parse_size, size_text

__all__ = ["Fetch", "Stage", "Tally", "as_stage"]

Fetch = Callable[[], bytes]
"""Reads a shard from its store, compared with its commit."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Tally:
    """What a stage was good for.

    Attributes:
        hits: shards that were read from it.
        misses: shards that were waited for, because they were not there.
        ahead: shards that were fetched before anybody asked for them.
        bytes: of all that was fetched from the store.
    """

    hits: int = 0
    misses: int = 0
    ahead: int = 0
    bytes: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        """For people."""
        fetched = f"{size_text(self.bytes)} fetched"
        return f"{self.hits} hits, {self.misses} misses, {self.ahead} shards fetched ahead, {fetched}"


@dataclass
class _Claims:
    """What one reader had fetched ahead and has not read yet: bytes by digest."""

    lengths: dict[str, int] = field(default_factory=dict)
    total: int = 0

    def add(self, digest: str, length: int) -> None:
        """One more."""
        if digest not in self.lengths:
            self.lengths[digest] = length
            self.total += length

    def take(self, digest: str) -> None:
        """It was read."""
        self.total -= self.lengths.pop(digest, 0)


class _Here:
    """What a stage knows in one process; a fork begins with nothing, for another thread may hold its parent's lock."""

    def __init__(self) -> None:
        self.process, self.lock, self.tally = os.getpid(), Lock(), Tally()
        self.claims: WeakKeyDictionary[object, _Claims] = WeakKeyDictionary()


class Stage:
    """A folder with copies of shards, bounded, shared by the processes of a machine. Picklable, safe in threads.

    Args:
        folder: on a disk of this machine; made when it is first used.
        size: the most bytes of shards that are kept, also as ``50GB`` or ``20GiB``; what was read longest ago makes
            room.
        say: told once where no more shards can be kept; a :class:`StageWarning` without.

    Raises:
        InputError: a size that is none, or a folder that is no folder's name.
    """

    def __init__(
        self, folder: Path | str, size: int | str = STAGE_SIZE, *, say: Callable[[str], None] | None = None
    ) -> None:
        try:
            self._files = StageFolder(local_path(folder).absolute(), parse_size(size))
        except ValueError as error:
            raise InputError(f"the size of stage {folder}, {size}: {error}") from None
        self._say, self._here, self._full, self._said = say or _warn, _Here(), False, set[str]()

    def __reduce__(self) -> tuple[type[Stage], tuple[Path, int]]:
        """Only the folder and the size travel to other processes."""
        return Stage, (self.folder, self.size)

    @property
    def folder(self) -> Path:
        """Where the copies are."""
        return self._files.root

    @property
    def size(self) -> int:
        """The most bytes of shards that are kept."""
        return self._files.size

    def prepare(self) -> None:
        """Make the folder and remove what killed processes left in it; a full disk is no error.

        Raises:
            InputError: it cannot be made, or nothing can be written there.
        """
        try:
            self._files.prepare()
        except OSError as error:
            if error.errno not in _FULL:
                raise InputError(
                    f"{self.folder} cannot be a stage: {error.strerror or error}; name a folder on a disk of this "
                    "machine in which you may write"
                ) from error
            self._give_up(error)

    def get(self, digest: str, length: int, fetch: Fetch) -> bytes:
        """A shard: the copy that is here, else what ``fetch`` gives, of which a copy is kept.

        Args:
            digest: the SHA-256 that its commit says.
            length: its bytes.
            fetch: reads it from the store; its errors are raised.
        """
        self._unclaim(digest)
        data = self._files.read(digest, length) if is_digest(digest) else None
        if data is not None:
            self._count(Tally(hits=1))
            return data
        data, fetched = self._fetched(digest, length, fetch)
        self._count(Tally(misses=1, bytes=len(data)) if fetched else Tally(hits=1))
        return data

    def bring(self, reader: object, digest: str, length: int, fetch: Fetch) -> bool:
        """Have a copy of a shard here before it is read.

        What was brought and not read yet takes half of the stage at most, so that it is not its own successor that
        displaces it.

        Args:
            reader: for whom; what it claimed is free again when it is gone, or by :meth:`release`.
            digest: as in :meth:`get`.
            length: likewise.
            fetch: likewise.

        Returns:
            False where there is no room for it before something is read.
        """
        if self._full or length > self.size or not is_digest(digest):
            return True  # it could not be kept
        here = self._process()
        with here.lock:
            claims = here.claims.setdefault(reader, _Claims())
            waiting = sum(each.total for each in here.claims.values())
            if digest not in claims.lengths and waiting and waiting + length > self.size // 2:
                return False
            claims.add(digest, length)
        if not self._files.touch(digest, length):
            try:
                data, fetched = self._fetched(digest, length, fetch)
            except BaseException:
                self._unclaim(digest)
                raise
            if fetched:
                self._count(Tally(ahead=1, bytes=len(data)))
        return True

    def release(self, reader: object) -> None:
        """Forget what was brought for a reader: it will not read it."""
        here = self._process()
        with here.lock:
            here.claims.pop(reader, None)

    def take_tally(self) -> Tally:
        """What was counted in this process since the last time."""
        here = self._process()
        with here.lock:
            tally, here.tally = here.tally, Tally()
        return tally

    def _fetched(self, digest: str, length: int, fetch: Fetch) -> tuple[bytes, bool]:
        """A shard that was not here, and whether it had to be fetched: others may be at it, or have been."""
        if self._full or not is_digest(digest):
            return fetch(), True
        with self._files.alone(digest):
            data = self._files.read(digest, length)
            if data is not None:
                return data, False
            data = fetch()
            self._keep(digest, data)
        return data, True

    def _unclaim(self, digest: str) -> None:
        """It is read, or will not be here."""
        here = self._process()
        with here.lock:
            for claims in here.claims.values():
                claims.take(digest)

    def _keep(self, digest: str, data: bytes) -> None:
        """Keep a copy where that is possible."""
        if len(data) > self.size:
            self._tell(
                f"{self.folder}: a shard has {size_text(len(data))}, the stage {size_text(self.size)}; it is read from "
                "the store each time. Give the stage more"
            )
            return
        try:
            self._files.put(digest, data)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Keep no more copies; those that are there are read still."""
        self._full = True
        self._tell(
            f"{self.folder} takes no more shards ({error.strerror or error}): those that are not in it are read from "
            "the store each time"
        )

    def _tell(self, text: str) -> None:
        """Say a thing once."""
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    def _count(self, tally: Tally) -> None:
        """Add to what is counted."""
        here = self._process()
        with here.lock:
            here.tally += tally

    def _process(self) -> _Here:
        """What is known in this process."""
        if self._here.process != os.getpid():
            self._here = _Here()
        return self._here


def as_stage(given: Stage | Path | str | None) -> Stage | None:
    """A stage that is ready, from one or from its folder; None without.

    Raises:
        InputError: it cannot be used.
    """
    if given is None:
        return None
    stage = given if isinstance(given, Stage) else Stage(given)
    stage.prepare()
    return stage


def _warn(text: str) -> None:
    """Tell whoever uses the library."""
    warnings.warn(text, StageWarning, stacklevel=2)
