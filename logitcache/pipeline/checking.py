"""The check of a whole store, with a bar: a large one takes minutes."""

from __future__ import annotations

from logitcache.pipeline.progress import Screen
from logitcache.store import Store, verify
from logitcache.store.verify import Verification, block_total

__all__ = ["verify_with_bar"]


def verify_with_bar(store: Store, screen: Screen, *, decode: bool = False) -> Verification:
    """What :func:`logitcache.store.verify` finds, with a bar over the blocks."""
    with screen.bar("verify", block_total(store), "blocks") as bar:
        return verify(store, decode=decode, progress=lambda _: bar.advance(1))
