"""The codec of ``spectral``: principal components, a level of refinement a row, and the top entries of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from logitcache.errors import DamageError, InputError
from logitcache.store.encodings.certify import coarse_grid, worst_kl
from logitcache.store.encodings.codec import ROWS, Arrays, Codec, Encoded, Index, Logits, joined
from logitcache.store.encodings.fidelity import TAUS, of_rows
from logitcache.store.encodings.head import Head, apply_head, head_of
from logitcache.store.encodings.kl import as_tensor, kl_rows
from logitcache.store.encodings.records import Encoding
from logitcache.store.encodings.spectral import Analysis, Basis, Synthesis, quantise
from logitcache.store.encodings.topk import class_dtype

__all__ = ["SpectralCodec"]

_LEVELS = 12
"""How often a row's step is halved at most."""


class SpectralCodec(Codec):
    """Codes (component, rows), levels (rows,), and with a head its classes and the gaps of its values (head, rows)."""

    def __init__(self, encoding: Encoding, classes: int, basis: Basis) -> None:
        super().__init__(encoding, classes)
        self.basis = basis
        self._analyses: dict[torch.device, Analysis] = {}
        self._syntheses: dict[torch.device, Synthesis] = {}

    @property
    def row_bytes(self) -> int:
        """What the active components and the head take, about."""
        active = int((self.basis.spread * 8 > self.encoding.step).sum())
        wide = bool(len(self.basis.spread)) and float(self.basis.spread[0]) * 4 > 127 * self.encoding.step
        return max(1, active) * (2 if wide else 1) + 8 * self.encoding.head + 1

    def encode(self, logits: Logits, index: Index | None = None, taus: Sequence[float] = TAUS) -> Encoded:
        """See :class:`Codec`. Rows that miss the promise get a finer step until they keep it."""
        rows = as_tensor(logits)
        parts = []
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            cut = np.arange(start, start + len(part)) if index is None else index[start : start + ROWS]
            parts.append(self._encode_rows(part, cut, taus))
        return joined(parts)

    def rows(self, values: Arrays) -> dict[str, npt.NDArray[Any]]:
        """Codes (rows, components), int8 where they fit, without silent ones at the end; levels if any."""
        codes = values["coefficients"]
        heard = np.flatnonzero(codes.any(axis=1))
        codes = codes[: heard[-1] + 1 if heard.size else 1]
        fits = codes.size == 0 or (codes.max() <= 127 and codes.min() >= -127)
        rows = {"codes": np.ascontiguousarray(codes.T, dtype=np.int8 if fits else codes.dtype)}
        if "level" in values and values["level"].any():
            rows["level"] = values["level"]
        if self.encoding.head:
            named = values["head_classes"]
            if named.size and not 0 <= int(named.min()) <= int(named.max()) < self.classes:
                raise DamageError(f"stored head entries name classes beyond {self.classes}")
            head = Head.from_gaps(*(torch.from_numpy(values[f"head_{n}"].T.copy()) for n in ("classes", "values")))
            rows["head_classes"] = head.classes.int().numpy()
            rows["head_codes"] = head.codes.numpy()
        return rows

    def logits(self, rows: Mapping[str, Tensor]) -> Tensor:
        """One matrix product, then the head in one scatter."""
        codes, level = rows["codes"], rows.get("level")
        decoded = self._synthesis(codes.device).logits(codes, level)
        if not self.encoding.head:
            return decoded
        head = Head(rows["head_classes"].long(), rows["head_codes"])
        return apply_head(decoded, head.classes, head.values(self.encoding.head_step, level))

    def keeps_promise(self, logits: Logits, values: Arrays) -> bool:
        """Checked over the temperatures, as when a block is written."""
        if self.encoding.max_kl is None:
            return True
        ours, theirs = as_tensor(logits).cpu(), torch.from_numpy(self.decode(values))
        pairs = zip(ours.split(ROWS), theirs.split(ROWS), strict=True)
        worst = [worst_kl(z, z_hat - z, self.encoding.tau_min, self.encoding.max_kl) for z, z_hat in pairs]
        return bool(torch.isfinite(torch.cat(worst)).all())

    def _analysis(self, device: torch.device) -> Analysis:
        """From logits to components, on a device."""
        if device not in self._analyses:
            self._analyses[device] = Analysis.of(self.basis.to(device))
        return self._analyses[device]

    def _synthesis(self, device: torch.device) -> Synthesis:
        """From codes to logits, on a device."""
        if device not in self._syntheses:
            self._syntheses[device] = Synthesis.of(self.basis.to(device), self.encoding)
        return self._syntheses[device]

    def _encode_rows(self, logits: Tensor, index: Index, taus: Sequence[float]) -> Encoded:
        """Encode few rows at the step as it is, then those that miss the promise at finer ones."""
        encoding = self.encoding
        grid = tuple(dict.fromkeys((*taus, *coarse_grid(encoding.tau_min))))
        coarse = [grid.index(tau) for tau in coarse_grid(encoding.tau_min)]
        coder = _RowCoder(encoding, self._analysis(logits.device), self._synthesis(logits.device), logits)
        decoded = coder.decoded()
        error = decoded - logits
        kl = kl_rows(logits, error, grid)
        worst = torch.zeros(len(logits), device=logits.device)
        if encoding.max_kl is not None:
            worst = worst_kl(logits, error, encoding.tau_min, encoding.max_kl, kl[coarse])
            while bool((missed := torch.isinf(worst)).any()):
                coder.refine(missed, index)
                some = logits[missed]
                decoded[missed] = coder.decoded(missed)
                error[missed] = decoded[missed] - some
                found = kl_rows(some, error[missed], grid)
                kl[:, missed] = found
                worst[missed] = worst_kl(some, error[missed], encoding.tau_min, encoding.max_kl, found[coarse])
        fidelity = of_rows(logits, decoded, error, taus, kl[: len(taus)])
        refined, checked = int((coder.level > 0).sum()), float(worst.max())
        return Encoded(coder.arrays(index), replace(fidelity, refined=refined, kl_checked=checked))


