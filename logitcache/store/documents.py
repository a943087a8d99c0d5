"""The JSON documents of a store: text that carries its own digest, and frozen records made from it, with limits.

::

    bytes ─ read_json ─▶ JSON values ─ parse ─▶ a frozen record
          ─ unpack ────▶ (digest compared)

Whoever wrote the bytes may have meant harm: too long, too deep, a key twice, numbers that are none. All of it is
damage, by the document's name; nothing is made of it before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Any, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError

from logitcache.errors import DamageError, InputError
from logitcache.records import canonical_json, sha256

__all__ = [
    "LARGEST_BLOCK",
    "LARGEST_DOCUMENT",
    "check_shape",
    "pack",
    "parse",
    "read_attributes",
    "read_json",
    "unpack",
]

T = TypeVar("T")

LARGEST_DOCUMENT = 1 << 28
"""Bytes of the longest document that is read: the commits of a group of 10**5 blocks take less."""

LARGEST_BLOCK = 1 << 30
"""Values of the largest piece of an array that is decoded at once."""

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)

_FINE = (str, float, NoneType)

_LARGEST_NUMBER = 1 << 62
"""Above every count of samples, bytes or values, and such that sums of counts stay in int64."""


def read_json(data: bytes, name: str) -> Any:
    """The values of a JSON text.

    Raises:
        DamageError: naming the document: it is no JSON, longer than the limit, nested beyond the parser, has a key
            twice in one object, or numbers that are not finite.
    """
    if len(data) > LARGEST_DOCUMENT:
        raise DamageError(f"{name} is damaged: it has {len(data)} bytes, the longest document {LARGEST_DOCUMENT}")
    try:
        value = json.loads(data, object_pairs_hook=_unique, parse_constant=_no_number)
        canonical_json(value)  # numbers such as 1e999 are infinite only now, and lone surrogates are no text
    except (ValueError, RecursionError) as error:
        raise DamageError(f"{name} is damaged: {_reason(error)}") from error
    return value


def read_attributes(data: bytes, name: str, attribute: str) -> dict[str, Any]:
    """Our record among the attributes of a Zarr group's or array's metadata, empty where there is none.

    Raises:
        DamageError: as :func:`read_json`.
    """
    record = read_json(data, name)
    for part in ("attributes", attribute):
        record = record.get(part) if isinstance(record, dict) else None
    return record if isinstance(record, dict) else {}


def pack(record: Any) -> bytes:
    """A record as JSON with its own digest."""
    text = canonical_json(record)
    return b'{"record":%b,"sha256":"%b"}\n' % (text, sha256(text).encode())  # canonical, and written once


def unpack(data: bytes, name: str) -> Any:
    """The record of :func:`pack`.

    Raises:
        DamageError: the text is not, byte for byte, what was written; the message names it.
    """
    document = read_json(data, name)
    if not isinstance(document, dict) or "record" not in document:
        raise DamageError(f"{name} is damaged: it holds no record")
    if pack(document["record"]) != data:  # another text of the same values is no work of ours either
        raise DamageError(f"{name} is damaged: its digest does not match its content")
    return document["record"]


def parse(kind: type[T], record: Any, name: str) -> T:
    """A frozen dataclass, or a tuple or mapping of them, from JSON values.

    Types must be those of the fields, unknown keys are refused, missing ones take their defaults, lists become tuples.
    Integer fields are counts and places: from 0 to 2**62.

    Raises:
        DamageError: naming the document, the place in it and what is wrong there.
    """
    try:
        value: T = _adapter(kind).validate_json(json.dumps(record, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DamageError(f"{name} is damaged: {place or 'the record'}: {first['msg']}") from error
    except (InputError, ValueError, RecursionError) as error:  # InputError: what a record's own check refuses
        raise DamageError(f"{name} is damaged: {_reason(error)}") from error
    for problem in _strays(value, record, ""):
        raise DamageError(f"{name} is damaged: {problem}")
    return value


def check_shape(name: str, shape: Sequence[int], piece: Sequence[int]) -> None:
    """Refuse an array, and the piece of it that is decoded at once, before memory is taken for them.

    Raises:
        DamageError: naming the array, where a length is negative, the piece has more than 2**30 values, or the whole
            more than 2**62.
    """
    for what, lengths, most in (("", shape, _LARGEST_NUMBER), (" in one piece", piece, LARGEST_BLOCK)):
        total = 1
        for length in lengths:
            total *= max(length, 1)  # an empty axis must not hide an endless one
        if min(lengths, default=0) < 0 or total > most:
            given = " x ".join(str(length) for length in lengths)
            raise DamageError(f"{name} is damaged: {given} values{what} are declared, the most are {most}")


def _strays(value: Any, record: Any, place: str) -> Iterator[str]:
    """Keys that a record does not have, and integers that are no counts; pydantic lets both pass."""
    if is_dataclass(value):
        kind: Any = type(value)
        names = _field_names(kind)
        yield from (f"{place}{key}: there is no such key" for key in record if key not in names)
        for name, entry in _doubtful((name, getattr(value, name)) for name in names):
            yield from _strays(entry, record.get(name), f"{place}{name}.")
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            if is_dataclass(entry):
                yield from _strays(entry, record[key], f"{place}{key}.")
    elif isinstance(value, tuple) and record:
        for number, entry in _doubtful(enumerate(value)):
            yield from _strays(entry, record[number], f"{place}{number}.")
    elif isinstance(value, int) and not 0 <= value <= _LARGEST_NUMBER:
        yield f"{place.removesuffix('.')}: {value} is not within 0..2**62"


def _doubtful(entries: Iterable[tuple[T, Any]]) -> list[tuple[T, Any]]:
    """Those of some named entries that may have keys or be counts; of a commit, few."""
    return [(name, entry) for name, entry in entries if not isinstance(entry, _FINE)]


@cache
def _field_names(kind: type[Any]) -> tuple[str, ...]:
    """The names of a dataclass's fields."""
    return tuple(field.name for field in fields(kind))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, refused where a key comes twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_number(text: str) -> NoReturn:
    """Refuse NaN and the infinities, which JSON does not have."""
    raise ValueError(f"{text} is no JSON number")


def _reason(error: Exception) -> str:
    """What an error says; a recursion's own words would puzzle."""
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
