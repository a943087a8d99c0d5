"""Images and labels from ``.npy`` files; the images stay on disk, memory-mapped.

Images are uint8 (N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1 or 3; where both ends could be channels, the
last one is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from logitcache.data.normalise import preprocess_for
from logitcache.data.options import DataOptions
from logitcache.data.split import Split, memory_split
from logitcache.errors import InputError

__all__ = ["load_npy", "open_arrays"]

_CHANNELS = (1, 3)


def open_arrays(options: DataOptions) -> dict[str, Split]:
    """The train split and, where its files are given, the test split.

    Raises:
        InputError: a file that is missing or no ``.npy``, or dtypes, shapes and counts that do not fit.
    """
    if options.images is None or options.labels is None:
        raise InputError("data set 'arrays' needs data.images and data.labels, each a .npy file")
    files = {"train": (options.images, options.labels)}
    if options.test_images is not None and options.test_labels is not None:
        files["test"] = (options.test_images, options.test_labels)
    images = {name: _load_images(paths[0]) for name, paths in files.items()}
    labels = {name: _load_labels(paths[1]) for name, paths in files.items()}
    if len({tuple(each.shape[1:]) for each in images.values()}) > 1:
        shapes = " and ".join(f"{path[0]} {tuple(images[name].shape[1:])}" for name, path in files.items())
        raise InputError(f"train and test images differ in shape (C, H, W): {shapes}")
    classes = tuple(str(label) for label in range(1 + max(int(each.max()) for each in labels.values())))
    preprocess = preprocess_for(options, images["train"].shape[1])
    return {
        name: memory_split(
            dataset="arrays",
            name=name,
            images=images[name],
            labels=labels[name],
            classes=classes,
            preprocess=preprocess,
        )
        for name in files
    }


def load_npy(path: Path) -> npt.NDArray[Any]:
    """A ``.npy`` array, memory-mapped copy-on-write, so that torch takes it and the file cannot change.

    Raises:
        InputError: the file is missing, cut short, or not a ``.npy`` array of numbers.
    """
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; it must be a .npy file") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a .npy array of numbers: {error}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path} is an archive of arrays; it must be a .npy file with one array")
    return array


def _load_images(path: Path) -> Tensor:
    """uint8 (N, C, H, W), a view of the mapped file."""
    array = load_npy(path)
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        raise InputError(
            f"{path} is {array.dtype} of shape {array.shape}; "
            "images must be uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W)"
        )
    images = torch.from_numpy(array)
    if images.ndim == 3:
        return images.unsqueeze(1)
    if images.shape[3] in _CHANNELS:
        return images.permute(0, 3, 1, 2)
    if images.shape[1] in _CHANNELS:
        return images
    raise InputError(f"{path} has shape {array.shape}; the second or the last axis must be channels, 1 or 3")


def _load_labels(path: Path) -> Tensor:
    """int64 (N,), at least one, none negative."""
    array = load_npy(path)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
        raise InputError(f"{path} is {array.dtype} of shape {array.shape}; labels must be integers of shape (N,)")
    if array.min() < 0:
        row = int(np.argmax(array < 0))
        raise InputError(f"{path}: sample {row} has label {array[row]}; labels count from 0")
    return torch.from_numpy(array.astype(np.int64))
