"""What ``torch.save`` wrote: a file for each sample, or one file of all logits. Read with ``weights_only`` alone.

A sample's file holds a tensor (classes,) or (views, classes), or a mapping with such a tensor under ``logits``, or
FKD's list of crops, flips and soft labels. FKD's labels are probabilities at the temperature they were made with:
(views, 2, k) classes and their probabilities, or (views, classes) whole, of which logits follow up to a constant; its
crops and flips are not kept. Samples stand in the order of :func:`~logitcache.formats.records.ordered` names, without
their endings.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from logitcache.errors import InputError
from logitcache.formats.arrays import dense, to_float32
from logitcache.formats.records import FloatArray, Source, SourceOptions, by_name, one_of, ordered
from logitcache.formats.sparse import checked, log_of, needed_classes
from logitcache.store.encodings.topk import TopK

__all__ = ["ENDINGS", "open_torch_file", "open_torch_folder"]

ENDINGS = (".pt", ".pth", ".tar")

_EXACT_HALF = 2048
"""Whole numbers up to here are exact in float16, in which FKD may store classes."""


@dataclass(frozen=True)
class _Sample:
    """One sample's file: values float (views, classes), or with ids integers (views, k) beside them."""

    values: Tensor
    ids: npt.NDArray[np.int64] | None = None
    probabilities: bool = False

    @property
    def kind(self) -> str:
        """What all samples must have alike, in words."""
        views, width = self.values.shape
        what = "entries" if self.ids is not None else "probabilities" if self.probabilities else "logits"
        return f"{views} views of {width} {what}"


class _Array(np.ndarray[Any, Any]):
    """An array from a file; its size is that of the bytes beside it, whatever the file asks to be made first."""

    def __new__(cls, *_: Any) -> Self:
        return super().__new__(cls, (0,), np.uint8)


_ARRAYS: list[Any] = [
    _Array,
    (_Array, "numpy.ndarray"),
    (_Array.__new__, "numpy.core.multiarray._reconstruct"),
    (_Array.__new__, "numpy._core.multiarray._reconstruct"),
    np.dtype,
    *sorted({type(np.dtype(code)) for code in "?bhilqBHILQefd"}, key=lambda kind: kind.__name__),
]
"""What stands for NumPy's arrays in files, of plain numbers only: FKD's hold them."""


def open_torch_file(path: Path, options: SourceOptions) -> Source:
    """One file with all logits, (samples, classes) or (views, samples, classes); they stay on disk.

    Raises:
        InputError: it is no such file.
    """
    tensor = _tensor(path, _load(path), options.key)

    def part(view: int, rows: range) -> FloatArray:
        return to_float32((tensor if tensor.ndim == 2 else tensor[view])[rows.start : rows.stop])

    return dense(path, options, tuple(tensor.shape), part, layout="torch", precision=_type_name(tensor))


def open_torch_folder(path: Path, options: SourceOptions) -> Source:
    """A file for each sample, in the folder or below.

    Raises:
        InputError: a file that is not what it should be, names that differ in their endings only, or ``classes`` was
            not given for sparse rows.
    """
    files = by_name(path, ENDINGS)
    known = {file.relative_to(path).with_suffix("").as_posix(): file for file in files}
    if len(known) != len(files):
        raise InputError(f"{path} has files that differ in their endings only; a sample has one file")
    names = ordered(known)
    first = _sample(known[names[0]], options)
    if not first.probabilities and options.tau != 1:
        raise InputError(f"{path} holds logits; tau is for stored probabilities")
    shape, sparse = tuple(first.values.shape), first.ids is not None
    classes = needed_classes("FKD's sparse format", options.classes) if sparse else shape[1]
    if options.classes not in (None, classes):
        raise InputError(f"{path} has {classes} classes, given was classes = {options.classes}")

    @lru_cache(maxsize=1)
    def block(start: int, stop: int) -> list[_Sample]:
        samples = [_sample(known[name], options) for name in names[start:stop]]
        for name, each in zip(names[start:stop], samples, strict=True):
            if each.kind != first.kind:
                raise InputError(f"{known[name]} has {each.kind}, but {known[names[0]]} has {first.kind}")
        return samples

    def part(view: int, rows: range) -> FloatArray | TopK:
        samples = block(rows.start, rows.stop)
        values = torch.stack([each.values[view] for each in samples])
        if not sparse:
            return _logits(values, options.tau) if first.probabilities else to_float32(values)
        ids = np.stack([cast("npt.NDArray[np.int64]", each.ids)[view] for each in samples])
        probs = values.double().numpy()
        return checked(ids, log_of(probs), classes, lambda row: f"{known[names[rows[row]]]}, view {view}")

    precision = _type_name(first.values)
    k = shape[1] if sparse else 0
    return Source(path, "torch", shape[0], len(names), classes, precision, part, files, k, rows_first=True)


