"""Shards of a made-up store, and what of them a stage keeps; no torch is loaded for it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

SIZE = 1000
"""Bytes of a stage that three of them fit in."""

SHARDS = [bytes([number]) * 300 for number in range(8)]


def digest(data: bytes) -> str:
    """The name of a shard in a stage."""
    return sha256(data).hexdigest()


class ShardStore:
    """A store of these shards that counts what is fetched from it."""

    def __init__(self) -> None:
        self.fetched: list[int] = []

    def fetch(self, number: int) -> bytes:
        """One of them."""
        self.fetched.append(number)
        return SHARDS[number]

    def read(self, stage: Any, *numbers: int) -> None:
        """Read some of them through a stage."""
        for number in numbers:
            data = stage.get(digest(SHARDS[number]), 300, lambda number=number: self.fetch(number))
            assert data == SHARDS[number]

    def bring(self, stage: Any, reader: object, number: int) -> bool:
        """Have one of them on the stage."""
        return stage.bring(reader, digest(SHARDS[number]), 300, lambda: self.fetch(number))


def files(folder: Path) -> dict[str, bytes]:
    """All files of a stage that hold shards or parts of them."""
    return {path.name: path.read_bytes() for path in folder.glob("??/*")}
