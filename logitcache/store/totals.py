"""What many blocks come to: counts, bytes by array, measured error; added up one commit after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from logitcache.store.commits import Commit, Commits
from logitcache.store.encodings import Fidelity
from logitcache.store.encodings.fidelity import combine

__all__ = ["Totals", "bytes_of_row", "total_of"]

_SAMPLED = 1 << 14
"""Commits that tell the bytes of a row: blocks of a store differ little."""


@dataclass(frozen=True)
class Totals:
    """Sums over blocks: their number, rows, those written anew with other bytes, bytes by array, and measured error."""

    blocks: int
    rows: int
    repaired: int
    bytes: dict[str, int]
    fidelity: Fidelity | None


def total_of(commits: Iterable[Commit], arrays: Sequence[str]) -> Totals:
    """The sums over some blocks, of which one is in memory at a time.

    Args:
        commits: one a block.
        arrays: names of the arrays that each of them has.

    Raises:
        DamageError: the blocks were measured at different temperatures, which no writer does.
    """
    blocks = rows = repaired = 0
    sizes = dict.fromkeys(arrays, 0)
    fidelity: Fidelity | None = None
    for commit in commits:
        blocks, rows, repaired = blocks + 1, rows + commit.stop - commit.start, repaired + (commit.repair > 0)
        for name in arrays:
            sizes[name] += commit.arrays[name].bytes
        fidelity = combine(part for part in (fidelity, commit.fidelity) if part is not None)
    return Totals(blocks, rows, repaired, sizes, fidelity)


def bytes_of_row(commits: Commits, arrays: Sequence[str]) -> dict[str, float]:
    """Bytes of a row by array, empty where no block is committed.

    Of stores with more than 16 384 blocks, groups of them are looked at that lie evenly over all.

    Raises:
        DamageError: a commit record is not what was written.
    """
    groups = commits.groups
    most = _SAMPLED * len(groups) // max(1, groups.views * groups.blocks)
    chosen = (commit for group in groups.spread(most) for commit in commits.read(group).values())
    totals = total_of(chosen, arrays)
    if not totals.rows and most < len(groups):  # begun, and not where we looked
        totals = total_of(commits.walk(), arrays)
    return {name: size / totals.rows for name, size in totals.bytes.items()} if totals.rows else {}
