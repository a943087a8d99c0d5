"""Fashion-MNIST, MNIST, CIFAR-10 and CIFAR-100 through torchvision, held in memory.

Fashion-MNIST comes with the repository as four gzip archives under ``ROOT/fashion_mnist``. They are unpacked
into torchvision's layout, ``ROOT/FashionMNIST/raw``, on first use; its own ``download=True`` would refuse the
archives for their MD5, and accepts the unpacked files.
"""

from __future__ import annotations

import contextlib
import gzip
import shutil
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision import datasets

from logitcache.data.normalise import preprocess_for
from logitcache.data.options import DataOptions
from logitcache.data.split import Split, memory_split
from logitcache.errors import InputError

__all__ = ["open_torchvision", "unpack_fashion_mnist"]

_FACTORIES: dict[str, Callable[..., Any]] = {
    "fashion_mnist": datasets.FashionMNIST,
    "mnist": datasets.MNIST,
    "cifar10": datasets.CIFAR10,
    "cifar100": datasets.CIFAR100,
}


def open_torchvision(options: DataOptions) -> dict[str, Split]:
    """Train and test split of a torchvision data set.

    Raises:
        InputError: the data are absent (and ``download`` is not set), damaged, or cannot be fetched.
    """
    if options.name == "fashion_mnist":
        unpack_fashion_mnist(options.root)
    return {name: _open_split(options, name) for name in ("train", "test")}


def unpack_fashion_mnist(root: Path) -> None:
    """Unpack ``root/fashion_mnist/*.gz`` into ``root/FashionMNIST/raw`` where that has not been done.

    Each file is written aside and renamed, so that a file that is there is whole, whoever else unpacks meanwhile.

    Raises:
        InputError: a damaged archive, or a folder that cannot be written.
    """
    raw = root / "FashionMNIST" / "raw"
    for archive in sorted((root / "fashion_mnist").glob("*.gz")):
        target = raw / archive.stem
        if not target.exists():
            _unpack(archive, target)


def _unpack(archive: Path, target: Path) -> None:
    """Unpack one archive, whole or not at all."""
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(archive, "rb") as packed, partial.open("xb") as aside:
            shutil.copyfileobj(packed, aside)
        partial.replace(target)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{archive} is damaged ({error}); fetch it again, or delete it and pass download=true"
        ) from None
    except OSError as error:
        raise InputError(f"{archive} could not be unpacked into {target.parent}: {error}") from None
    finally:
        with contextlib.suppress(OSError):  # there is none after a success
            partial.unlink()


def _open_split(options: DataOptions, name: str) -> Split:
    """One split, copied out of torchvision's data set."""
    try:
        dataset = _FACTORIES[options.name](options.root, train=name == "train", download=options.download)
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(_advice(options, reason)) from None
    images = _channels_first(dataset.data)
    labels = torch.as_tensor(dataset.targets)
    preprocess = preprocess_for(options, images.shape[1])
    return memory_split(
        dataset=options.name,
        name=name,
        images=images,
        labels=labels,
        classes=tuple(dataset.classes),
        preprocess=preprocess,
    )


def _advice(options: DataOptions, reason: str) -> str:
    """Why a data set did not open, and what to do."""
    if options.download:
        return f"data set {options.name!r} could not be fetched into {options.root}: {reason}"
    return (
        f"data set {options.name!r} is not in {options.root}/ ({reason.rstrip('.')}); "
        "set data.root to the folder that holds it, or data.download = true to fetch it"
    )


def _channels_first(data: Any) -> Tensor:
    """uint8 (N, C, H, W) of torchvision's (N, H, W) tensor or (N, H, W, C) array."""
    images = torch.as_tensor(data)
    return images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
