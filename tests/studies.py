"""Runs of a study as its tables have them, for tests that judge, draw and describe them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from logitcache.study.facts import FACTS, runs_facts
from logitcache.study.options import ClaimOptions, StudyOptions
from logitcache.study.section import Experiment

BASE = {
    "variant": "",
    "group": "few",
    "student": "cnn-4",
    "teachers": "big",
    "objective": "kl",
    "label": "KL",
    "tau": "4.0",
    "alpha": "1.0",
    "samples": "100",
    "views": "2",
    "seed": "0",
    "epochs": "3",
    "status": "done",
}


def run(accuracy: float | str = 80.0, **changes: Any) -> dict[str, str]:
    """One run with a test accuracy, percent."""
    return {**BASE, "test_accuracy": str(accuracy), **{key: str(value) for key, value in changes.items()}}


def seeds(accuracies: Iterable[float], **changes: Any) -> list[dict[str, str]]:
    """Runs with seeds 0, 1, ..."""
    return [run(accuracy, seed=seed, **changes) for seed, accuracy in enumerate(accuracies)]


def claim(**options: Any) -> ClaimOptions:
    """A claim about the two sides "mse" and "kl", unless options say otherwise."""
    sides = {} if "trend" in options else {"more": {"objective": "mse"}, "less": {"objective": "kl"}}
    return ClaimOptions.model_validate({"says": "MSE is better than KL", **sides, **options})


def experiment(runs: list[dict[str, str]], *, facts: dict[str, str] | None = None, **options: Any) -> Experiment:
    """An experiment of some runs, of a recipe called "first" with the profile "small"."""
    study = StudyOptions.model_validate({"title": "A title", **options})
    known = {
        "experiment": "first-small",
        "recipe": "first",
        "profile": "small",
        "data": "fashion_mnist",
        "train_samples": "60000",
        "test_samples": "10000",
        "classes": "10",
        "shape": "1x28x28",
        "teachers": "big:cnn-8:91.50",
        "device": "cpu",
        "hardware": "a processor, 2 cores",
        "torch": "2.6",
        "logitcache": "0.1",
        "date": "2026-01-01",
    }
    return Experiment(study, runs, {**dict.fromkeys(FACTS, ""), **runs_facts(runs), **known, **(facts or {})})
