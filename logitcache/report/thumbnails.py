"""Small pictures of samples as PNG data URLs, and the file of a run that keeps them.

``DIR/thumbnails.json`` is ``{split: {sample: data URL}}``, where a sample is its index in the full data set. The
pipeline writes it, for it has the data; the page only reads it, so that a report needs no data at all.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from logitcache.errors import InputError
from logitcache.files import write_text

__all__ = ["FILE", "SIDE", "Thumbnails", "read_thumbnails", "thumbnail", "write_thumbnails"]

FILE = "thumbnails.json"
SIDE = 64
"""Pixels of the longer side; smaller images keep theirs, and a page enlarges them with crisp pixels."""

START = "data:image/png;base64,"
_URL = re.compile(re.escape(START) + r"[A-Za-z0-9+/]+={0,2}")

Thumbnails = Mapping[tuple[str, int], str]
"""Data URLs by split and sample."""


def thumbnail(pixels: NDArray[Any], side: int = SIDE) -> str:
    """A picture as a PNG data URL.

    Args:
        pixels: (C, H, W) with 1 channel (grey), 3 (RGB) or more, of which the first is shown; uint8, or floats in
            [0, 1] as transforms give them.
        side: pixels of the longer side that larger pictures are reduced to.

    Raises:
        InputError: other dtypes or shapes.
    """
    image = Image.fromarray(_channels_last(pixels))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return START + base64.b64encode(data.getvalue()).decode("ascii")


def _channels_last(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 (H, W) or (H, W, 3)."""
    known = pixels.dtype == np.uint8 or pixels.dtype.kind == "f"
    if pixels.ndim != 3 or not pixels.size or not known:
        raise InputError(f"a picture is {pixels.dtype} of shape {pixels.shape}; it must be uint8 or float (C, H, W)")
    if pixels.dtype != np.uint8:
        pixels = np.rint(np.clip(np.nan_to_num(pixels), 0, 1) * 255).astype(np.uint8)
    shown = pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]
    return np.ascontiguousarray(shown)


def write_thumbnails(directory: Path, found: Thumbnails) -> Path:
    """Add thumbnails to those that a run folder has; returns ``DIR/thumbnails.json``."""
    kept: dict[str, dict[str, str]] = {}
    for (split, sample), url in sorted({**_known(directory), **found}.items()):
        kept.setdefault(split, {})[str(sample)] = url
    path = directory / FILE
    write_text(path, json.dumps(kept, indent=0) + "\n")
    return path


def _known(directory: Path) -> Thumbnails:
    """Those that are there already; a damaged file is written anew."""
    try:
        return read_thumbnails(directory)
    except InputError:
        return {}


def read_thumbnails(directory: Path) -> Thumbnails:
    """The thumbnails of a run folder; none where nobody wrote them.

    Raises:
        InputError: the file is not what :func:`write_thumbnails` writes.
    """
    path = directory / FILE
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = {(str(split), int(sample)): str(url) for split, part in record.items() for sample, url in part.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it and run the recipe again") from error
    if not all(_URL.fullmatch(url) for url in found.values()):
        raise InputError(f"{path} holds an address that is no PNG data URL; delete it and run the recipe again")
    return found
