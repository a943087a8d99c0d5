"""Grids of student runs: what a recipe declares, and the runs that follow from it. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, field_validator

from logitcache.models import ModelName
from logitcache.records import Options, fingerprint
from logitcache.soft_targets import CombineOptions
from logitcache.student.objectives import Alpha, Loss, ObjectiveOptions, Smoothing, Tau
from logitcache.student.training import TrainingOptions

__all__ = ["ObjectiveGrid", "RunSpec", "StudentGroup", "expand"]


def _as_tuple(value: Any) -> Any:
    """One value or a list of them, as a tuple."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _as_table(value: Any) -> Any:
    """A bare name is an objective with its defaults."""
    return {"loss": value} if isinstance(value, str) else value


T = TypeVar("T")
_Several = Annotated[tuple[T, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
_Count = Annotated[int, Field(ge=0)]


class ObjectiveGrid(Options):
    """An objective whose parameters may be lists: one objective for each combination."""

    loss: Loss = Field(description="ce, kl or mse")
    tau: _Several[Tau] = Field((1.0,), description="kl: temperatures")
    alpha: _Several[Alpha] = Field((1.0,), description="shares of the distillation loss")
    label_smoothing: _Several[Smoothing] = Field((0.0,), description="of the cross-entropy")
    views: _Several[_Count] | None = Field(
        None, description="augmented views for this objective, instead of the group's"
    )

    def objectives(self) -> Iterator[ObjectiveOptions]:
        """Every combination of the parameters that the loss uses."""
        taus = self.tau if self.loss == "kl" else (1.0,)
        alphas = self.alpha if self.loss != "ce" else (1.0,)
        for tau, alpha, smoothing in itertools.product(taus, alphas, self.label_smoothing):
            fields = {"loss": self.loss, "tau": tau, "alpha": alpha, "label_smoothing": smoothing}
            yield ObjectiveOptions.model_validate(fields)


_Objective = Annotated[ObjectiveGrid, BeforeValidator(_as_table)]


class StudentGroup(Options):
    """Students that are compared with each other: one run for each combination of lists and each seed."""

    name: str = Field("students", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="letters, digits, - _ .")
    model: _Several[ModelName] = Field(description="networks by name")
    objectives: _Several[_Objective] = Field(
        description="ce, kl, mse, or tables with loss, tau, alpha, label_smoothing, views"
    )
    seeds: _Several[int] = Field((0,), description="of initial weights and order")
    samples: int | float | None = Field(None, gt=0, description="train samples seen: a count or a fraction in (0, 1]")
    sample_seed: int = Field(0, description="key of the choice of samples, the same for all runs of the group")
    views: _Several[_Count] | None = Field(
        None, description="augmented views walked, 0 for the clean view only; default all"
    )
    teachers: tuple[str, ...] = Field((), description="teachers read from the store; default all of the recipe")
    combine: CombineOptions = Field(CombineOptions(), description="how several teachers become one")
    training: TrainingOptions = Field(description="how students are trained")

    @field_validator("samples")
    @classmethod
    def _fraction(cls, samples: int | float | None) -> int | float | None:
        if isinstance(samples, float) and samples > 1:
            raise ValueError("must be a count (an integer) or a fraction in (0, 1]")
        return samples

    def sample_count(self, available: int) -> int:
        """How many samples the group's runs see."""
        if self.samples is None:
            return available
        wanted = self.samples if isinstance(self.samples, int) else round(self.samples * available)
        return max(1, min(wanted, available))


@dataclass(frozen=True)
class RunSpec:
    """One student trained once. ``source`` is the fingerprint of all that it reads: data, views, teachers."""

    group: str
    model: str
    objective: ObjectiveOptions
    seed: int
    samples: int
    sample_seed: int
    views: int
    teachers: tuple[str, ...]
    combine: CombineOptions
    training: TrainingOptions
    source: str

    @property
    def run_id(self) -> str:
        """A readable name and a hash of everything that decides the outcome."""
        objective = self.objective
        parts = [self.group, self.model, objective.loss]
        if objective.loss == "kl":
            parts.append(f"tau{objective.tau:g}")
        if objective.loss != "ce" and objective.alpha < 1:
            parts.append(f"alpha{objective.alpha:g}")
        if objective.label_smoothing:
            parts.append(f"ls{objective.label_smoothing:g}")
        parts += [f"v{self.views}", f"s{self.seed}", self._hash()]
        return re.sub(r"[^A-Za-z0-9._-]", "_", "-".join(parts))

    def _hash(self) -> str:
        training = self.training.model_dump(exclude={"checkpoint_seconds"})
        record = {
            "model": self.model,
            "objective": self.objective.model_dump(),
            "seed": self.seed,
            "samples": [self.samples, self.sample_seed],
            "views": self.views,
            "teachers": list(self.teachers),
            "combine": self.combine.model_dump(),
            "training": training,
            "source": self.source,
        }
        return fingerprint(record)[:8]


def expand(
    group: StudentGroup, *, samples: int, views: int, teachers: Sequence[str], sources: dict[str, str]
) -> list[RunSpec]:
    """All runs of a group, seeds innermost; what a recipe asks for twice is one run.

    Args:
        group: what the recipe declares.
        samples: train samples there are.
        views: augmented views there are; groups that name none walk all of them.
        teachers: the recipe's teachers; groups that name none read all of them.
        sources: fingerprints of the data (key ``""``) and of each teacher's stored logits.
    """
    names = tuple(group.teachers or teachers)
    runs = []
    for model, grid in itertools.product(group.model, group.objectives):
        view_counts = grid.views or group.views or (views,)
        for objective, count, seed in itertools.product(grid.objectives(), view_counts, group.seeds):
            used = names if objective.needs_teacher else ()
            runs.append(
                RunSpec(
                    group=group.name,
                    model=model,
                    objective=objective,
                    seed=seed,
                    samples=group.sample_count(samples),
                    sample_seed=group.sample_seed,
                    views=count,
                    teachers=used,
                    combine=group.combine if used else CombineOptions(),
                    training=group.training,
                    source=fingerprint({name: sources[name] for name in ("", *used)}),
                )
            )
    return list(dict.fromkeys(runs))
