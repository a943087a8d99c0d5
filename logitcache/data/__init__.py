"""Data sets by name, indexed and fingerprinted.

====================  =========================================================================
``options``           ``DataOptions``: what a user asks, and the names there are
``split``             ``Split``: samples with identity; makers of splits for one's own data
``checks``            labels and channels that do not fit are refused
``noise``             ``NoiseOptions``: wrong labels beside the true ones
``normalise``         mean and std by name
``torchvision_sets``  fashion_mnist (unpacked from the repository), mnist, cifar10, cifar100
``folder``            image_folder: ImageNet's layout, opened lazily
``arrays``            ``.npy`` images and labels, memory-mapped
``samples``           the part of a split that is used: count, fraction or file
``opening``           ``open_data``: all of them, and ``module:factory``
``planned``           ``planned_data``: splits that stand for data that is not here yet
====================  =========================================================================

A data set of one's own is a function ``factory(options: DataOptions) -> dict[str, Split]`` that makes its splits
with ``memory_split`` or ``lazy_split``; its name in a recipe is ``module:factory``. Noisy labels that it has, such as
annotators' own, it adds with ``Split.with_noisy_labels``.
"""

from __future__ import annotations

from logitcache.data.noise import LabelChoice, LabelKind, NoiseOptions, noisy_labels
from logitcache.data.opening import open_data
from logitcache.data.options import DataOptions, DataSize, data_names
from logitcache.data.planned import planned_data
from logitcache.data.samples import choose_rows
from logitcache.data.split import Preprocess, Split, lazy_split, memory_split

__all__ = [
    "DataOptions",
    "DataSize",
    "LabelChoice",
    "LabelKind",
    "NoiseOptions",
    "Preprocess",
    "Split",
    "choose_rows",
    "data_names",
    "lazy_split",
    "memory_split",
    "noisy_labels",
    "open_data",
    "planned_data",
]
