"""Results of all variants of a recipe as one table, ``runs.csv``.

It has the columns of ``results.csv`` after a first one, ``variant``, and is written so that every cell means
something: ``tau`` is empty where the loss has no temperature, 0 and ``inf`` for its limits, and ``alpha`` is empty
where there is no teacher.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from logitcache.errors import InputError
from logitcache.files import write_text
from logitcache.student.objectives import KINDS
from logitcache.study.columns import RUN_COLUMNS, Cells

__all__ = ["merge_results", "read_table", "write_table"]

_LIMITS = {"kl_inf": "inf", "kl_zero": "0"}


def merge_results(
    results: Mapping[str, Path], extra: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None
) -> tuple[dict[str, str], ...]:
    """The runs of several result files, one after another.

    Args:
        results: ``results.csv`` by variant, '' where the recipe has none.
        extra: further columns by variant and run_id.

    Raises:
        InputError: a file is missing or is no ``results.csv``.
    """
    found = []
    for variant, path in results.items():
        more = (extra or {}).get(variant, {})
        for cells in read_table(path, needed=("run_id", "status", "objective", "seed")):
            columns = {name: f"{value:.6g}" for name, value in more.get(cells["run_id"], {}).items()}
            found.append(_plain({**cells, "variant": variant, **columns}))
    return tuple(found)


def read_table(path: Path, needed: Sequence[str] = ()) -> tuple[dict[str, str], ...]:
    """The lines of a CSV file by column.

    Raises:
        InputError: it is missing, not UTF-8 text, or lacks a column that is needed.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            lines = tuple({key: value for key, value in line.items() if key is not None} for line in reader)
            names = reader.fieldnames or ()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run the recipe first") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table: {error}; make it again") from error
    missing = [name for name in needed if name not in names]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}; make it again with this version")
    return lines


def write_table(path: Path, lines: Sequence[Cells], columns: Sequence[str] | None = None) -> Path:
    """Write lines as CSV; without ``columns`` all that any line has, those of a study in their order."""
    if columns is None:
        present = dict.fromkeys(name for line in lines for name in line)
        known = [name for name in RUN_COLUMNS if name in present]
        columns = [*known, *(name for name in present if name not in RUN_COLUMNS)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore", restval="")
    writer.writeheader()
    writer.writerows(lines)
    write_text(path, text.getvalue())
    return path


def _plain(cells: dict[str, str]) -> dict[str, str]:
    """A run without values of options that its objective does not use."""
    objective = cells["objective"]
    kind = KINDS.get(objective)
    if kind is not None and not kind.tau and "tau" in cells:
        cells["tau"] = _LIMITS.get(objective, "")
    if objective == "ce" and "alpha" in cells:
        cells["alpha"] = ""
    return cells
