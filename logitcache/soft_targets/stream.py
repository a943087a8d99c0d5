"""Cached soft targets as a stream of whole batches, which can be left in the middle of an epoch and taken up again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from logitcache.data import Split
from logitcache.errors import InputError
from logitcache.records import sha256
from logitcache.soft_targets.cached import CachedRows, Item
from logitcache.soft_targets.features import FeatureTargets
from logitcache.soft_targets.targets import SoftTargets
from logitcache.views import ViewOptions

__all__ = ["CachedStream"]

State = dict[str, int | str]


class CachedStream(IterableDataset[Item]):
    """Whole batches of a split as the teacher saw it, in keyed order: give it to ``DataLoader(..., batch_size=None)``.

    A batch is (inputs float32 (B, C, H, W), labels int64 (B,), logits float32 (B, classes)), followed by features
    float32 (B, width) where ``features`` is given. The batches of an epoch are a function of (seed, epoch), the same
    for any number of workers; worker ``w`` of ``W`` makes every ``W``-th from the ``w``-th on. A store that does not
    fit in memory is walked window by window, so that each block is decoded once an epoch and worker.

    Call :meth:`set_epoch` before each epoch. ``state_dict`` and ``load_state_dict`` are those that torchdata's
    StatefulDataLoader asks for, with workers or without: an epoch that was left goes on with its next batch.

    Args:
        dataset: the samples.
        soft: the teacher's logits of them.
        views: the view policy that the teacher saw; without one, every epoch shows the clean view.
        batch: rows of a global batch.
        seed: key of the order.
        rank: which part of each global batch is given.
        world: into how many nearly equal parts it is cut; a last batch with fewer rows than that gives its first
            row to those that would have none, so that all have the same number of steps.
        drop_last: leave out the last batch where it is not whole.
        rows: which samples, positions in the split, int64 (M,).
        labels: int64 (samples of the split,), instead of the split's own.
        features: the teacher's penultimate features.

    Raises:
        MismatchError: the soft targets are of other samples, or of another view policy.
        InputError: counts that differ, rows that are not there or come twice, a batch without a row for each rank.
    """

    def __init__(
        self,
        dataset: Split,
        soft: SoftTargets,
        views: ViewOptions | None = None,
        *,
        batch: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        drop_last: bool = False,
        rows: Tensor | None = None,
        labels: Tensor | None = None,
        features: FeatureTargets | None = None,
    ) -> None:
        self._cached = CachedRows(dataset, soft, views, rows=rows, labels=labels, features=features)
        if not 0 <= rank < world <= batch:
            raise InputError(f"rank {rank} of {world}, batch {batch}; it must be that 0 <= rank < world <= batch")
        whole, rest = divmod(len(self._cached), batch)
        self._batch, self._seed, self._rank, self._world = batch, seed, rank, world
        self._steps = whole + (rest > 0 and not drop_last)
        # Shared, or workers that live on into the next epoch would not hear of it.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._loaded: tuple[int, int] | None = None
        self._place: tuple[int, int] | None = None

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._steps

    def set_epoch(self, epoch: int) -> None:
        """Choose order and view of the next pass, and decode the view: workers that are forked afterwards share it.

        What is read next is fetched to the store's stage in the background, where there is one.

        A loaded position is kept where it is of this epoch, and forgotten otherwise.

        Raises:
            MissingError, DamageError: a block of the view is not there or not what was committed.
        """
        self._epoch.fill_(epoch)
        self._place = None
        if self._loaded is not None and self._loaded[0] != epoch:
            self._loaded = None
        self._cached.decode(self._cached.view(epoch))
        self._cached.fetch_ahead(epoch, partial(self._cached.order, self._seed))

    def __iter__(self) -> Iterator[Item]:
        """The batches of the epoch from the loaded position on, or all; in a worker, those that are its own."""
        epoch, step = self._loaded or (int(self._epoch), 0)
        self._loaded, self._place = None, (epoch, step)
        return self._pass(epoch, step)

    def state_dict(self) -> State:
        """Where the pass is: the epoch and the next step of it, with what tells one order from another.

        Between two passes the step is 0. In the process that iterates: with workers ask the StatefulDataLoader.
        """
        epoch, step = self._place or self._loaded or (int(self._epoch), 0)
        return {"epoch": epoch, "step": step, "batch": self._batch, "order": self._order_key}

    def load_state_dict(self, state: Mapping[str, int | str]) -> None:
        """Let the next pass begin where a state says, whatever epoch was set before.

        ``{"epoch": e, "step": n}`` will do, and serves any number of workers and any world of the same batch.

        Raises:
            InputError: the state is of another order: seed, samples, size of a batch, or memory for soft targets.
        """
        here = {"batch": self._batch, "order": self._order_key}
        other = [f"{key} {state[key]} (here {value})" for key, value in here.items() if state.get(key, value) != value]
        epoch, step = int(state["epoch"]), int(state["step"])
        if other:
            raise InputError(
                f"the position is of another order, {' and '.join(other)}; take the seed, samples, batch and memory "
                "for soft targets with which it was saved, or begin the epoch anew"
            )
        if step < 0 or epoch < 0:
            raise InputError(f"epoch {epoch}, step {step}: both must be 0 or more")
        self._loaded, self._place = (epoch, step), None

    def _pass(self, epoch: int, start: int) -> Iterator[Item]:
        """The batches of an epoch from step ``start`` on that this process is to make."""
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        parts = self._parts(epoch)[start + number : self._steps : workers]
        positions = torch.cat(parts) if parts else torch.arange(0)
        size = max(1, len(parts[0])) if parts else 1
        for done, batch in enumerate(self._cached.batches(positions, self._cached.view(epoch), size), start=1):
            self._place = epoch, start + done * workers
            yield batch
        if worker is None:
            self._place = epoch, 0

    def _parts(self, epoch: int) -> list[Tensor]:
        """This rank's positions in each batch of an epoch."""
        batches = self._cached.order(self._seed, epoch).split(self._batch)
        if self._world == 1:
            return list(batches)
        parts = [batch.tensor_split(self._world)[self._rank] for batch in batches]
        return [part if len(part) else batch[:1] for part, batch in zip(parts, batches, strict=True)]

    @cached_property
    def _order_key(self) -> str:
        """Tells one order of rows from another: 16 hexadecimal digits of the first epoch's."""
        first = self._cached.rows[self._cached.order(self._seed, 0)]
        return sha256(first.numpy().astype("<i8").tobytes())[:16]
