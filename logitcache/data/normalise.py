"""Mean and std of pixels in [0, 1] by data set: the usual numbers of each, so that checkpoints fit."""

from __future__ import annotations

from logitcache.data.options import DataOptions
from logitcache.data.split import Preprocess

__all__ = ["preprocess_for"]

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_KNOWN: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "fashion_mnist": ((0.2860,), (0.3530,)),
    "mnist": ((0.1307,), (0.3081,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "image_folder": _IMAGENET,
}


def preprocess_for(options: DataOptions, channels: int) -> Preprocess:
    """What the options say, else the data set's usual mean and std, else 0.5 for each channel."""
    half = (0.5,) * channels
    mean, std = _KNOWN.get(options.name, (half, half))
    if options.mean is not None and options.std is not None:
        mean, std = options.mean, options.std
    return Preprocess(mean, std, options.resize, options.size, options.interpolation)
