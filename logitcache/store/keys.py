"""Names of objects in a store: relative paths with ``/`` that cannot lead out of it."""

from __future__ import annotations

__all__ = ["is_key"]

_LONGEST_KEY, _LONGEST_PART = 1024, 255


def is_key(key: str) -> bool:
    """Whether a text names an object below a store: plain parts between slashes, of which none leads upwards."""
    parts = key.split("/")
    try:
        lengths = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return False
    plain = not any(part in {"", ".", ".."} or "\0" in part or "\\" in part for part in parts)
    return plain and max(lengths) <= _LONGEST_PART and sum(lengths) + len(parts) <= _LONGEST_KEY
