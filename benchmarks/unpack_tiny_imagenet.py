"""Unpack images that lie as one mosaic a class to the ``.npy`` files of ``data.name = "arrays"``.

    python benchmarks/unpack_tiny_imagenet.py FOLDER OUT

FOLDER has ``classes.txt``, whose lines begin with the name of a class, and for each class ``NAME.jpg``: 550 images of
32x32 in 22 rows of 25, the first 500 for training and the last 50 for testing. OUT gets ``train_images.npy`` (uint8
(N, 32, 32, 3)), ``train_labels.npy`` (int64 (N,), the line of the class in ``classes.txt``), ``test_images.npy`` and
``test_labels.npy``. The profile ``gpu`` of the recipes in ``pipelines/kim2021`` reads them from
``data/tiny_imagenet100_32``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

SIDE, COLUMNS, ROWS, TRAIN = 32, 25, 22, 500

Array = npt.NDArray[Any]


def main(words: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with classes.txt and one mosaic a class")
    parser.add_argument("out", type=Path, help="gets four .npy files; made where it is missing")
    options = parser.parse_args(words)
    try:
        unpack(options.folder, options.out)
    except (OSError, ValueError) as error:
        sys.exit(str(error))


def unpack(folder: Path, out: Path) -> None:
    """Write the four arrays of all classes, after every mosaic was read.

    Raises:
        FileNotFoundError: no list of classes, or no mosaic of one of them.
        ValueError: an empty list, or a mosaic of another size.
    """
    names = [line.split()[0] for line in (folder / "classes.txt").read_text(encoding="utf-8").splitlines() if line]
    if not names:
        raise ValueError(f"{folder / 'classes.txt'} names no class")
    images = np.stack([read_mosaic(folder / f"{name}.jpg") for name in names])
    out.mkdir(parents=True, exist_ok=True)
    for split, part in (("train", images[:, :TRAIN]), ("test", images[:, TRAIN:])):
        np.save(out / f"{split}_images.npy", part.reshape(-1, SIDE, SIDE, 3))
        np.save(out / f"{split}_labels.npy", np.repeat(np.arange(len(names)), part.shape[1]))
        print(f"{out / split}_images.npy: {part.shape[0] * part.shape[1]} images in {len(names)} classes")


def read_mosaic(path: Path) -> Array:
    """The images of one class, uint8 (550, 32, 32, 3), row by row.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no image, or one of another size than 25 x 22 images.
    """
    try:
        with Image.open(path) as file:
            mosaic = np.asarray(file.convert("RGB"))
    except UnidentifiedImageError:
        raise ValueError(f"{path} is no image") from None
    if mosaic.shape != (ROWS * SIDE, COLUMNS * SIDE, 3):
        raise ValueError(
            f"{path} is {mosaic.shape[1]} x {mosaic.shape[0]} pixels; {COLUMNS * SIDE} x {ROWS * SIDE} are needed"
        )
    grid = mosaic.reshape(ROWS, SIDE, COLUMNS, SIDE, 3).swapaxes(1, 2)
    return grid.reshape(ROWS * COLUMNS, SIDE, SIDE, 3)


if __name__ == "__main__":
    main()
