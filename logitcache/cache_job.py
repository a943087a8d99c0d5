"""What stage 1 is asked to cache, and how much of it a store has; known without the teacher, which stays unloaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from logitcache.address import Address
from logitcache.data import Split
from logitcache.errors import InputError, MismatchError
from logitcache.matching import check_split
from logitcache.records import Options
from logitcache.store import Encoding, EncodingOptions, Store, TeacherRecord, answers, open_store, resolve
from logitcache.store.backend import is_store
from logitcache.store.layout import block_shape
from logitcache.teacher_options import InferenceOptions, TeacherOptions
from logitcache.views import ViewOptions

__all__ = ["CacheJob", "CacheOptions", "Part", "block_count", "cached_blocks", "split_views"]


class CacheOptions(Options):
    """What is cached and how."""

    encoding: EncodingOptions = Field(EncodingOptions(), description="how logits are stored")
    inference: InferenceOptions = Field(InferenceOptions(), description="how the teacher is run")
    features: bool = Field(False, description="store penultimate features and the classifier too")
    feature_step: float = Field(1 / 32, gt=0, le=1, description="step of features, in their standard deviations")
    block: int = Field(8192, ge=1, le=1 << 20, description="rows of a block, the unit of work and of commit")
    splits: tuple[str, ...] = Field(("train", "test"), min_length=1, description="splits; views are augmented in train")
    workers: int = Field(2, ge=0, le=256, description="processes that decode and augment images opened one by one")


@dataclass(frozen=True)
class CacheJob:
    """What one teacher is to cache: the splits, the view policy, and the options."""

    store: Address
    splits: Mapping[str, Split]
    views: ViewOptions
    options: CacheOptions

    def chosen(self) -> dict[str, Split]:
        """The splits that are cached.

        Raises:
            InputError: the data set lacks one of them.
        """
        missing = [name for name in self.options.splits if name not in self.splits]
        if missing:
            raise InputError(f"cache.splits names {', '.join(missing)}; the data set has {', '.join(self.splits)}")
        return {name: self.splits[name] for name in self.options.splits}


@dataclass(frozen=True)
class Part:
    """Which blocks one of several processes writes: every ``of``-th of all that there are, so parts never overlap.

    Raises:
        InputError: there is no such part.
    """

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise InputError(f"part {self.number}/{self.of}: must be from 1/{max(1, self.of)} to N/N, for example 2/8")

    @staticmethod
    def parse(text: str) -> Part:
        """The part that a text as ``2/8`` says."""
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise InputError(f"part {text!r}: must be of the form I/N, for example 2/8")
        return Part(int(number), int(of))

    @property
    def whole(self) -> bool:
        """Whether there is no other part."""
        return self.of == 1

    def holds(self, place: int) -> bool:
        """Whether the block at this place among all of a split is in it."""
        return place % self.of == self.number - 1

    def __str__(self) -> str:
        """As on the command line."""
        return f"{self.number}/{self.of}"


def split_views(split: str, views: ViewOptions) -> int:
    """How many views of a split are stored: the clean one, and in train the augmented ones."""
    return 1 + (views.count if split == "train" else 0)


def cached_blocks(job: CacheJob, teacher: TeacherOptions, opened: Store | None = None) -> tuple[int, int]:
    """(committed, all) blocks of a teacher in the store, from the store alone; the teacher is not loaded.

    Args:
        job: what is to be cached.
        teacher: of which teacher.
        opened: the job's store, where it is open already.

    Raises:
        MismatchError: the store there is of another data set, view policy, architecture or encoding.
    """
    committed = total = 0
    store = opened or (open_store(job.store) if is_store(job.store) else None)
    for name, split in job.chosen().items():
        blocks = block_count(job, name)
        total += blocks
        if store is None or name not in store.splits:
            continue
        check_split(store, split, job.views)
        if teacher.name in store.teachers(name):
            reader = store.logits(teacher.name, name)
            _check_teacher(job, name, reader.record, teacher)
            committed += reader.commits.committed()
    return committed, total


def block_count(job: CacheJob, split: str) -> int:
    """Blocks of all views of a split, for one teacher."""
    return split_views(split, job.views) * math.ceil(len(job.splits[split]) / _block_rows(job, split))


def _block_rows(job: CacheJob, split: str) -> int:
    """Rows of a block."""
    samples, classes = len(job.splits[split]), len(job.splits[split].classes)
    return block_shape(samples, classes, job.options.block)[0]


def _check_teacher(job: CacheJob, split: str, record: TeacherRecord, teacher: TeacherOptions) -> None:
    """Compare what a store says of a teacher in a split with what is asked, but for its weights."""
    options = job.options
    pairs: dict[str, tuple[object, object]] = {
        "model": (record.model, teacher.model),
        "precision": (record.precision, options.inference.precision),
        "views": (record.views, split_views(split, job.views)),
        "rows of a block": (record.block_rows, _block_rows(job, split)),
        "features": (bool(record.features), options.features),
    }
    if record.feature_step and options.features:
        pairs["step of features"] = (record.feature_relative, options.feature_step)
    if not answers(record.encoding, options.encoding):
        pairs |= _encoding_pairs(record.encoding, options.encoding)
    for what, (have, want) in pairs.items():
        if have != want:
            advice = "use another store, or the recipe that made this one"
            raise MismatchError(f"{what} of teacher {teacher.name!r}", str(have), str(want), advice)


def _encoding_pairs(encoding: Encoding, options: EncodingOptions) -> dict[str, tuple[object, object]]:
    """What a store's encoding was asked to be, and what is asked now, by option."""
    if not encoding.asked and not options.calibrated:
        stored, given = encoding.to_json(), resolve(options).to_json()
    else:
        stored, given = dict(encoding.asked) or encoding.to_json(), options.asked()
    keys = sorted({*stored, *given}, key=lambda key: (key not in {"kind", "step"}, key))  # the rest follows from these
    return {key: (stored.get(key), given.get(key)) for key in keys}
