"""What a plan reckons with that neither recipe nor store knows: rates, bandwidths, a deadline, prices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from logitcache.records import Options

__all__ = ["BudgetOptions"]

_Rate = Annotated[float, Field(gt=0)]


class BudgetOptions(Options):
    """A recipe's table ``[budget]``. What is not given is not counted; no price or bandwidth is assumed.

    Prices are in any one currency. Sizes are decimal: a GB has 10^9 bytes.
    """

    teacher_rate: _Rate | Mapping[str, _Rate] | None = Field(
        None, description="rows/s of a teacher on one GPU, or a table by teacher; unset: measured on this device"
    )
    student_rate: float | None = Field(None, gt=0, description="rows/s of one training, all of its processes together")
    processes: int = Field(1, ge=1, le=1 << 16, description="processes of one training; each reads what an epoch shows")
    deadline: float | None = Field(None, gt=0, description="hours in which all teachers are to be cached")
    network: float | None = Field(None, gt=0, description="MB/s at which one process reads from an object store")
    disk: float | None = Field(None, gt=0, description="MB/s at which one process reads from a disk")
    gpu_hour: float = Field(0.0, ge=0, description="price of an hour of one GPU")
    put_1000: float = Field(0.0, ge=0, description="price of 1000 PUT or LIST requests")
    get_1000: float = Field(0.0, ge=0, description="price of 1000 GET or HEAD requests")
    gb_month: float = Field(0.0, ge=0, description="price of a GB stored for a month")
    gb_out: float = Field(0.0, ge=0, description="price of a GB read from the object store")
    months: float = Field(1.0, ge=0, description="how long the store is kept")
    currency: str = Field("", max_length=8, description="what prices are in, for the lines that tell them")

    @property
    def priced(self) -> bool:
        """Whether anything has a price."""
        return any((self.gpu_hour, self.put_1000, self.get_1000, self.gb_month, self.gb_out))

    def rate_of(self, teacher: str) -> float | None:
        """Rows a second of a teacher on one GPU; None where it is to be measured."""
        rate = self.teacher_rate
        return rate.get(teacher) if isinstance(rate, Mapping) else rate
