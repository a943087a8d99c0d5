"""Views of single samples: any torchvision v2 transform or callable, replayed by seeding torch, numpy and random."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

from logitcache.data import Split
from logitcache.errors import InputError
from logitcache.factories import load_factory
from logitcache.keyed import draw
from logitcache.views.options import ViewOptions

__all__ = ["Loader", "PerSample", "build_transform"]

Transform = Callable[[Any], Any]
Job = tuple[Tensor, Tensor]


def build_transform(options: ViewOptions) -> Transform | None:
    """The transform of the augmented views; None for kinds that have none of their own.

    Raises:
        InputError: ``module:factory`` cannot be imported, or what it returns cannot be called.
    """
    if options.kind == "transforms":
        compose: Transform = v2.Compose([_named(transform) for transform in options.transforms])
        return compose
    if ":" not in options.kind:
        return None
    transform: Any = load_factory(options.kind)()
    if not callable(transform):
        raise InputError(f"views.kind = {options.kind!r} returned {type(transform).__name__}, not a transform")
    made: Transform = transform
    return made


@dataclass(frozen=True)
class PerSample:
    """Renders the pixels of one (row, view): a uint8 tensor (C, H, W), or what the transform returns."""

    split: Split
    transform: Transform | None
    seed: int

    def __call__(self, row: int, view: int) -> Tensor:
        """The pixels of a view; torch, numpy and random are seeded by (seed, sample, view) around the transform."""
        item = self.split.images[row] if self.split.images is not None else self._open(row)
        if view == 0 or self.transform is None:
            return self._clean(item)
        with _seeded(int(draw(self.seed, int(self.split.index[row]), view))):
            return _as_tensor(self.transform(item))

    def _open(self, row: int) -> Any:
        if self.split.open is None:
            raise InputError(f"split {self.split.name!r} has neither images in memory nor a way to open them")
        return self.split.open(row)

    def _clean(self, item: Any) -> Tensor:
        """The clean view: images in memory as they are, others resized and cropped in the centre."""
        preprocess = self.split.preprocess
        if self.split.images is None and preprocess.size is not None:
            mode = InterpolationMode(preprocess.interpolation)
            item = v2.Resize(preprocess.resize or preprocess.size, mode, antialias=True)(item)
            item = v2.CenterCrop(preprocess.size)(item)
        return _as_tensor(item)


class Loader:
    """Streams batches of pixels out of worker processes, ahead of the device; in process with no workers."""

    def __init__(self, render: PerSample, workers: int, *, pin: bool) -> None:
        self._render, self._workers, self._pin = render, workers, pin

    def stream(self, batches: Iterable[Job]) -> Iterator[Tensor]:
        """The pixels of each batch of (rows, views), in order."""
        sampler = ([(int(r), int(v)) for r, v in zip(*job, strict=True)] for job in batches)
        extra: dict[str, Any] = {}
        if self._workers:
            # Forked from a server that has loaded torch already: quick to start, and safe beside running threads.
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["logitcache.views.persample"])
            extra = {"prefetch_factor": 4, "multiprocessing_context": context}
        return iter(
            DataLoader(
                _Pixels(self._render),
                batch_sampler=_Once(sampler),
                num_workers=self._workers,
                pin_memory=self._pin,
                generator=torch.Generator(),  # without one, it draws its workers' seeds from the global generator
                **extra,
            )
        )


class _Pixels(Dataset[Tensor]):
    """A map-style data set keyed by (row, view)."""

    def __init__(self, render: PerSample) -> None:
        self._render = render

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        return self._render(*key)


class _Once:
    """A batch sampler over an iterator."""

    def __init__(self, batches: Iterable[list[tuple[int, int]]]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self._batches)


def _named(transform: str | dict[str, Any]) -> Any:
    """A torchvision v2 transform by name."""
    if isinstance(transform, str):
        return getattr(v2, transform)()
    arguments = {key: value for key, value in transform.items() if key != "name"}
    return getattr(v2, transform["name"])(**arguments)


def _as_tensor(item: Any) -> Tensor:
    """A tensor (C, H, W) of a tensor, PIL image or array."""
    return item.as_subclass(Tensor) if isinstance(item, Tensor) else v2.functional.pil_to_tensor(item)


class _seeded:  # noqa: N801 - reads as a verb where it is used
    """Seed torch, numpy and random, and put their states back afterwards."""

    def __init__(self, seed: int) -> None:
        self._seed = seed & (2**63 - 1)

    def __enter__(self) -> None:
        self._states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
        torch.default_generator.manual_seed(self._seed)
        np.random.seed(self._seed & (2**32 - 1))  # noqa: NPY002 - what users' transforms draw from
        random.seed(self._seed)

    def __exit__(self, *_: object) -> None:
        torch_state, numpy_state, python_state = self._states
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
