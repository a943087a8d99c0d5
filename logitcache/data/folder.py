"""Image folders in ImageNet's layout: ``ROOT/train/CLASS/*.jpg`` and ``ROOT/val`` or ``ROOT/test`` likewise.

Images are opened one by one, as RGB. The held-out split is ``val`` where there is one (ImageNet's ``test`` has no
labels), else ``test``; here it is called ``"test"``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError

from logitcache.data.normalise import preprocess_for
from logitcache.data.options import DataOptions
from logitcache.data.split import Preprocess, Split, lazy_split
from logitcache.errors import InputError

__all__ = ["folder_preprocess", "open_image_folder"]

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
_SIZE = 224
# ImageNet's usual evaluation: shorter side 256, centre 224
_MARGIN = 256 / 224


@dataclass(frozen=True)
class _Files:
    """Opens a folder's images by row; can be pickled for worker processes."""

    root: Path
    names: tuple[str, ...]

    def __call__(self, row: int) -> Image.Image:
        path = self.root / self.names[row]
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise InputError(f"image {path} cannot be read: {error}") from None

    def read_bytes(self, row: int) -> bytes:
        """The file's bytes."""
        return (self.root / self.names[row]).read_bytes()


def open_image_folder(options: DataOptions) -> dict[str, Split]:
    """The train split and, where there is one, the test split.

    Raises:
        InputError: no ``train`` folder, no classes, a class without images, or a class that train does not have.
    """
    train = options.root / "train"
    if not train.is_dir():
        raise InputError(f"image_folder: {train} is not a folder; set data.root to the folder that holds train/CLASS/*")
    classes = tuple(sorted(path.name for path in train.iterdir() if path.is_dir()))
    if not classes:
        raise InputError(f"image_folder: {train} has no class folders; images belong into {train}/CLASS/")
    splits = {"train": _open_split(options, "train", train, classes)}
    held_out = next((options.root / name for name in ("val", "test") if (options.root / name).is_dir()), None)
    if held_out is not None:
        splits["test"] = _open_split(options, "test", held_out, classes)
    return splits


def _open_split(options: DataOptions, name: str, folder: Path, classes: tuple[str, ...]) -> Split:
    """One folder of class folders."""
    unknown = sorted({path.name for path in folder.iterdir() if path.is_dir()} - set(classes))
    if unknown:
        raise InputError(f"image_folder: {folder} has class {unknown[0]!r}, which train does not have")
    names: list[str] = []
    labels: list[int] = []
    for label, class_name in enumerate(classes):
        found = _images_in(folder / class_name)
        if not found and name == "train":
            raise InputError(f"image_folder: {folder / class_name} has no images ({', '.join(sorted(_SUFFIXES))})")
        names += [f"{class_name}/{image}" for image in found]
        labels += [label] * len(found)
    files = _Files(folder, tuple(names))
    return lazy_split(
        dataset="image_folder",
        name=name,
        open_row=files,
        read_bytes=files.read_bytes,
        labels=torch.tensor(labels, dtype=torch.int64),
        classes=classes,
        preprocess=folder_preprocess(options),
        names="\n".join(names),
    )


def folder_preprocess(options: DataOptions) -> Preprocess:
    """What turns an image of a folder into network input; its size is always set.

    Raises:
        InputError: a mean of another number of channels than three.
    """
    size = options.size or _SIZE
    preprocess = replace(preprocess_for(options, 3), size=size, resize=options.resize or round(size * _MARGIN))
    if len(preprocess.mean) != 3:
        raise InputError(f"data.mean has {len(preprocess.mean)} channels, image_folder opens images as RGB")
    return preprocess


def _images_in(folder: Path) -> list[str]:
    """Names of the images anywhere below a class folder, sorted."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    return sorted(path.relative_to(folder).as_posix() for path in paths)
