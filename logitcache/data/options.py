"""What a user asks of a data set, and the names there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from logitcache.data.noise import NoiseOptions
from logitcache.factories import is_factory_name, nearest
from logitcache.records import Options

__all__ = ["DataOptions", "DataSize", "data_names"]

_TORCHVISION = ("fashion_mnist", "mnist", "cifar10", "cifar100")
_FILES = ("images", "labels", "test_images", "test_labels")


def data_names() -> tuple[str, ...]:
    """The data sets that need no code of the user's; ``module:factory`` names one that does."""
    return (*_TORCHVISION, "image_folder", "arrays")


class DataSize(Options):
    """How much of a data set there is."""

    train: int = Field(ge=1, description="samples of the train split")
    test: int = Field(0, ge=0, description="samples of the held-out split; 0: there is none")
    classes: int = Field(ge=1, description="classes")


class DataOptions(Options):
    """A data set, the part of its train split that is used, and how its images become network input."""

    name: str = Field("fashion_mnist", description="a known data set, or module:factory")
    root: Path = Field(Path("data"), description="folder that holds the data; for image_folder the one with train/")
    download: bool = Field(False, description="fetch a torchvision data set from the network where it is absent")
    samples: int | float | Path | None = Field(
        None, description="part of the train split: a count, a fraction in (0, 1], or a .npy or .txt file of indices"
    )
    seed: int = Field(0, description="key of the choice of samples")
    noise: NoiseOptions | None = Field(None, description="wrong labels beside the train split's own; unset: none")
    mean: tuple[float, ...] | None = Field(None, description="per channel, of pixels in [0, 1]; unset: by name")
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(None, description="per channel; goes with mean")
    resize: int | None = Field(None, gt=0, description="image_folder: shorter side before the centre crop, in pixels")
    size: int | None = Field(None, gt=0, description="image_folder: side of the centre crop, in pixels; unset: 224")
    interpolation: Literal["bilinear", "bicubic"] = Field("bilinear", description="image_folder: how images resize")
    expect: DataSize | None = Field(
        None, description="image_folder: its size, so that a run can be planned before the images are here"
    )
    images: Path | None = Field(None, description="arrays: .npy of uint8 train images, memory-mapped")
    labels: Path | None = Field(None, description="arrays: .npy of integer train labels")
    test_images: Path | None = Field(None, description="arrays: .npy of uint8 test images")
    test_labels: Path | None = Field(None, description="arrays: .npy of integer test labels")

    @field_validator("name")
    @classmethod
    def _name_is_known(cls, name: str) -> str:
        if name not in data_names() and not is_factory_name(name):
            known = ", ".join(data_names())
            raise ValueError(f"must be one of {known}, or module:factory{nearest(name, data_names())}")
        return name

    @field_validator("samples", mode="before")
    @classmethod
    def _samples_in_range(cls, samples: object) -> object:
        allowed = "must be a count from 1, a fraction in (0, 1], or a .npy or .txt file of indices"
        if isinstance(samples, bool) or not isinstance(samples, int | float | str | Path | None):
            raise ValueError(allowed)
        if isinstance(samples, str | Path) and Path(samples).suffix not in (".npy", ".txt"):
            raise ValueError(allowed)
        if isinstance(samples, int) and samples < 1:
            raise ValueError(allowed)
        if isinstance(samples, float) and not 0 < samples <= 1:
            raise ValueError(allowed)
        return samples

    @model_validator(mode="after")
    def _goes_together(self) -> DataOptions:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together: give both or neither")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels and std {len(self.std)}; they must agree")
        return self

    @model_validator(mode="after")
    def _fits_name(self) -> DataOptions:
        given = [key for key in _FILES if getattr(self, key) is not None]
        if self.name == "arrays":
            self._check_files()
        elif self.name in data_names() and given:
            raise ValueError(f"{', '.join(given)}: only for name = 'arrays', not for {self.name!r}")
        if self.name in (*_TORCHVISION, "arrays") and (self.resize or self.size):
            raise ValueError(f"resize and size are for image_folder; images of {self.name!r} keep their size")
        if self.expect is not None and self.name != "image_folder":
            raise ValueError(f"expect is for image_folder; of {self.name!r} the size is known or told by its files")
        if self.resize and self.size and self.resize < self.size:
            raise ValueError(f"resize = {self.resize} is smaller than size = {self.size}, which is cut out of it")
        return self

    def _check_files(self) -> None:
        """Refuse ``arrays`` without its files."""
        if self.images is None or self.labels is None:
            raise ValueError("name = 'arrays' needs images and labels, each a .npy file")
        if (self.test_images is None) != (self.test_labels is None):
            raise ValueError("test_images and test_labels go together: give both or neither")
