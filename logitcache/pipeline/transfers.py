"""The commands that move logits: options as they come from the command line, a bar, and a line on what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from logitcache.address import Address
from logitcache.errors import InputError, RecipeError
from logitcache.formats import SinkOptions, SourceOptions, export, open_source
from logitcache.pipeline.faults import check
from logitcache.pipeline.progress import Screen
from logitcache.records import Options
from logitcache.store import EncodingOptions, open_store
from logitcache.transfer import CopyOptions, ImportOptions, copy_store, import_logits

__all__ = ["copy_files", "export_file", "import_file", "view_count", "view_range"]

Record = TypeVar("Record", bound=Options)


def import_file(
    logits: Path,
    store: Address,
    *,
    teacher: str,
    labels: Path | None,
    split: str,
    block: int,
    source: Mapping[str, Any],
    encoding: Mapping[str, Any],
) -> str:
    """Import logits of another system and say what was done.

    Raises:
        InputError, MismatchError: see :func:`logitcache.transfer.import_logits`.
    """
    options = ImportOptions(teacher, split, _checked("import", EncodingOptions, encoding), block)
    opened = open_source(logits, _checked("import", SourceOptions, source))
    with Screen().bar("import", opened.samples * opened.views, "rows") as bar:
        outcome = import_logits(opened, store, options, labels, bar.advance)
    if not outcome.written:
        return f"{store}: all of it was there already"
    there = f", {outcome.found} were there" if outcome.found else ""
    return f"{store}: {outcome.written} blocks written{there}\nencoding: {outcome.encoding}"


def export_file(store: Address, out: Path, *, teacher: str, split: str, views: str, sink: Mapping[str, Any]) -> str:
    """Export views of a teacher and say what was written.

    Raises:
        InputError, CheckError: see :func:`logitcache.formats.export`.
    """
    reader = open_store(store).logits(teacher, split)
    chosen = view_range(views, reader.views)
    options = _checked("export", SinkOptions, sink)
    with Screen().bar("export", reader.samples * len(chosen), "rows") as bar:
        shape = export(reader, out, chosen, options, bar.advance)
    return f"{out}: {' x '.join(map(str, shape))}"


def copy_files(
    source: Address,
    dest: Address,
    *,
    teachers: Sequence[str],
    splits: Sequence[str],
    views: str | None,
    encoding: Mapping[str, Any] | None,
) -> str:
    """Copy a store or part of it and say what was done.

    Raises:
        InputError, MismatchError, DamageError: see :func:`logitcache.transfer.copy_store`.
    """
    store = open_store(source)
    asked = _checked("copy", EncodingOptions, encoding) if encoding is not None else None
    options = CopyOptions(tuple(teachers), tuple(splits), view_count(views), asked)
    rows = sum(
        reader.samples * min(options.views or reader.views, reader.views)
        for split in (splits or store.splits)
        for name in store.teachers(split)
        if not teachers or name in teachers
        for reader in (store.logits(name, split),)
    )
    with Screen().bar("copy", rows, "rows") as bar:
        outcome = copy_store(store, dest, options, bar.advance)
    there = f", {outcome.found} were there" if outcome.found else ""
    lacking = f"; {outcome.missing} are not committed in {source}" if outcome.missing else ""
    return f"{dest}: {outcome.written} blocks copied{there}{lacking}"


def view_range(text: str, views: int) -> range:
    """The views that ``3`` or ``0:8`` name, out of ``views``.

    Raises:
        InputError: it is no such text, or names views that are not there.
    """
    first, colon, last = text.partition(":")
    try:
        start = int(first or 0)
        stop = int(last or views) if colon else start + 1
    except ValueError as error:
        raise InputError(f"views {text!r}: give one number or a range like 0:8") from error
    if not 0 <= start < stop <= views:
        raise InputError(f"views {text!r} asked; the store has views 0..{views - 1}")
    return range(start, stop)


def view_count(text: str | None) -> int | None:
    """How many views ``0:8`` names, from the clean view on; None for all.

    Raises:
        InputError: it is no such text, or does not begin with the clean view.
    """
    if text is None:
        return None
    first, colon, last = text.partition(":")
    if first not in ("", "0") or not colon or not last.isdecimal() or int(last) < 1:
        raise InputError(f"--views {text!r}: a store's views are counted from the clean one; give 0:COUNT, like 0:8")
    return int(last)


def _checked(command: str, kind: type[Record], table: Mapping[str, Any]) -> Record:
    """The record that a command's options make; what was not given is left out.

    Raises:
        RecipeError: all that is wrong with them.
    """
    record, faults = check(kind, {key: value for key, value in table.items() if value is not None})
    if record is None:
        raise RecipeError(command, faults)
    return record
