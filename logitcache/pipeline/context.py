"""What the steps of a run share: the recipe, where results go, the device, and the data, opened once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from logitcache.address import Address, is_remote
from logitcache.cache_job import CacheJob, cached_blocks
from logitcache.data import Split
from logitcache.errors import InputError
from logitcache.files import write_text
from logitcache.memory import keep_freed_memory
from logitcache.pipeline.progress import Screen
from logitcache.pipeline.recipe import Recipe, TeacherRecipe, read_recipe, read_recipes
from logitcache.pipeline.shelves import DataShelf, StoreShelf
from logitcache.records import fingerprint
from logitcache.soft_targets import CachedStore
from logitcache.store_note import StoreNote, of_teachers, write_note
from logitcache.sweep import RunSpec, SweepContext, expand, finished_runs
from logitcache.teacher_options import TeacherOptions
from logitcache.threads import set_threads
from logitcache.views import view_policy

__all__ = ["DataShelf", "RunContext", "StoreShelf", "choose_device", "open_context", "open_contexts"]


@dataclass(frozen=True)
class RunContext:
    """One recipe on its way through the steps."""

    recipe: Recipe
    out: Path
    device: torch.device
    screen: Screen
    top: Path
    """The recipe's run folder; ``out`` is a folder in it where the recipe is one of several variants."""
    shelf: DataShelf = field(compare=False, repr=False)
    """Where contexts of one recipe find the data that another one opened."""
    stand_in: Mapping[str, Split] | None = None
    """Splits for a plan, where the data are not here yet."""
    opened: StoreShelf = field(default_factory=StoreShelf, compare=False, repr=False)
    """Where contexts of one recipe find the store that another step opened."""

    @property
    def root(self) -> Path:
        """The folder of run folders, where those lie that the recipe shares."""
        return self.top.resolve().parent if self.top.name in {"", ".."} else self.top.parent

    @property
    def store_path(self) -> Address:
        """Where the run's store is: in a run folder, or where the recipe says in an object store."""
        shared = self.recipe.share.store
        return shared if shared is not None and is_remote(shared) else self._shared(shared) / "store.zarr"

    @property
    def teachers_path(self) -> Path:
        """Where checkpoints of teachers are that the recipe makes."""
        return self._shared(self.recipe.share.teachers) / "teachers"

    @property
    def splits(self) -> Mapping[str, Split]:
        """The data set, opened when first asked for."""
        return self.shelf.open(self.recipe.data) if self.stand_in is None else self.stand_in

    @property
    def job(self) -> CacheJob:
        """What each teacher caches."""
        return CacheJob(self.store_path, self.splits, self.recipe.views, self.recipe.cache)

    def checkpoint(self, teacher: TeacherRecipe) -> Path | None:
        """Where a teacher's weights are or will be; None for torchvision's."""
        if teacher.made_here:
            return self.teachers_path / f"{teacher.name}.safetensors"
        return teacher.checkpoint

    def teacher_options(self, teacher: TeacherRecipe) -> TeacherOptions:
        """How a teacher is loaded, taught ones from their checkpoint."""
        return TeacherOptions(
            name=teacher.name, model=teacher.model, checkpoint=self.checkpoint(teacher), weights=teacher.weights
        )

    def store(self) -> CachedStore | None:
        """The run's store as it was opened last, None before the cache step; after writing: ``opened.forget()``."""
        return self.opened.open(self.store_path)

    def cached(self, teacher: TeacherRecipe) -> tuple[int, int]:
        """(committed, all) blocks of a teacher, as :func:`logitcache.cache_job.cached_blocks` counts them."""
        return cached_blocks(self.job, self.teacher_options(teacher), self.store())

    def sweep(self) -> SweepContext:
        """What worker processes need to train students."""
        workers = self.recipe.cache.workers if self.splits["train"].images is None else 0
        return SweepContext(self.recipe.data, self.recipe.views, self.store_path, self.out, str(self.device), workers)

    def runs(self) -> list[RunSpec]:
        """All student runs of the recipe. Their ids are final once every teacher they read is in the store."""
        if "train" not in self.splits:
            raise InputError("the data set has no train split to train students on")
        names = [teacher.name for teacher in self.recipe.teachers]
        sources = self.sources(names)
        noise = self.splits["train"].noise_record
        return [
            run
            for group in self.recipe.students
            for run in expand(
                group,
                samples=len(self.splits["train"]),
                views=self.recipe.views.count,
                teachers=names,
                sources=sources,
                noise=None if noise is None else fingerprint(noise),
            )
        ]

    def sources(self, names: Sequence[str]) -> dict[str, str]:
        """Fingerprints of what runs read: data and views under ``""``, and each teacher's stored logits."""
        split = self.splits["train"]
        samples = [split.fingerprint, self.splits.get("test", split).fingerprint]
        data = {"samples": samples, "views": view_policy(split, self.recipe.views)}
        if split.noise_record is not None:  # also for who reads clean labels: the store is one of this noise
            data["noise"] = split.noise_record
        sources = {"": fingerprint(data), **dict.fromkeys(names, "not cached yet")}
        store = self.store()
        if store is not None:
            for name in set(names) & set(self.opened.teachers(self.store_path, "train")):
                record = store.logits(name, "train").record
                sources[name] = fingerprint({"weights": record.weights, "encoding": record.encoding.to_json()})
        return sources

    def own_teachers(self) -> tuple[str, ...] | None:
        """The run's teachers in a store that has others' too; None for all of a store of the run's own."""
        shared = self.recipe.share.store is not None
        return tuple(teacher.name for teacher in self.recipe.teachers) if shared else None

    def note_shared_store(self) -> None:
        """Leave a note in the run folder of the store that it shares, if it does."""
        names = self.own_teachers()
        if names is not None and self.store() is not None:
            write_note(self.out, StoreNote(self.store_path, names))

    def store_fingerprint(self, *, whole: bool = False) -> str:
        """What the store holds of the run's teachers, or of all there are; without where it is."""
        said, names = self.opened.info(self.store_path), self.own_teachers()
        if said is None:
            return fingerprint({})
        info = {**said, "path": ""}
        return fingerprint(info if whole or names is None else of_teachers(info, names))

    def run_fingerprint(self) -> str:
        """What students came out."""
        return fingerprint({"records": list(finished_runs(self.out, self.runs()).values())})

    def has_mark(self, step: str) -> bool:
        """Whether a step was ever finished here."""
        return step in self._marks(step)

    def was_done(self, step: str, inputs: str) -> bool:
        """Whether a step was finished from the same inputs."""
        return self._marks(step).get(step) == inputs

    def mark_done(self, step: str, inputs: str) -> None:
        """Remember that a step was finished from these inputs."""
        marks = {**self._marks(step), step: inputs}
        write_text(self._marks_file(step), json.dumps(marks, indent=1, sort_keys=True) + "\n")

    def _shared(self, name: str | None) -> Path:
        """The run folder that a name in ``[share]`` stands for; without a name the run's own."""
        if name is None:
            return self.out
        return self.top if name == self.recipe.name else self.root / self.recipe.run_name_of(name)

    def _marks_file(self, step: str) -> Path:
        """Where it is kept that a step was finished: for ``verify`` beside a store on disk, for all who share it."""
        store = self.store_path
        return (store.parent if step == "verify" and isinstance(store, Path) else self.out) / "steps.json"

    def _marks(self, step: str) -> dict[str, Any]:
        path = self._marks_file(step)
        if not path.exists():
            return {}
        try:
            marks = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return {}  # a damaged note only means that steps are done again
        return marks if isinstance(marks, dict) else {}


