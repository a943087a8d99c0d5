"""Choose an encoding from a sample of a teacher's logits: the smallest one that keeps the promise asked for.

The sample are random rows of the clean view. Three quarters of it give a transform, the rest, rows that the transform
has not seen, are encoded in every way that comes into question and compressed as they would be on disk. The transform
that is stored is then made of the whole sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from logitcache.errors import InputError
from logitcache.store import layout, schema
from logitcache.store.choices import Choice, Sample
from logitcache.store.encodings import Basis, Encoding, EncodingOptions, make_codec, resolve, round_step
from logitcache.store.encodings.certify import MARGIN, coarse_grid, fine_grid
from logitcache.store.encodings.kl import kl_rows
from logitcache.store.encodings.spectral import eigenbasis

__all__ = ["choose_encoding"]

_HEAD = 8
_HEAD_CLASSES = 64
"""With fewer classes the components hold the top entries well enough, and a head is mostly a copy of them."""
_HELD_OUT = 4
_TRIAL_VALUES = 1 << 24
_PROBE = 64
_ROUNDS = 12
_WORTH = 0.85
"""Uniform's bound is proved, holds at every tau, and its rows read fastest: another encoding must save 15 %."""


@dataclass(frozen=True)
class _Candidate:
    """An encoding in question, and what a row takes: in its arrays, and as its share of the transform."""

    encoding: Encoding
    row_bytes: float
    shared_bytes: float
    kl: float

    @property
    def total(self) -> float:
        return self.row_bytes + self.shared_bytes

    def __str__(self) -> str:
        """As people say it."""
        encoding = self.encoding
        head = f" head {encoding.head}" if encoding.head else ""
        return f"{encoding.kind} step {encoding.step:.3g}{head} {self.total:.1f}"


def choose_encoding(options: EncodingOptions, sample: Sample | None = None) -> Choice:
    """The encoding that ``options`` ask for; ``auto`` and ``spectral`` look at a sample for it.

    Raises:
        InputError: there is no sample, or no such encoding keeps the promise on it.
    """
    if not options.calibrated:
        return Choice(resolve(options))
    if sample is None:
        raise InputError(f"encoding {options.kind!r} needs a sample of the teacher's logits")
    with torch.inference_mode():
        return _choose(options, sample)


def _choose(options: EncodingOptions, sample: Sample) -> Choice:
    """Compare the candidates on held-out rows, then make the winner's transform of all rows."""
    # every fourth row: samples come in the data set's order, and that may be by class
    rows, classes = sample.logits.shape
    held_out = torch.arange(rows) % max(_HELD_OUT, math.ceil(rows * classes / _TRIAL_VALUES)) == 0
    others = ~held_out if rows > 1 else held_out
    basis = _basis(_some_rows(sample, others)) if options.kind != "uniform" else None
    trial = _some_rows(sample, held_out)
    candidates = list(_candidates(options, trial, basis, sample.stored_rows))
    if not candidates:
        raise InputError(
            f"no {options.kind} encoding keeps max_kl = {options.max_kl:g} on the sample; use kind = 'uniform'"
        )
    best = _best(candidates, options)
    reason = f"bytes a row on {len(trial.logits)} held-out rows, transform included: " + ", ".join(map(str, candidates))
    encoding = replace(best.encoding, asked=options.asked(), reason=reason)
    if encoding.kind != "spectral":
        return Choice(encoding)
    final = _basis(sample)
    wholes = final.arrays(encoding.step)
    return Choice(replace(encoding, components=len(final.spread)), wholes)


def _best(candidates: Sequence[_Candidate], options: EncodingOptions) -> _Candidate:
    """The smallest candidate, or at equal bytes the most exact one; uniform where others save little."""
    if options.bytes_per_row is not None:
        return min(candidates, key=lambda each: each.kl)
    smallest = min(candidates, key=lambda each: each.total)
    plain = next((each for each in candidates if each.encoding.kind == "uniform"), smallest)
    return plain if smallest.total > _WORTH * plain.total else smallest


def _some_rows(sample: Sample, rows: Tensor) -> Sample:
    """Some of a sample's rows, marked by True."""
    features = None if sample.features is None else sample.features[rows]
    index = np.arange(len(rows)) if sample.index is None else sample.index
    return replace(sample, logits=sample.logits[rows], features=features, index=index[rows.cpu().numpy()])


def _basis(sample: Sample) -> Basis:
    """The transform that a sample gives."""
    return eigenbasis(sample.logits, sample.features, sample.weight)


def _candidates(options: EncodingOptions, trial: Sample, basis: Basis | None, rows: int) -> Iterator[_Candidate]:
    """What comes into question, as far as it keeps its promise on the trial rows."""
    if options.kind in ("auto", "uniform"):
        plain = options.model_copy(update={"kind": "uniform", "bytes_per_row": None, "precision": "float32"})
        encoding = (
            resolve(plain) if options.bytes_per_row is None else _fitted_uniform(plain, options.bytes_per_row, trial)
        )
        yield _weigh(encoding, trial, None, rows)
    if basis is None or not len(basis.spread):  # logits that never change have no components
        return
    for encoding in _spectral_encodings(options, trial.logits.shape[1], len(basis.spread)):
        try:
            if encoding.max_kl is not None:  # where rows lie outside the transform, few of them tell soon
                codec = make_codec(encoding, trial.logits.shape[1], basis.arrays(encoding.step))
                codec.encode(trial.logits[:_PROBE], trial.index)
            yield _weigh(_fitted(encoding, options, trial, basis, rows), trial, basis, rows)
        except InputError:
            if options.kind == "spectral":  # the user's own choice: say what is wrong with it
                raise