def _load(path: Path) -> Any:
    """The content of a file; nothing in it is run, and nothing is larger than the file says it is.

    Raises:
        InputError: it is not a whole file of tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise InputError(f"{path} is a packed archive; torch.save packs nothing")
            if (bad := archive.testzip()) is not None:  # torch itself does not look at checksums
                raise InputError(f"{path} is damaged: the checksum of {bad} differs")
        with torch.serialization.safe_globals(_ARRAYS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is not a whole file of torch.save since version 1.6: {error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is no file of plain tensors: {reason}") from error


def _sample(path: Path, options: SourceOptions) -> _Sample:
    """One sample's file."""
    content = _load(path)
    if isinstance(content, (list, tuple)) and len(content) == 3:
        return _fkd(path, content[2], options)
    values = _tensor(path, content, options.key)
    if values.ndim not in (1, 2) or not values.numel():
        raise InputError(f"{path} has shape {tuple(values.shape)}; expected logits (classes,) or (views, classes)")
    return _Sample(values.reshape(-1, values.shape[-1]).clone())  # the file itself need not stay open


def _fkd(path: Path, labels: Any, options: SourceOptions) -> _Sample:
    """FKD's soft labels: classes and probabilities in one array or in a pair, or whole probabilities."""
    if isinstance(labels, (list, tuple)) and len(labels) == 2:
        values, ids = sorted((_numbers(path, each) for each in labels), key=lambda each: not each.is_floating_point())
    else:
        values = ids = _numbers(path, labels)
        if values.ndim >= 2 and values.shape[1] == 2:  # of one class and its probability, or of k of them
            ids, values = (each.reshape(len(each), -1) for each in values.unbind(1))
    if values.ndim != 2 or values.shape != ids.shape or not values.numel() or not values.is_floating_point():
        raise InputError(f"{path} has soft labels of shape {tuple(values.shape)} and type {values.dtype}; see formats")
    if values is ids:
        return _Sample(values.clone(), probabilities=True)
    if options.tau != 1:
        raise InputError(f"{path} keeps {values.shape[1]} classes at tau {options.tau}; what they are at 1 is unknown")
    if bool((ids != ids.round()).any() if ids.is_floating_point() else False):
        raise InputError(f"{path} has class numbers that are not whole")
    if ids.dtype == torch.float16 and (options.classes or 0) > _EXACT_HALF:
        raise InputError(f"{path} has class numbers in float16, which is exact up to {_EXACT_HALF} only")
    return _Sample(values.clone(), ids.long().clone().numpy(), probabilities=True)


def _tensor(path: Path, content: Any, key: str | None) -> Tensor:
    """The logits of a file: what it holds, or an entry of it."""
    if isinstance(content, Mapping):
        tensors = {name: value for name, value in content.items() if isinstance(name, str)}
        content = tensors[one_of(path, "entry", tensors, key)]
    values = _numbers(path, content)
    if not values.is_floating_point():
        raise InputError(f"{path} has type {values.dtype}; expected floating-point logits")
    return values


def _numbers(path: Path, content: Any) -> Tensor:
    """A tensor, or an array as one; no larger than its file."""
    if isinstance(content, np.ndarray):
        if content.dtype.kind not in "biuf" or not content.dtype.isnative or content.dtype.itemsize > 8:
            raise InputError(f"{path} holds an array of {content.dtype}; expected numbers")
        content = torch.from_numpy(np.array(content, subok=False))
    if not isinstance(content, Tensor) or content.layout != torch.strided:
        raise InputError(f"{path} holds a {type(content).__name__}; expected a tensor of logits or FKD's list of three")
    if content.numel() * content.element_size() > path.stat().st_size:
        raise InputError(f"{path} claims a tensor of shape {tuple(content.shape)}, more than the file has")
    return content.detach()


def _type_name(tensor: Tensor) -> str:
    """The tensor's type as NumPy calls it, too."""
    return str(tensor.dtype).removeprefix("torch.")


def _logits(probs: Tensor, tau: float) -> FloatArray:
    """Logits, up to a constant, of whole probabilities at ``tau``."""
    return to_float32(probs.double().log() * tau)
