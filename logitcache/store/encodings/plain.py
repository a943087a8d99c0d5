"""The codecs of ``uniform`` and ``lossless``: a code for every logit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from logitcache.store.encodings.codec import Arrays, Codec, Encoded, Index, Logits
from logitcache.store.encodings.fidelity import TAUS, measure
from logitcache.store.encodings.kl import as_tensor
from logitcache.store.encodings.records import Encoding
from logitcache.store.encodings.uniform import encode

__all__ = ["PlainCodec"]


class PlainCodec(Codec):
    """Codes (rows, classes); the logits are code * step, or the stored numbers themselves."""

    def __init__(self, encoding: Encoding, classes: int) -> None:
        super().__init__(encoding, classes)
        # A tensor multiplies faster than a number, and one without axes multiplies tensors of any device.
        self._step = torch.tensor(encoding.step) if encoding.kind == "uniform" else None

    @property
    def row_bytes(self) -> int:
        """What the codes take."""
        return self.classes * np.dtype(self.encoding.dtype).itemsize

    def encode(self, logits: Logits, index: Index | None = None, taus: Sequence[float] = TAUS) -> Encoded:
        """See :class:`Codec`."""
        plain = as_tensor(logits).cpu().numpy()
        values = {"logits": encode(plain, self.encoding, index)}
        return Encoded(values, measure(plain, self.decode(values), taus))

    def rows(self, values: Arrays) -> dict[str, npt.NDArray[Any]]:
        """The codes as they are."""
        return {"codes": values["logits"]}

    def logits(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Codes times step."""
        codes = rows["codes"]
        return codes.float() if self._step is None else torch.mul(codes, self._step)
