"""The batches of several students at each step, with what is equal among them made once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from logitcache.errors import InputError
from logitcache.student.batches import Batch
from logitcache.student.feed import ViewFeed

__all__ = ["StackFeed"]


class StackFeed:
    """Feeds in step: equal inputs are rendered once, and equal batches (labels, soft targets) are gathered once.

    Members with equal ``inputs_key`` get the very same input tensor, and those with equal ``batch_key`` the very same
    batch.

    Args:
        feeds: one a member, all of as many samples and as many steps.

    Raises:
        InputError: there is no feed, or feeds differ in samples or steps.
    """

    def __init__(self, feeds: Sequence[ViewFeed]) -> None:
        sizes = sorted({(feed.samples, feed.steps) for feed in feeds})
        if len(sizes) != 1:
            raise InputError(
                f"the feeds of a stack need equally many samples and steps; given were {sizes}; train those that "
                "differ apart"
            )
        [(self.samples, self.steps)] = sizes
        self._batches = {feed.batch_key: feed for feed in feeds}
        self._inputs = {feed.inputs_key: feed for feed in self._batches.values()}
        self._members: list[Hashable] = [feed.batch_key for feed in feeds]
        self._inputs_of = {key: feed.inputs_key for key, feed in self._batches.items()}

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Batch, ...]]:
        """One batch a member at each step of an epoch from ``start`` on, the same on every call."""
        for feed in self._batches.values():
            feed.prefetch(epoch, start)
        streams = [feed.rendered(epoch, start) for feed in self._inputs.values()]
        for rendered in zip(*streams, strict=True):
            shown = dict(zip(self._inputs, rendered, strict=True))
            made = {key: feed.batch(shown[self._inputs_of[key]], epoch) for key, feed in self._batches.items()}
            yield tuple(made[key] for key in self._members)