def open_context(recipe: str | Path, overrides: Sequence[str], out: Path | None, device: str) -> RunContext:
    """The one context of :func:`open_contexts`.

    Raises:
        InputError: likewise; or the recipe has several variants, and none is chosen.
        RecipeError: likewise.
    """
    return _open((read_recipe(recipe, overrides),), out, device)[0]


def open_contexts(
    recipe: str | Path, overrides: Sequence[str], out: Path | None, device: str
) -> tuple[RunContext, ...]:
    """Read a recipe, say where its results go, and settle device and threads; nothing is written.

    Args:
        recipe: a file, or the name of a recipe that comes with logitcache.
        overrides: ``key=value`` each.
        out: the recipe's run folder; None for the one in ``runs`` that is named after it.
        device: see :func:`choose_device`.

    Returns:
        One of each variant, with a folder of its own in the run folder; one without variants.

    Raises:
        InputError: there is no such recipe or device.
        RecipeError: the recipe has faults; all of them.
    """
    return _open(read_recipes(recipe, overrides), out, device)


def _open(records: Sequence[Recipe], out: Path | None, device: str) -> tuple[RunContext, ...]:
    """The contexts of a recipe's variants."""
    set_threads()
    keep_freed_memory()
    top, chosen, screen = out or Path("runs") / records[0].run_name, choose_device(device), Screen()
    shelf, opened = DataShelf(), StoreShelf()
    folders = [top / record.variant if record.variant else top for record in records]
    return tuple(
        RunContext(record, folder, chosen, screen, top, shelf, opened=opened)
        for record, folder in zip(records, folders, strict=True)
    )


def choose_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one.

    Raises:
        InputError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise InputError(f"device {name!r} is unknown; allowed: auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but torch sees no GPU; use --device cpu")
    return torch.device(name)
