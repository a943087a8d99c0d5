"""The recipe's table ``[study]``: what is asked, which runs make a row, which figures are drawn, what is claimed."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from logitcache.records import Options
from logitcache.study.penultimate import PenultimateOptions

__all__ = ["ClaimOptions", "FigureOptions", "StudyOptions", "Where"]


def _as_tuple(value: Any) -> Any:
    """One value or a list of them, as a tuple."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


T = TypeVar("T")
_Several = Annotated[tuple[T, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
_Number = Annotated[float, Field(allow_inf_nan=True)]  # tau = inf names the limit
Where = dict[str, _Several[str | int | _Number]]
"""Column of the runs -> the values that are let through."""


class FigureOptions(Options):
    """A figure of the study."""

    kind: Literal["heatmap", "lines", "points", "epochs"] = Field(
        description="heatmap: means over x and y; points: a row a mean; lines, epochs: means by x or by epoch, one "
        "line a value of `lines`"
    )
    x: str | None = Field(None, description="heatmap, lines: the column along the axis")
    y: str | None = Field(None, description="heatmap: the column up the axis")
    lines: str | None = Field(None, description="lines, epochs: the column whose values get a line each; unset: one")
    measure: str = Field("test_accuracy", description="the column that is drawn")
    where: Where = Field({}, description="which runs are drawn: column -> value or list of values")
    title: str | None = Field(None, description="what the figure shows; unset: measure, axes and filter")

    @model_validator(mode="after")
    def _axes_fit_kind(self) -> FigureOptions:
        needed = {"heatmap": ("x", "y"), "lines": ("x",), "points": (), "epochs": ()}[self.kind]
        taken = {"heatmap": ("x", "y"), "lines": ("x", "lines"), "points": (), "epochs": ("lines",)}[self.kind]
        given = [name for name in ("x", "y", "lines") if getattr(self, name) is not None]
        missing = [name for name in needed if name not in given]
        if missing:
            raise ValueError(f"a figure of kind {self.kind} needs {' and '.join(missing)}")
        extra = [name for name in given if name not in taken]
        if extra:
            raise ValueError(f"a figure of kind {self.kind} takes no {' and no '.join(extra)}")
        return self


class ClaimOptions(Options):
    """A sentence that runs confirm or contradict: two sides that are compared, or a column that a measure follows."""

    says: str = Field(min_length=1, description="the claim, one sentence without a full stop")
    source: str = Field("", description="who claims it, and where")
    more: Where | None = Field(None, description="the side that should be larger: column -> value or list of values")
    less: Where | None = Field(None, description="the other side; of several settings the strongest counts")
    best: bool = Field(False, description="of several settings of the side more, too, the best counts; else their mean")
    within: float | None = Field(None, gt=0, description="the claim is that the sides differ by at most this")
    trend: str | None = Field(None, description="instead of more and less: the numeric column that measure rises with")
    falls: bool = Field(False, description="trend: measure falls with the column")
    where: Where = Field({}, description="which runs count at all: column -> value or list of values")
    each: str | None = Field(None, description="one verdict for each value of this column")
    measure: str = Field("test_accuracy", description="the column that is compared")
    pair: _Several[str] = Field(("student", "seed"), description="columns that runs must share to be compared")

    @model_validator(mode="after")
    def _has_one_form(self) -> ClaimOptions:
        sides = (self.more is not None) + (self.less is not None)
        if (self.trend is None and sides < 2) or (self.trend is not None and sides):
            raise ValueError("a claim has more and less, or trend alone")
        if self.trend is not None and self.within is not None:
            raise ValueError("within is for a claim with more and less")
        if self.best and (self.trend is not None or self.within is not None):
            raise ValueError("best is for a claim with more and less, and without within")
        if self.trend is None and self.falls:
            raise ValueError("falls is for a claim with trend; exchange more and less instead")
        return self


class StudyOptions(Options):
    """What a recipe's runs are to answer."""

    title: str = Field(min_length=1, description="heading of the section")
    asks: str = Field("", description="the question, as a sentence")
    rows: _Several[str] = Field(
        ("student", "label"), description="columns that make a row of the table; runs of a row differ by seed"
    )
    measures: _Several[str] = Field(
        ("test_accuracy", "best_test_accuracy"), description="columns that the table shows, mean and spread"
    )
    data: str = Field("", description="what the data are called, where data.name does not say it")
    limits: str = Field("", description="what the runs are too small to conclude")
    published: str | None = Field(
        None, description="table of the published figures that stand beside, where the setting is the same"
    )
    figures: tuple[FigureOptions, ...] = Field((), description="[[study.figures]], one table a figure")
    claims: tuple[ClaimOptions, ...] = Field((), description="[[study.claims]], one table a claim")
    penultimate: PenultimateOptions | None = Field(
        None, description="classes whose penultimate features are projected; unset: none"
    )