class _RowCoder:
    """Rows on their way into codes, each at its own level."""

    def __init__(self, encoding: Encoding, analysis: Analysis, synthesis: Synthesis, logits: Tensor) -> None:
        self._encoding, self._analysis, self._synthesis, self._logits = encoding, analysis, synthesis, logits
        self.level = torch.zeros(len(logits), dtype=torch.int8, device=logits.device)
        active = analysis.active(encoding.step)
        self._components = analysis.components(logits, 0, active)
        self._codes = quantise(self._components, encoding.step)
        self._head = head_of(logits, encoding.head, encoding.head_step) if encoding.head else None

    def refine(self, rows: Tensor, index: Index) -> None:
        """Encode some rows, given as a mask, at half of their step."""
        self.level[rows] += 1
        deepest = int(self.level.max())
        if deepest > _LEVELS:
            sample = int(index[int(self.level.argmax())])
            raise InputError(
                f"sample {sample} misses max_kl = {self._encoding.max_kl:g} of the spectral encoding even at step * "
                f"2**-{_LEVELS}; use kind = 'uniform' or a larger max_kl"
                + (", or precision = 'float32'" if self._encoding.precision == "bf16" else "")
            )
        active = self._analysis.active(self._encoding.step * 0.5**deepest)
        self._codes = torch.nn.functional.pad(self._codes, (0, active - self._codes.shape[1]))
        some, level = self._logits[rows], self.level[rows]
        known = self._components[rows]
        components = torch.cat([known, self._analysis.components(some, known.shape[1], active)], dim=1)
        self._codes[rows] = quantise(torch.ldexp(components, level[:, None].int()), self._encoding.step)
        if self._head is not None:
            finer = head_of(some, self._encoding.head, self._encoding.head_step, level)
            self._head.classes[rows], self._head.codes[rows] = finer.classes, finer.codes

    def decoded(self, rows: Tensor | None = None) -> Tensor:
        """Logits as readers will get them, of all rows or of some."""
        cut = slice(None) if rows is None else rows
        level = self.level[cut] if rows is not None else None
        decoded = self._synthesis.logits(self._codes[cut], level)
        if self._head is None:
            return decoded
        head = Head(self._head.classes[cut], self._head.codes[cut])
        return apply_head(decoded, head.classes, head.values(self._encoding.head_step, level))

    def arrays(self, index: Index) -> dict[str, npt.NDArray[Any]]:
        """What is stored, samples last."""
        limit = np.iinfo(self._encoding.dtype).max
        beyond = (self._codes.abs() > limit).any(1)
        if bool(beyond.any()):
            sample = int(index[int(beyond.int().argmax())])
            raise InputError(f"a component of sample {sample} needs codes beyond {self._encoding.dtype}; use int32")
        codes = torch.nn.functional.pad(self._codes, (0, self._encoding.components - self._codes.shape[1]))
        arrays = {"coefficients": codes.T.to(getattr(torch, self._encoding.dtype)).cpu().numpy()}
        if self._encoding.max_kl is not None:
            arrays["level"] = self.level.short().cpu().numpy()
        if self._head is not None:
            width = getattr(torch, class_dtype(self._analysis.mean.numel()))
            arrays["head_classes"] = self._head.classes.T.to(width).cpu().numpy()
            arrays["head_values"] = self._head.gaps.T.cpu().numpy()
        return arrays
