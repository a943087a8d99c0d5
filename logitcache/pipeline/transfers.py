"""The import command: options as they come from the command line, into a store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logitcache.errors import RecipeError
from logitcache.pipeline.faults import check
from logitcache.pipeline.progress import Screen
from logitcache.store import EncodingOptions
from logitcache.store.transfer import ImportOptions, import_logits, load_array

__all__ = ["import_file"]


def import_file(
    logits: Path,
    store: Path,
    *,
    teacher: str,
    labels: Path | None,
    split: str,
    block: int,
    encoding: Mapping[str, Any],
) -> str:
    """Import a ``.npy`` file and say what was done.

    Raises:
        InputError, MismatchError: see :func:`logitcache.store.transfer.import_logits`.
    """
    table = {key: value for key, value in encoding.items() if value is not None and key != "encoding"}
    options, faults = check(EncodingOptions, {**table, "kind": encoding["encoding"]})
    if options is None:
        raise RecipeError("import", faults)
    array = load_array(logits)
    rows = array.size // max(1, array.shape[-1]) if array.ndim else 0
    chosen = ImportOptions(teacher, split, options, block)
    with Screen().bar("import", rows, "rows") as bar:
        written = import_logits(logits, store, chosen, labels, bar.advance)
    return f"{store}: {written} blocks written" if written else f"{store}: all of it was there already"
