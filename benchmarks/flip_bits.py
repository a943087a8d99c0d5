"""Flip single bits of a store, one after another, each followed by ``verify`` and by a full read; none may pass unseen.

    python benchmarks/flip_bits.py STORE [--flips 1000] [--seed 0]

The bits are drawn at random over all bytes of all files of a copy of the store, metadata included. After each flip
``verify`` looks at the copy, and everything in it is read: what it says of itself, labels, indices, the arrays that are
not cut, every block of every array. A flip is found, by either, or harmless: everything read is what it was. It is
silently wrong when what is read differs and no error was raised; then the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from bisect import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any

from machine import evidence

from logitcache.errors import LogitcacheError
from logitcache.store import LogitsReader, Store, open_store
from logitcache.store.verify import verify_url


@dataclass(frozen=True)
class Flip:
    """One bit, and what came of it."""

    file: str
    byte: int
    bit: int
    found_by_verify: bool
    found_by_read: bool
    same_values: bool

    @property
    def silently_wrong(self) -> bool:
        """Whether a reader was given other values without a word."""
        return not self.found_by_read and not self.same_values


@dataclass(frozen=True)
class Counts:
    """How many flips came out how; a flip that both find counts for both."""

    flips: int
    found_by_verify: int
    found_by_read: int
    found: int
    harmless: int
    silently_wrong: int


def main() -> None:
    """Flip, print, and exit with 1 where a flip was silently wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.perf_counter()
    flips = flip_bits(options.store, options.flips, options.seed)
    counts = count(flips)
    print(json.dumps({**evidence(), "seconds": round(time.perf_counter() - started, 1), **asdict(counts)}, indent=1))
    for flip in flips:
        if flip.silently_wrong:
            print(f"silently wrong: bit {flip.bit} of byte {flip.byte} of {flip.file}")
    sys.exit(1 if counts.silently_wrong else 0)


def flip_bits(store: Path, flips: int, seed: int) -> list[Flip]:
    """Flip as many bits of a copy of the store, each for itself, and say what came of each."""
    chance = random.Random(seed)  # noqa: S311  # which bit needs no secrecy
    with tempfile.TemporaryDirectory(prefix="flip_bits_") as folder:
        path = Path(folder) / "store"
        shutil.copytree(store, path)
        files = sorted(file for file in path.rglob("*") if file.is_file())
        ends = list(accumulate(file.stat().st_size for file in files))
        known, problems = everything(path), verify_url(path).findings
        found = []
        for _ in range(flips):
            place = chance.randrange(ends[-1])
            number = bisect(ends, place)
            byte, bit = place - (ends[number - 1] if number else 0), chance.randrange(8)
            with flipped(files[number], byte, bit):
                seen = look(path, known, problems)
            found.append(Flip(str(files[number].relative_to(path)), byte, bit, *seen))
        return found


def count(flips: list[Flip]) -> Counts:
    """The sums."""
    found = [flip.found_by_verify or flip.found_by_read for flip in flips]
    return Counts(
        flips=len(flips),
        found_by_verify=sum(flip.found_by_verify for flip in flips),
        found_by_read=sum(flip.found_by_read for flip in flips),
        found=sum(found),
        harmless=sum(flip.same_values and not seen for flip, seen in zip(flips, found, strict=True)),
        silently_wrong=sum(flip.silently_wrong for flip in flips),
    )


@contextmanager
def flipped(file: Path, byte: int, bit: int) -> Iterator[None]:
    """One bit of a file is another inside."""
    with file.open("r+b") as opened:
        opened.seek(byte)
        [value] = opened.read(1)
        _overwrite(opened, byte, value ^ 1 << bit)
        try:
            yield
        finally:
            _overwrite(opened, byte, value)


def look(path: Path, known: dict[str, str], problems: tuple[Any, ...]) -> tuple[bool, bool, bool]:
    """(whether verify finds more than before, whether a full read raises, whether it gives the known values)."""
    try:
        by_verify = verify_url(path).findings != problems
    except LogitcacheError:
        by_verify = True
    try:
        same, by_read = everything(path) == known, False
    except LogitcacheError:
        same, by_read = False, True
    return by_verify, by_read, same


def everything(path: Path) -> dict[str, str]:
    """Digests of all that a reader can be given, by name."""
    store = open_store(path)
    found = {"record": _digest(repr(store.record))}
    for split in store.splits:
        values = {"record": store.split(split), "labels": store.labels(split), "index": store.index(split)}
        found |= {f"{split}/{name}": _digest(value) for name, value in values.items()}
        for teacher in store.teachers(split):
            found |= {f"{split}/{teacher}/{name}": digest for name, digest in _teacher(store, teacher, split)}
    return found


def _teacher(store: Store, teacher: str, split: str) -> Iterator[tuple[str, str]]:
    """Digests of a teacher's record, its arrays that are not cut, and its blocks."""
    reader = store.logits(teacher, split)
    yield "record", _digest(reader.record)
    for name, values in store.wholes(teacher, split).items():
        yield name, _digest(values)
    for view in range(reader.views):
        for block in range(reader.blocks):
            for name, value in _block(reader, view, block).items():
                yield f"{view}/{block}/{name}", _digest(value)


def _block(reader: LogitsReader, view: int, block: int) -> dict[str, Any]:
    """All that is stored of a block."""
    if not reader.has(view, block):
        return {"commit": None}
    features = {"features": reader.features(view, block)} if reader.record.features else {}
    return {"commit": reader.commit(view, block), "logits": reader.read(view, block), **features}


def _digest(value: Any) -> str:
    """The digest of an array with its type and shape, or of a record's text."""
    if hasattr(value, "tobytes"):
        return sha256(f"{value.dtype}{value.shape}".encode() + value.tobytes()).hexdigest()
    return sha256(repr(value).encode()).hexdigest()


def _overwrite(file: Any, place: int, value: int) -> None:
    """Put one byte in its place, and through to the file."""
    file.seek(place)
    file.write(bytes([value]))
    file.flush()


if __name__ == "__main__":
    main()
