"""What a user asks of stored logits: how they are stored, how exact they must be, or how many bytes they may take."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from logitcache.records import Options

__all__ = ["EncodingOptions"]

Kind = Literal["auto", "uniform", "spectral", "lossless", "topk"]

_TYPES = {
    "auto": ("int16", "int32"),
    "uniform": ("int16", "int32"),
    "spectral": ("int16", "int32"),
    "lossless": ("float32", "float16"),
    "topk": ("float16", "float32"),
}
_KINDS = {
    "step": ("uniform", "spectral"),
    "bytes_per_row": ("auto", "uniform", "spectral"),
    "head": ("spectral",),
    "precision": ("auto", "spectral"),
    "entries": ("topk",),
    "top_p": ("topk",),
}


class EncodingOptions(Options):
    """What a user asks of the stored logits.

    ``auto`` takes whichever of uniform, spectral and spectral with a head is smallest for this teacher at the bound
    asked for. Instead of a bound, ``bytes_per_row`` or, for experts, ``step`` can be given.
    """

    kind: Kind = Field("auto", description="how logits are stored")
    max_kl: float = Field(1e-3, gt=0, le=10, description="largest KL of any row at tau >= tau_min, in nats")
    tau_min: float = Field(1.0, gt=0, le=1000, description="the lowest temperature at which max_kl must hold")
    bytes_per_row: float | None = Field(None, gt=0, description="bytes a row may take, instead of max_kl")
    step: float | None = Field(None, gt=0, description="step of uniform or spectral codes, instead of max_kl")
    head: int | None = Field(None, ge=0, le=63, description="spectral: top entries kept beside; unset: chosen")
    precision: Literal["float32", "bf16"] = Field("float32", description="spectral: the readers' matrix product")
    entries: int = Field(10, ge=1, le=65536, description="topk: entries a row, at most")
    top_p: float | None = Field(None, gt=0, le=1, description="topk: no more entries than hold this probability")
    dtype: Literal["int16", "int32", "float32", "float16"] | None = Field(
        None, description="int16 or int32 of codes; float32 or float16 of lossless and topk"
    )
    codec: Literal["pcodec", "portable"] = Field(
        "pcodec", description="pcodec is smaller; portable (Blosc with zstd) is inside the Zarr v3 specification"
    )

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> EncodingOptions:
        allowed = _TYPES[self.kind]
        if self.dtype is not None and self.dtype not in allowed:
            raise ValueError(f"dtype {self.dtype!r} does not fit {self.kind}; allowed: {', '.join(allowed)}")
        for name, kinds in _KINDS.items():
            if getattr(self, name) != type(self).model_fields[name].default and self.kind not in kinds:
                raise ValueError(f"{name} is for {' and '.join(kinds)}; {self.kind} has none")
        if self.step is not None and self.bytes_per_row is not None:
            raise ValueError("give either step or bytes_per_row, not both")
        return self

    @property
    def calibrated(self) -> bool:
        """Whether the encoding is chosen from a sample of the teacher's logits."""
        return self.kind in ("auto", "spectral") or self.bytes_per_row is not None

    @property
    def whole(self) -> bool:
        """Whether every logit of a row can be had back, which losses of whole logit vectors need."""
        return self.kind != "topk"

    @property
    def promises(self) -> bool:
        """Whether any bound on the KL is promised: not by the largest entries, nor by a spectral step given by hand."""
        return self.kind != "topk" and not (self.kind == "spectral" and self.step is not None)

    def proves(self, tau: float) -> bool:
        """Whether a bound on the KL is proved at this temperature: where every logit's error is bounded."""
        return self.kind in ("uniform", "lossless") and tau > 0

    def asked(self) -> dict[str, Any]:
        """What was asked, as the store remembers it."""
        return dict(sorted({**self.model_dump(mode="json", exclude_defaults=True), "kind": self.kind}.items()))
