"""Grids of student runs: what a recipe declares, and the runs that follow from it. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from logitcache.data import LabelChoice, LabelKind
from logitcache.errors import InputError
from logitcache.models import ModelName
from logitcache.records import Options, fingerprint
from logitcache.soft_targets import CombineOptions
from logitcache.student.objectives import ObjectiveOptions
from logitcache.student.objectives.options import as_table
from logitcache.student.training import TrainingOptions
from logitcache.sweep.objective_grid import Count, ObjectiveGrid, Several

__all__ = ["MOST_SUBSETS_OF", "ObjectiveGrid", "RunSpec", "StudentGroup", "Targets", "expand"]

Targets = Literal["views", "clean", "online"]
"""Which soft targets a student is given beside a view: the cached ones of that very view, those of the clean view
whatever is shown, or those of the teacher itself, which is run on what is shown."""

MOST_SUBSETS_OF = 6
"""Teachers whose subsets a group may ask for: 63 of them."""


def _count_or_fraction(part: int | float) -> int | float:
    """Refuse numbers that are neither."""
    if isinstance(part, float) and part > 1:
        raise ValueError("must be a count (an integer) or a fraction in (0, 1]")
    return part


_Part = Annotated[int | float, Field(gt=0), AfterValidator(_count_or_fraction)]
_Rate = Annotated[float, Field(gt=0)]
_Decay = Annotated[float, Field(ge=0)]
_Objective = Annotated[ObjectiveGrid, BeforeValidator(as_table)]


class StudentGroup(Options):
    """Students that are compared with each other: one run for each combination of lists and each seed."""

    name: str = Field("students", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="letters, digits, - _ .")
    model: Several[ModelName] = Field(description="networks by name")
    objectives: Several[_Objective] = Field(
        description="names of docs/objectives.md, or tables with loss and its parameters, each one value or a list"
    )
    seeds: Several[int] = Field((0,), description="of initial weights and order")
    samples: Several[_Part] | None = Field(
        None, description="train samples seen, one or several: counts or fractions in (0, 1]; default all"
    )
    sample_seed: int = Field(0, description="key of the choice of samples, the same for all runs of the group")
    labelled: Several[_Part] | None = Field(
        None, description="of these samples, how many have labels for the cross-entropy: counts or fractions; unset all"
    )
    views: Several[Count] | None = Field(
        None, description="augmented views walked, 0 for the clean view only; default all"
    )
    teachers: tuple[str, ...] = Field((), description="teachers read from the store; default all of the recipe")
    subsets: bool = Field(False, description="each non-empty subset of the teachers instead of all of them together")
    combine: CombineOptions = Field(CombineOptions(), description="how several teachers become one")
    targets: Several[Targets] = Field(
        ("views",),
        description="soft targets: views: of the view that is shown; clean: of the clean view; online: no cached ones, "
        "the teacher is run in every step",
    )
    training: TrainingOptions = Field(description="how students are trained")
    learning_rate: Several[_Rate] | None = Field(None, description="one or several, instead of training's")
    weight_decay: Several[_Decay] | None = Field(None, description="one or several, instead of training's")
    order_seed: int | None = Field(
        None, description="key of the order of samples, shared by all runs: they read each batch together; unset: seeds"
    )
    labels: LabelChoice = Field(
        "auto", description="what hard labels are; auto: the noisy ones where data.noise makes any"
    )

    def counts(self, available: int) -> Iterator[tuple[int, int | None]]:
        """How many samples runs see, and how many of these have labels; None where all have."""
        for part in self.samples or (available,):
            seen = _count(part, available)
            for known in self.labelled or (seen,):
                count = _count(known, seen)
                yield seen, None if count == seen else count

    def teacher_sets(self, teachers: Sequence[str]) -> list[tuple[str, ...]]:
        """The teachers that runs read, of those of the recipe: all of the group's, or each subset, small ones first."""
        chosen = tuple(self.teachers or teachers)
        if not self.subsets:
            return [chosen]
        ordered = [name for name in teachers if name in chosen]
        sizes = range(1, len(ordered) + 1)
        return [subset for size in sizes for subset in itertools.combinations(ordered, size)]

    def trainings(self) -> Iterator[TrainingOptions]:
        """The training with every combination of learning rate and weight decay."""
        rates = self.learning_rate or (self.training.learning_rate,)
        decays = self.weight_decay or (self.training.weight_decay,)
        for rate, decay in itertools.product(rates, decays):
            yield self.training.model_copy(update={"learning_rate": rate, "weight_decay": decay})


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
    labels: LabelKind = "clean"
    order_seed: int | None = None
    """Key of the order of samples; None: the run's seed."""
    labelled: int | None = None
    """How many of the samples have labels for the cross-entropy; None: all."""
    targets: Targets = "views"

    @property
    def order_key(self) -> int:
        """The key of the order in which samples are seen."""
        return self.seed if self.order_seed is None else self.order_seed

    @property
    def run_id(self) -> str:
        """A readable name and a hash of everything that decides the outcome.

        What came with a later version enters where it is not at its default, so that ids stay as they were.
        """
        parts = [self.group, self.model, *self.objective.words]
        if self.labels == "noisy":
            parts.append("noisy")
        parts += [] if self.labelled is None else [f"l{self.labelled}"]
        parts += [] if self.targets == "views" else [self.targets]
        parts += [f"v{self.views}", f"s{self.seed}", self._hash()]
        return re.sub(r"[^A-Za-z0-9._-]", "_", "-".join(parts))

    def _hash(self) -> str:
        later: dict[str, Any] = {} if self.labels == "clean" else {"labels": self.labels}
        later |= {} if self.order_seed is None else {"order_seed": self.order_seed}
        later |= {} if self.labelled is None else {"labelled": self.labelled}
        later |= {} if self.targets == "views" else {"targets": self.targets}
        record = {
            "model": self.model,
            "objective": self.objective.identity(),
            "seed": self.seed,
            "samples": [self.samples, self.sample_seed],
            "views": self.views,
            "teachers": list(self.teachers),
            "combine": self.combine.model_dump(),
            "training": self.training.record(without=("checkpoint_seconds",)),
            "source": self.source,
            **later,
        }
        return fingerprint(record)[:8]


