"""Splits that stand for data that is not here yet: of the size that it will have, and without images.

A recipe can be planned with them. Torchvision's data sets have a known size; an image folder has the one that
``data.expect`` says. Nothing is fetched: with ``data.download`` too, a data set that is absent stays so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import torch

from logitcache.data.checks import check_channels
from logitcache.data.folder import folder_preprocess
from logitcache.data.normalise import preprocess_for
from logitcache.data.options import DataOptions, DataSize
from logitcache.data.samples import choose_rows, count_rows
from logitcache.data.split import Preprocess, Split
from logitcache.errors import InputError

__all__ = ["planned_data"]

_PLACES: Mapping[str, tuple[str, ...]] = {
    "fashion_mnist": ("fashion_mnist", "FashionMNIST"),  # archives, or unpacked
    "mnist": ("MNIST",),
    "cifar10": ("cifar-10-batches-py",),
    "cifar100": ("cifar-100-python",),
    "image_folder": ("train",),
}
"""Data set -> folders in ``data.root``, of which one at least is there when the data are."""

_SIZES: Mapping[str, tuple[DataSize, tuple[int, int, int]]] = {
    "fashion_mnist": (DataSize(train=60_000, test=10_000, classes=10), (1, 28, 28)),
    "mnist": (DataSize(train=60_000, test=10_000, classes=10), (1, 28, 28)),
    "cifar10": (DataSize(train=50_000, test=10_000, classes=10), (3, 32, 32)),
    "cifar100": (DataSize(train=50_000, test=10_000, classes=100), (3, 32, 32)),
}
"""Data set -> its size, and (C, H, W) of an image."""

_MOST_NUMBERED = 1 << 22
"""Samples that have labels and indices of their own; of more, one number stands for all: a plan asks for none."""


@dataclass(frozen=True)
class _Form:
    """What is known of a data set without its files."""

    size: DataSize
    shape: tuple[int, int, int]
    preprocess: Preprocess


def planned_data(options: DataOptions) -> dict[str, Split] | None:
    """Splits that stand for absent data; None where the data are there, or nobody knows how many they will be.

    The splits have counts, shapes and preprocessing as the real ones will; labels and noise are placeholders, class
    names are numbers, and images cannot be opened.

    Raises:
        InputError: ``samples`` asks for more than there will be, or a mean does not fit.
    """
    form = _known_form(options) if _is_absent(options) else None
    if form is None:
        return None
    counts = {"train": form.size.train, "test": form.size.test}
    splits = {name: _stand_in(options.name, name, count, form) for name, count in counts.items() if count}
    train = splits["train"]
    if options.noise is not None:
        train = train.with_noisy_labels(train.labels, options.noise)
    return {**splits, "train": _part(train, options)}


def _part(train: Split, options: DataOptions) -> Split:
    """The part of the train split that is used."""
    if options.samples is None:
        return train
    if len(train) <= _MOST_NUMBERED or isinstance(options.samples, Path):
        return train.take(choose_rows(options.samples, len(train), options.seed))
    count = count_rows(options.samples, len(train))
    noisy = None if train.noisy_labels is None else train.noisy_labels[:count]
    return replace(train, labels=train.labels[:count], index=train.index[:count], noisy_labels=noisy)


def _is_absent(options: DataOptions) -> bool:
    """Whether a data set whose place is known is not there; a damaged one is."""
    places = _PLACES.get(options.name, ())
    return bool(places) and not any((options.root / place).exists() for place in places)


def _known_form(options: DataOptions) -> _Form | None:
    """The size and shape that the data will have, None where nobody says."""
    if options.name in _SIZES:
        size, shape = _SIZES[options.name]
        return _Form(size, shape, preprocess_for(options, shape[0]))
    if options.expect is None:
        return None
    preprocess = folder_preprocess(options)
    side = preprocess.size or 0  # always set, as the types do not say
    return _Form(options.expect, (3, side, side), preprocess)


def _stand_in(dataset: str, name: str, count: int, form: _Form) -> Split:
    """One split without images."""
    check_channels(dataset, form.shape[0], form.preprocess.mean, form.preprocess.std)
    index = torch.arange(count if count <= _MOST_NUMBERED else 1)
    return Split(
        dataset=dataset,
        name=name,
        classes=tuple(map(str, range(form.size.classes))),
        labels=(index % form.size.classes).expand(count),
        index=index.expand(count),
        shape=form.shape,
        preprocess=form.preprocess,
        fingerprint="not here yet",
        open=_not_here,
    )


def _not_here(row: int) -> NoReturn:
    """Refuse to open an image.

    Raises:
        InputError: always.
    """
    raise InputError(f"image {row} is of data that is not here yet; it can be planned with, not trained on")
