"""The codec of ``topk``: a row's largest entries, and how much probability lies outside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from logitcache.errors import DamageError, InputError
from logitcache.store.encodings.codec import ROWS, Arrays, Codec, Encoded, Index, Logits, joined
from logitcache.store.encodings.fidelity import TAUS, measure
from logitcache.store.encodings.kl import as_tensor
from logitcache.store.encodings.topk import NOTHING, TopK, from_arrays, to_arrays, top_k

__all__ = ["TopKCodec"]


class TopKCodec(Codec):
    """Entries (rank, rows), the logarithms of their probabilities, and of what is left (rows,)."""

    @property
    def row_bytes(self) -> int:
        """What classes, probabilities and the tail take."""
        return 8 * self.encoding.entries + 4

    def encode(self, logits: Logits, index: Index | None = None, taus: Sequence[float] = TAUS) -> Encoded:
        """See :class:`Codec`."""
        del index  # every row fits
        plain = as_tensor(logits).cpu().numpy()
        parts = []
        for start in range(0, len(plain), ROWS):
            part = plain[start : start + ROWS]
            values = self._arrays(top_k(part, min(self.encoding.entries, self.classes), self.encoding.top_p))
            # the logits' own normaliser is not stored, so errors are of log-probabilities
            exact = torch.log_softmax(torch.from_numpy(part), 1)
            parts.append(Encoded(values, measure(exact, self.decode(values), taus)))
        return joined(parts)

    def encode_entries(self, rows: TopK) -> Encoded:
        """Encode rows of which only the largest entries are known."""
        given, kept = rows.classes.shape[1], min(self.encoding.entries, self.classes)
        if given > kept:
            raise InputError(f"rows have {given} entries; the store keeps {kept}")
        missing = ((0, 0), (0, kept - given))
        classes = np.pad(rows.classes, missing, constant_values=-1)
        log_probs = np.pad(rows.log_probs, missing, constant_values=-np.inf)
        return Encoded(self._arrays(TopK(classes, log_probs, rows.tail)), None)

    def rows(self, values: Arrays) -> dict[str, npt.NDArray[Any]]:
        """Entries by row: classes int32, log-probabilities and tail float32."""
        found = from_arrays(values)
        if found.classes.max(initial=-1) >= self.classes:
            raise DamageError(f"stored entries name classes beyond {self.classes}")
        return {"classes": found.classes.astype(np.int32), "log_probs": found.log_probs, "tail": found.tail}

    def logits(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities of all classes; the mass outside is spread evenly over those that are not stored."""
        classes, log_probs = rows["classes"].long(), rows["log_probs"]
        known = classes >= 0
        outside = (self.classes - known.sum(1)).clamp(min=1).log()
        floor = (rows["tail"] - outside).clamp(min=float(NOTHING))
        dense = floor[:, None].repeat(1, self.classes)
        # Where there is no entry, the row's first one is written once more; a row without any keeps its floor.
        first = torch.where(known[:, :1], log_probs[:, :1], floor[:, None])
        places = torch.where(known, classes, classes[:, :1]).clamp(min=0)
        return dense.scatter_(1, places, torch.where(known, log_probs, first))

    def _arrays(self, rows: TopK) -> dict[str, npt.NDArray[Any]]:
        """The arrays that are stored."""
        return dict(to_arrays(rows, self.classes, self.encoding.dtype))
