"""Penultimate features of the samples of a few classes: a teacher's from its store, students' by running them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from logitcache.address import Address
from logitcache.data import Split
from logitcache.errors import InputError
from logitcache.factories import nearest
from logitcache.matching import check_split
from logitcache.models import Network, build_model
from logitcache.models.weights import load_checkpoint, read_checkpoint_metadata
from logitcache.store import LogitsReader, open_store
from logitcache.student.evaluation import Evaluator

__all__ = ["Chosen", "Rerun", "View", "choose_samples", "teacher_view"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Chosen:
    """The samples of a few classes."""

    classes: tuple[int, ...]
    """Their numbers, in the order asked for."""
    names: tuple[str, ...]
    rows: Tensor
    """Rows of the split, int64 (samples,), ascending."""
    groups: npt.NDArray[np.int64]
    """Each one's position in ``classes``, (samples,)."""


@dataclass(frozen=True, eq=False)
class View:
    """What a network's head is given, and the head's rows of the chosen classes."""

    features: Array
    """(samples, features)"""
    templates: Array
    """(classes, features)"""

    @property
    def finite(self) -> bool:
        """Whether all of it is; a network that diverged may leave anything."""
        return bool(np.isfinite(self.features).all() and np.isfinite(self.templates).all())


def choose_samples(classes: Sequence[int | str], split: Split) -> Chosen:
    """The samples of classes, by their clean labels.

    Raises:
        InputError: there is no such class, one is named twice, or one has no samples.
    """
    numbers = tuple(_number(each, split) for each in classes)
    twice = {split.classes[number] for number in numbers if numbers.count(number) > 1}
    if twice:
        raise InputError(f"study.penultimate.classes names {', '.join(map(repr, twice))} twice; name different classes")
    labels = split.labels.numpy()
    rows = np.flatnonzero(np.isin(labels, numbers))
    groups = np.array([numbers.index(label) for label in labels[rows]], np.int64)
    for group, number in enumerate(numbers):
        if not (groups == group).any():
            raise InputError(
                f"class {split.classes[number]!r} has no samples in split {split.name!r}; "
                "name others in study.penultimate.classes"
            )
    return Chosen(numbers, tuple(split.classes[number] for number in numbers), torch.from_numpy(rows), groups)


def _number(wanted: int | str, split: Split) -> int:
    """The number of a class that is given by number or name."""
    known = split.classes
    if isinstance(wanted, str):
        if wanted not in known:
            raise InputError(
                f"study.penultimate.classes: no class {wanted!r} in {split.dataset}{nearest(wanted, known)}"
            )
        return known.index(wanted)
    if not 0 <= wanted < len(known):
        raise InputError(
            f"study.penultimate.classes: no class {wanted} in {split.dataset}; allowed is 0..{len(known) - 1}"
        )
    return wanted


def teacher_view(chosen: Chosen, path: Address, teacher: str, split: Split) -> View:
    """What a teacher's head was given, as it is stored.

    Raises:
        InputError: there is no such store or teacher, or it was cached without features.
        MismatchError: the store was made from other samples.
        MissingError: a block was never committed.
        DamageError: stored bytes are not those that were committed.
    """
    store = open_store(path)
    check_split(store, split, None)
    reader = store.logits(teacher, split.name)
    weight = store.classifier(teacher, split.name).get("weight")
    if weight is None or not reader.record.features:
        raise InputError(
            f"teacher {teacher!r} of {path} was cached without features; study.penultimate needs "
            "cache.features = true, into another store"
        )
    return View(_stored(reader, chosen.rows.numpy()), weight[list(chosen.classes)].astype(np.float64))


def _stored(reader: LogitsReader, rows: npt.NDArray[np.int64]) -> Array:
    """Stored features of the clean view of some rows in ascending order."""
    found = []
    for block in range(reader.blocks):
        here = reader.rows(block)
        wanted = rows[(rows >= here.start) & (rows < here.stop)] - here.start
        if len(wanted):
            found.append(reader.features(0, block)[wanted].astype(np.float64))
    return np.concatenate(found)


class Rerun:
    """Runs finished students over the clean view of the chosen samples; few enough inputs stay rendered."""

    def __init__(self, chosen: Chosen, split: Split, device: torch.device, workers: int = 0) -> None:
        self._chosen, self._device = chosen, device
        self._split = split.take(chosen.rows)
        self._evaluator = Evaluator(self._split, device, workers=workers)

    def __call__(self, folder: Path) -> View:
        """What the head of a run's network is given.

        Args:
            folder: the run's, with ``model.safetensors``.

        Raises:
            InputError: the weights are missing, damaged or no student's, or the network has no linear head.
        """
        path = folder / "model.safetensors"
        if not path.is_file():
            raise InputError(
                f"{path} is not there; delete {folder} and train the run again, or leave out study.penultimate"
            )
        network = self._network(path)
        if network.head is None:
            raise InputError(f"{path}: the network has no linear head; leave out study.penultimate")
        weight = network.head.weight.detach().double().cpu().numpy()
        return View(self._features(network), weight[list(self._chosen.classes)])

    def _network(self, path: Path) -> Network:
        """The network of a checkpoint, on the device."""
        model = read_checkpoint_metadata(path).get("model")
        if model is None:
            raise InputError(f"{path} does not say which network it is of; train the run again")
        with torch.random.fork_rng(devices=[]):
            network = build_model(model, len(self._split.classes), self._split.shape)
        load_checkpoint(path, network, model)
        return network.to(self._device).eval()

    @torch.inference_mode()
    def _features(self, network: Network) -> Array:
        """Features of all samples, float64 on the CPU."""
        batches = self._evaluator.batches()
        return np.concatenate([network.with_features(inputs)[1].double().cpu().numpy() for inputs in batches])