def _spectral_encodings(options: EncodingOptions, classes: int, components: int) -> Iterator[Encoding]:
    """Spectral encodings worth a trial: steps as multiples of what is proved for uniform, without and with a head."""
    # What rounding does to few components is spread over all classes.
    spread = math.sqrt(max(1.0, classes / max(1, components)))
    proved = options.tau_min * math.sqrt(8 * options.max_kl) * spread
    heads = [options.head] if options.head is not None else [0, *([_HEAD] if classes >= _HEAD_CLASSES else [])]
    for head in heads:
        if head and head >= classes:
            raise InputError(f"head = {head} entries of {classes} classes; give fewer")
        factors = (1.0,) if options.step or options.bytes_per_row else ((2.0, 2.8) if head else (1.4, 2.0))
        for factor in factors:
            step = round_step(options.step or factor * proved)
            yield Encoding(
                kind="spectral",
                dtype=options.dtype or "int16",
                step=step,
                max_kl=None if options.step else options.max_kl,
                tau_min=options.tau_min,
                components=components,
                head=head,
                head_step=_head_step(options, step) if head else 0.0,
                precision=options.precision,
                codec=options.codec,
            )


def _head_step(options: EncodingOptions, step: float) -> float:
    """The step of head values: a quarter of tau_min, finer where the promise is."""
    promise = step / 8 if options.step or options.bytes_per_row else options.tau_min * math.sqrt(options.max_kl)
    return round_step(min(0.25 * options.tau_min, promise))


def _fitted(encoding: Encoding, options: EncodingOptions, trial: Sample, basis: Basis, rows: int) -> Encoding:
    """With the step that takes the bytes asked for, and the promise that nearly all rows keep at it."""
    if options.bytes_per_row is None:
        return encoding

    def at(step: float) -> Encoding:
        rounded = round_step(step)
        return replace(
            encoding, step=rounded, max_kl=None, head_step=_head_step(options, rounded) if encoding.head else 0.0
        )

    step = _bisect(lambda step: _weigh(at(step), trial, basis, rows).total, options.bytes_per_row)
    chosen = at(step)
    return replace(chosen, max_kl=_certain_kl(chosen, trial.logits, basis))


def _fitted_uniform(options: EncodingOptions, wanted: float, trial: Sample) -> Encoding:
    """The uniform encoding that takes the bytes asked for."""
    step = _bisect(lambda step: _weigh(_at(options, step), trial, None, 1).total, wanted)
    return _at(options, step)


def _at(options: EncodingOptions, step: float) -> Encoding:
    return resolve(options.model_copy(update={"step": step}))


def _bisect(size: Any, wanted: float) -> float:
    """The smallest step that takes no more than the bytes wanted.

    Raises:
        InputError: no step takes so few.
    """
    low, high = 2.0**-8, 2.0**6
    if size(high) > wanted:
        raise InputError(f"bytes_per_row = {wanted:g} is less than any step takes here, {size(high):.1f}; give more")
    for _ in range(_ROUNDS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if _at_most(size, middle, wanted) else (middle, high)
    return high


def _at_most(size: Any, step: float, wanted: float) -> bool:
    """Whether a step takes no more than the bytes wanted; one that is too fine for the codes' type takes more."""
    try:
        return bool(size(step) <= wanted)
    except InputError:
        return False


def _certain_kl(encoding: Encoding, trial: Tensor, basis: Basis) -> float:
    """The promise that 99 % of the trial rows keep without refinement, rounded up to two digits."""
    codec = make_codec(encoding, trial.shape[1], basis.arrays(encoding.step))
    decoded = torch.from_numpy(codec.decode(codec.encode(trial).values))
    taus = (*coarse_grid(encoding.tau_min), *fine_grid(encoding.tau_min))
    worst = kl_rows(trial, decoded - trial, taus).amax(0)
    wanted = max(float(worst.quantile(0.99)) / MARGIN, 1e-12)
    digit = 10.0 ** (math.floor(math.log10(wanted)) - 1)
    return math.ceil(wanted / digit) * digit


def _weigh(encoding: Encoding, trial: Sample, basis: Basis | None, rows: int) -> _Candidate:
    """Encode and compress the trial rows."""
    arrays = {} if basis is None else basis.arrays(encoding.step)
    count, classes = trial.logits.shape
    encoded = make_codec(encoding, classes, arrays).encode(trial.logits, trial.index)
    specs = layout.logits_specs(encoding, classes, layout.Cut(1, count, *layout.block_shape(count, classes, count)))
    size = sum(len(schema.values_to_shard(encoded.values[name], spec)) for name, spec in specs.items())
    kl = encoded.fidelity.kl_mean[1] if encoded.fidelity is not None else math.inf
    shared = (
        sum(
            map(
                len,
                schema.whole_array_objects("basis", arrays["basis"], ("component", "class"), encoding.codec).values(),
            )
        )
        / rows
        if arrays
        else 0.0
    )
    return _Candidate(encoding, size / count, shared, kl)
