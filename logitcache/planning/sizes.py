"""Bytes of a stored row by encoding: estimated from what is asked, or measured on a sample of logits.

A sample is encoded and compressed as blocks are. Three quarters of it at least choose what is chosen from logits, and
the rest is weighed, so that no row is weighed by a transform that has seen it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from logitcache.errors import InputError
from logitcache.store import EncodingOptions, Sample, choose_encoding, layout, resolve, schema
from logitcache.store.encodings import Encoding, make_codec
from logitcache.store.identity import WHOLE_ARRAYS

__all__ = ["LEAST_SAMPLE", "Size", "compared", "estimate", "estimated_row", "kept_row", "titled", "weigh"]

LEAST_SAMPLE = 16
"""Rows below which a sample tells nothing."""

_TYPICAL_STD = 4.0
"""Spread of logits that bytes are estimated with before any are known."""
_HELD_OUT = 4
_TRIAL_VALUES = 1 << 24
"""Logits that are weighed at most: of very wide rows fewer tell as much."""
_ENTRIES = (10, 100)
_MORE = ("codec", "dtype", "head", "precision", "top_p")
"""Options that change few bytes or none; they are told where they are not at their defaults."""


@dataclass(frozen=True)
class Size:
    """What logits take in one encoding.

    Attributes:
        title: the encoding as it was asked for, for people.
        row_bytes: bytes of a row in its blocks.
        shared_bytes: bytes that all rows of a teacher in a split share: the transform of a spectral encoding.
        arrays: arrays of a block, a shard each.
        chosen: what was chosen, for people, where a sample decided; empty where it is as asked.
        measured: whether a sample was weighed.
        at_most: whether the estimate is an upper one.
    """

    title: str
    row_bytes: float
    shared_bytes: int = 0
    arrays: int = 1
    chosen: str = ""
    measured: bool = False
    at_most: bool = False

    def total(self, rows: int, stores: int = 1) -> float:
        """Bytes of so many rows in so many teachers and splits."""
        return self.row_bytes * rows + self.shared_bytes * stores


def titled(options: EncodingOptions) -> str:
    """An encoding as a recipe asks for it, for people; different ones have different titles."""
    words: list[str] = [options.kind]
    if options.kind == "lossless":
        words = [f"lossless {options.dtype or 'float32'}"]
    elif options.kind == "topk":
        words += [f"{options.entries} entries"]
    elif options.bytes_per_row is not None:
        words += [f"bytes_per_row {options.bytes_per_row:g}"]
    elif options.step is not None:
        words += [f"step {options.step:g}"]
    else:
        words += [f"max_kl {options.max_kl:g} from tau {options.tau_min:g} on"]
    told = ("dtype",) if options.kind == "lossless" else ()
    more = {key: value for key, value in options.asked().items() if key in _MORE and key not in told}
    return ", ".join([*words, *(f"{key} {value}" for key, value in more.items())])


def compared(own: EncodingOptions, classes: int) -> Iterator[EncodingOptions]:
    """The encodings that a plan sets side by side: the usual ones at the promise of ``own``, and that itself."""
    promise = {"max_kl": own.max_kl, "tau_min": own.tau_min, "codec": own.codec}
    usual = [
        EncodingOptions(kind="lossless", codec=own.codec),
        EncodingOptions(kind="lossless", dtype="float16", codec=own.codec),
        EncodingOptions.model_validate({"kind": "uniform", **promise}),
        EncodingOptions.model_validate({"kind": "auto", **promise}),
        *(EncodingOptions(kind="topk", entries=k, codec=own.codec) for k in _ENTRIES if k < classes),
    ]
    yield from usual
    if titled(own) not in map(titled, usual):
        yield own


def estimate(options: EncodingOptions, classes: int) -> Size:
    """The size of an encoding before any logits are known; of one that a sample decides, what it is at most."""
    kind = "uniform" if options.kind == "auto" else options.kind
    spectral = 2 + 2 * bool(options.head)
    return Size(
        title=titled(options),
        row_bytes=estimated_row(options, classes),
        arrays={"spectral": spectral, "topk": 3}.get(kind, 1),
        at_most=options.calibrated and options.bytes_per_row is None,
    )


def estimated_row(options: EncodingOptions, classes: int) -> float:
    """Bytes of a row's logits; of an encoding that is chosen from a sample, those of uniform: it will not be more."""
    if options.bytes_per_row is not None:
        return options.bytes_per_row
    if options.kind == "topk":
        return 3.0 * min(options.entries, classes)
    plain = options.model_copy(update={"kind": "uniform", "head": None}) if options.calibrated else options
    encoding = resolve(plain)
    return _bits(encoding.step, encoding.dtype) / 8 * classes


def kept_row(options: EncodingOptions, classes: int) -> int:
    """About how many bytes a decoded row takes in a trainer's memory; of spectral rows on a GPU it may be less."""
    if options.kind == "topk":
        return 8 * min(options.entries, classes) + 4
    wide = options.dtype == "int32" or (options.kind == "lossless" and options.dtype != "float16")
    return classes * (4 if wide else 2)


def weigh(options: EncodingOptions, sample: Sample) -> Size:
    """The size of an encoding, measured on a sample.

    Args:
        options: the encoding as it is asked for.
        sample: float32 logits (rows, classes), at least 16 of them in random order or that of the data set; for
            lossless float16 they are rounded to it, as those of a teacher that it holds would be. Features and the
            head's weight make a better transform of very wide rows.

    Raises:
        InputError: the sample is too small, or no such encoding keeps its promise on it.
    """
    rows, classes = sample.logits.shape
    if rows < LEAST_SAMPLE:
        raise InputError(f"a sample of {rows} rows tells no sizes; give at least {LEAST_SAMPLE}, better 5 a class")
    if options.kind == "lossless" and options.dtype == "float16":
        sample = replace(sample, logits=sample.logits.half().float())
    held_out = torch.arange(rows) % max(_HELD_OUT, math.ceil(rows * classes / _TRIAL_VALUES)) == 0
    features = None if sample.features is None else sample.features[~held_out]
    choice = choose_encoding(options, replace(sample, logits=sample.logits[~held_out], features=features))
    trial = sample.logits[held_out]
    with torch.inference_mode():
        encoded = make_codec(choice.encoding, classes, choice.wholes).encode(trial)
    cut = layout.Cut(1, len(trial), *layout.block_shape(len(trial), classes, len(trial)))
    specs = layout.logits_specs(choice.encoding, classes, cut)
    size = sum(len(schema.values_to_shard(encoded.values[name], spec)) for name, spec in specs.items())
    shared = sum(
        len(data)
        for name, values in choice.wholes.items()
        for data in schema.whole_array_objects(name, values, WHOLE_ARRAYS[name], choice.encoding.codec).values()
    )
    chosen = _chosen(choice.encoding) if options.calibrated else ""
    return Size(titled(options), size / len(trial), shared, len(specs), chosen, measured=True)


def _chosen(encoding: Encoding) -> str:
    """What a sample decided."""
    words = [encoding.kind, f"step {encoding.step:.3g}"]
    if encoding.kind == "spectral":
        words.append(f"{encoding.components} components")
    return ", ".join([*words, f"head {encoding.head}"] if encoding.head else words)


def _bits(step: float, dtype: str) -> float:
    """Bits of a stored logit: the entropy of a quantised Gaussian, or the type's own."""
    if not step:
        return 32.0 if dtype == "float32" else 16.0
    return max(1.0, math.log2(_TYPICAL_STD * math.sqrt(2 * math.pi * math.e) / step))