def expand(
    group: StudentGroup,
    *,
    samples: int,
    views: int,
    teachers: Sequence[str],
    sources: dict[str, str],
    noise: str | None = None,
) -> list[RunSpec]:
    """All runs of a group, seeds innermost; what a recipe asks for twice is one run.

    Args:
        group: what the recipe declares.
        samples: train samples there are.
        views: augmented views there are; groups that name none walk all of them.
        teachers: the recipe's teachers; groups that name none read all of them.
        sources: fingerprints of the data (key ``""``) and of each teacher's stored logits.
        noise: the fingerprint of the noisy labels; None where there are none.

    Raises:
        InputError: the group asks for noisy labels, and there are none.
    """
    if group.labels == "noisy" and noise is None:
        raise InputError(
            f"students {group.name!r} ask for labels = 'noisy', and the data has none; "
            "give it a table data.noise, or set labels = 'clean'"
        )
    runs = []
    for model, grid, training in itertools.product(group.model, group.objectives, group.trainings()):
        view_counts, sets = grid.views or group.views or (views,), group.teacher_sets(teachers)
        each = itertools.product(
            grid.objectives(), view_counts, sets, group.targets, group.counts(samples), group.seeds
        )
        for objective, count, names, targets, (seen, labelled), seed in each:
            used = names if objective.needs_teacher else ()
            noisy = noise is not None and group.labels != "clean" and objective.needs_labels
            read = {name: sources[name] for name in ("", *used)} | ({"labels:noisy": noise} if noisy else {})
            same = not used or (targets == "clean" and count == 0)  # as targets = "views"
            spec = RunSpec(
                group=group.name,
                model=model,
                objective=objective,
                seed=seed,
                samples=seen,
                sample_seed=group.sample_seed,
                views=count,
                teachers=used,
                combine=group.combine if used else CombineOptions(),
                training=training,
                source=fingerprint(read),
                labels="noisy" if noisy else "clean",
                order_seed=group.order_seed,
                labelled=labelled if objective.needs_labels else None,
                targets="views" if same else targets,
            )
            runs.append(spec)
    return list(dict.fromkeys(runs))


def _count(part: int | float, available: int) -> int:
    """A count, or a fraction of what there is; at least one, at most all."""
    return max(1, min(part if isinstance(part, int) else round(part * available), available))
