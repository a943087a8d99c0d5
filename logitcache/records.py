"""Frozen records and small pure functions that all layers share: options, fingerprints, block ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["BlockId", "Options", "canonical_json", "fingerprint", "rows_of_block", "sha256"]


class Options(BaseModel):
    """Base of all option records: frozen, checked where they are made, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8, non-finite numbers refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256(data: bytes | bytearray | memoryview) -> str:
    """SHA-256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def fingerprint(value: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a record's canonical JSON."""
    return sha256(canonical_json(dict(value)))[:16]


def rows_of_block(block: int, block_rows: int, samples: int) -> range:
    """The rows of a block: ``block_rows`` samples from ``block * block_rows``, fewer in the last one."""
    return range(block * block_rows, min((block + 1) * block_rows, samples))


@dataclass(frozen=True, order=True)
class BlockId:
    """One view of one run of samples for one teacher: the unit of work, of the shard file and of commit."""

    teacher: str
    split: str
    view: int
    block: int

    def __str__(self) -> str:
        """The block's name in messages."""
        return f"block {self.block} of view {self.view} of teacher {self.teacher!r} in split {self.split!r}"
