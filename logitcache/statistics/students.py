"""Which trained students can be measured: their ``run.json`` files, and the reason for each that cannot.

A student is a folder with ``run.json`` (what was trained, and ``status``) and ``test_logits.npy`` (float32
(rows of the test split, classes), clean view).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.errors import InputError

__all__ = ["FACTS", "LOGITS_FILE", "StudentRun", "find_students"]

FACTS = ("run_id", "group", "student", "teachers", "label", "samples", "views", "seed")
"""What a table of students says about each of them, from its ``run.json``."""

LOGITS_FILE = "test_logits.npy"


@dataclass(frozen=True)
class StudentRun:
    """One trained student: its facts, its test logits, and why it cannot be measured ('' where it can)."""

    facts: tuple[object, ...]
    logits: Path
    reason: str


def find_students(folder: Path, shape: tuple[int, int]) -> tuple[StudentRun, ...]:
    """The students under a folder in the order of their names; ``shape`` is what their logits must have.

    Raises:
        InputError: the folder is missing, or a ``run.json`` is not a JSON object.
    """
    if not folder.is_dir():
        raise InputError(f"students folder {folder} does not exist; train students first or leave it out")
    return tuple(_student(record, shape) for record in sorted(folder.glob("*/run.json")))


def _student(record: Path, shape: tuple[int, int]) -> StudentRun:
    """One student from its ``run.json``."""
    facts = _read(record)
    logits = record.parent / LOGITS_FILE
    named = {"run_id": record.parent.name, **facts, "teachers": "+".join(facts.get("teachers") or ())}
    reason = _reason(str(facts.get("status", "unknown")), logits, shape)
    return StudentRun(tuple(named.get(key, "") for key in FACTS), logits, reason)


def _read(record: Path) -> Mapping[str, Any]:
    """A JSON object from a file."""
    try:
        facts = json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{record} is not valid JSON ({error}); delete the run's folder and train it again") from error
    if not isinstance(facts, dict):
        raise InputError(f"{record} holds a {type(facts).__name__}, not an object; train the run again")
    return facts


def _reason(status: str, logits: Path, shape: tuple[int, int]) -> str:
    """Why a student cannot be measured, '' where it can; reads no more than the file's header."""
    if status != "done":
        return f"status is {status}"
    if not logits.is_file():
        return f"{LOGITS_FILE} is missing"
    try:
        found = np.load(logits, mmap_mode="r", allow_pickle=False).shape
    except (ValueError, EOFError):
        return f"{LOGITS_FILE} cannot be read"
    return "" if found == shape else f"{LOGITS_FILE} has shape {found}, the split has {shape}"
