"""How logits are stored, and what each way promises. Pure functions of arrays: nothing is read or written here.

``options`` is what a user asks, ``records`` what the store says of it. ``uniform`` has a code for every logit
(codec ``plain``), ``spectral`` a code for every principal component, with ``head``, the top entries, beside it (codec
``transform``), ``topk`` the largest entries only (codec ``sparse``). ``kl`` measures, ``certify`` checks a promise over
temperatures, ``fidelity`` is the record of both.
"""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from logitcache.store.encodings.codec import Codec, Encoded
from logitcache.store.encodings.fidelity import TAUS, Fidelity
from logitcache.store.encodings.options import EncodingOptions
from logitcache.store.encodings.plain import PlainCodec
from logitcache.store.encodings.records import PRIMARY_ARRAYS, Encoding, describe, fill_value, kl_bound
from logitcache.store.encodings.sparse import TopKCodec
from logitcache.store.encodings.spectral import Basis
from logitcache.store.encodings.transform import SpectralCodec
from logitcache.store.encodings.uniform import decode, encode, resolve, round_step

__all__ = [
    "PRIMARY_ARRAYS",
    "TAUS",
    "Basis",
    "Codec",
    "Encoded",
    "Encoding",
    "EncodingOptions",
    "Fidelity",
    "SpectralCodec",
    "TopKCodec",
    "decode",
    "describe",
    "encode",
    "fill_value",
    "kl_bound",
    "make_codec",
    "resolve",
    "round_step",
]


def make_codec(encoding: Encoding, classes: int, constants: Mapping[str, npt.NDArray[Any]] | None = None) -> Codec:
    """The codec of an encoding; spectral needs its ``basis``, ``mean`` and ``spread`` among the constants."""
    if encoding.kind == "spectral":
        return SpectralCodec(encoding, classes, Basis.from_arrays(constants or {}))
    return TopKCodec(encoding, classes) if encoding.kind == "topk" else PlainCodec(encoding, classes)
