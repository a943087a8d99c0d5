"""What a recipe says, as frozen records: the options of the layers, composed."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from logitcache.address import as_address, is_remote
from logitcache.cache_job import CacheOptions
from logitcache.data import DataOptions, LabelChoice
from logitcache.errors import InputError
from logitcache.pipeline.timing import TimingOptions
from logitcache.planning.options import BudgetOptions
from logitcache.records import Options
from logitcache.soft_targets import CombineOptions
from logitcache.student.objectives import ObjectiveOptions, Smoothing
from logitcache.student.objectives.options import as_table
from logitcache.student.training import TrainingOptions
from logitcache.study.options import StudyOptions
from logitcache.sweep import StudentGroup, SweepOptions
from logitcache.teacher_options import TeacherOptions
from logitcache.views import ViewOptions

__all__ = ["Recipe", "ShareOptions", "SnapshotOptions", "TeachOptions", "TeacherRecipe"]

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_LATER = ("teachers", "objective", "combine")


def _as_objective(value: Any) -> Any:
    """A bare name is a loss with its defaults; below a validator like this one, strict checks take tuples only."""
    table = as_table(value)
    if isinstance(table, dict) and isinstance(table.get("also"), list):
        return {**table, "also": tuple(table["also"])}
    return table


class TeachOptions(TrainingOptions):
    """How a recipe trains a teacher: on the labels, or from teachers before it, whose cached logits it reads."""

    seed: int = Field(0, description="of initial weights and order")
    label_smoothing: Smoothing = Field(0.0, description="of the cross-entropy")
    labels: LabelChoice = Field("auto", description="what it learns; auto: the noisy ones where data.noise makes any")
    views: ViewOptions = Field(
        ViewOptions(), description="the views that the teacher is trained on; with teachers, the recipe's views are"
    )
    teachers: tuple[str, ...] = Field((), description="teachers before it that it learns from, as they are cached")
    objective: Annotated[ObjectiveOptions, BeforeValidator(_as_objective)] | None = Field(
        None, description="what it minimises, as students do; unset: the cross-entropy with label_smoothing"
    )
    combine: CombineOptions = Field(CombineOptions(), description="how several of its teachers become one")

    @property
    def minimises(self) -> ObjectiveOptions:
        """The objective, the cross-entropy where none is named."""
        return self.objective or ObjectiveOptions(loss="ce", label_smoothing=self.label_smoothing)

    def record(self, *, without: Collection[str] = ()) -> dict[str, Any]:
        """As :meth:`TrainingOptions.record`; later options of teachers too are left out where they change nothing."""
        unchanged = {name for name in _LATER if getattr(self, name) == type(self).model_fields[name].default}
        return super().record(without={*without, *unchanged})


class SnapshotOptions(Options):
    """The weights that a taught teacher had after an epoch of its training."""

    of: str = Field(description="the name of a teacher before it, which the recipe teaches")
    epoch: int = Field(gt=0, description="after how many of its epochs")


class TeacherRecipe(TeacherOptions):
    """A teacher, and where its weights come from where there are none yet."""

    teach: TeachOptions | None = Field(None, description="how the recipe trains it; instead of checkpoint or weights")
    snapshot: SnapshotOptions | None = Field(
        None, description="another teacher at an epoch of its training; instead of checkpoint, weights or teach"
    )

    @property
    def made_here(self) -> bool:
        """Whether the recipe makes its weights."""
        return self.teach is not None or self.snapshot is not None


class ShareOptions(Options):
    """Whose run folder stage 1 works in, beside the recipe's own: teachers and a store that several recipes use.

    A name stands for the folder that the recipe of that name has under the same profile. A store may also be in an
    object store, which recipes share likewise.
    """

    teachers: str | None = Field(None, pattern=_NAME, description="name of the run that keeps checkpoints; unset: own")
    store: str | None = Field(
        None, description="name of the run that keeps the store, or its address, as s3://bucket/prefix; unset: own"
    )

    @field_validator("store")
    @classmethod
    def _is_a_place(cls, store: str | None) -> str | None:
        """A name, or an address as we write it."""
        if store is None or re.match(_NAME, store):
            return store
        if not is_remote(store):
            raise ValueError(
                "must be a name of letters, digits, '-', '_' and '.', or an address of an object store, as "
                "s3://bucket/prefix"
            )
        try:
            return str(as_address(store))
        except InputError as error:
            raise ValueError(str(error)) from None


class Recipe(Options):
    """A pipeline: data, views, teachers, what is cached, which students are trained, and what is timed."""

    name: str = Field(pattern=_NAME, description="names runs/NAME; unset: the file's name")
    profile: str | None = Field(
        None, pattern=_NAME, description="which table of [profiles] changes the recipe; then runs/NAME-PROFILE"
    )
    variant: str | None = Field(
        None, pattern=_NAME, description="which table of [variants] changes the recipe; unset: all, one after another"
    )
    share: ShareOptions = Field(ShareOptions(), description="run folders of others that teachers and store lie in")
    data: DataOptions = Field(DataOptions(), description="the data set")
    views: ViewOptions = Field(ViewOptions(), description="the views that are cached and that students walk")
    teachers: tuple[TeacherRecipe, ...] = Field((), description="[[teachers]], one table each")
    cache: CacheOptions = Field(CacheOptions(), description="what is cached and how")
    students: tuple[StudentGroup, ...] = Field((), description="[[students]], one table a group")
    sweep: SweepOptions = Field(SweepOptions(), description="how students are trained together, and who is told")
    timing: TimingOptions | None = Field(None, description="seconds per epoch by source of targets; unset: not timed")
    study: StudyOptions | None = Field(None, description="what the runs are to answer; unset: no study is made")
    budget: BudgetOptions | None = Field(None, description="rates, bandwidths and prices that `plan` reckons with")

    @property
    def run_name(self) -> str:
        """The folder in ``runs`` where results go unless another one is named."""
        return self.run_name_of(self.name)

    def run_name_of(self, name: str) -> str:
        """The folder of the recipe of another name, under the same profile."""
        return name if self.profile is None else f"{name}-{self.profile}"
