"""A table against a record: the record, or every fault in plain words.

Pydantic finds the faults; here each gets the key as it stands in the file (``students.0.objectives.1.tau``), the
value as TOML would write it, and what is allowed. An unknown key is answered with the nearest known one of the
record that it was put into.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from logitcache.address import without_secrets
from logitcache.errors import Fault
from logitcache.factories import nearest

__all__ = ["check", "show"]

Record = TypeVar("Record", bound=BaseModel)

_WIDTH = 60
_MISSING = object()
# pydantic's error types -> what is allowed; {} are filled from the error's context
_PLAIN = {
    "missing": "must be given",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text, in quotes",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be letters, digits, '-', '_' and '.', the first a letter or digit",
    "path_type": "must be a path, in quotes",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}
# two spellings of a rule for text: only names have a pattern so far, others show theirs
_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def check(model: type[Record], table: Mapping[str, Any], prefix: str = "") -> tuple[Record | None, list[Fault]]:
    """The record that a table describes, or None and all faults of the table.

    Values are taken strictly as the file has them: ``true`` is no number and ``"3"`` is text.

    Args:
        model: the record's class.
        table: what ``tomllib`` read.
        prefix: key of the table in its file, for the faults' keys; empty for the whole file.
    """
    text = json.dumps(table, default=str)  # JSON's strict mode is TOML's: lists become tuples, text becomes paths
    try:
        return model.model_validate_json(text, strict=True), []
    except ValidationError as error:
        found = [_fault(model, table, prefix, dict(each)) for each in error.errors(include_url=False)]
        return None, _merge(found)


def show(value: Any) -> str:
    """A value as TOML would write it, cut at 60 characters."""
    text = without_secrets(_toml(value))
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."


def _toml(value: Any) -> str:
    """A value as TOML would write it, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _fault(model: type[BaseModel], table: Any, prefix: str, error: Mapping[str, Any]) -> Fault:
    """One of pydantic's errors as a fault."""
    keys, value = _locate(table, error["loc"])
    key = ".".join(part for part in (prefix, *map(str, keys)) if part) or "recipe"
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, keys[:-1])
        hint = nearest(str(keys[-1]), known) or f"; known here: {', '.join(known)}"
        return Fault(key, show(value), f"unknown key{hint}")
    return Fault(key, "(missing)" if value is _MISSING else show(value), _allowed(error, value))


def _locate(table: Any, loc: Iterable[int | str]) -> tuple[list[int | str], Any]:
    """The keys of a place as the file has them, and what stands there; pydantic's names of union members drop out."""
    keys: list[int | str] = []
    node, parts = table, list(loc)
    for number, part in enumerate(parts):
        if _stands_in(part, node):
            keys.append(part)
            node = node[part]
        elif number == len(parts) - 1 and isinstance(node, Mapping if isinstance(part, str) else list):
            return [*keys, part], _MISSING  # a list may lack an entry too, where it has a fixed number of them
    return keys, node


def _stands_in(part: int | str, node: Any) -> bool:
    """Whether a part of a place is a key of a table, or the number of an entry of a list."""
    if isinstance(node, list):
        return isinstance(part, int) and part < len(node)
    return isinstance(node, Mapping) and part in node


def _allowed(error: Mapping[str, Any], value: Any) -> str:
    """What is allowed, in plain words."""
    kind, context = error["type"], {key: _number(given) for key, given in error.get("ctx", {}).items()}
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be one of {context['expected'].replace(' or ', ', ')}{_near_choice(context['expected'], value)}"
    if kind == "string_pattern_mismatch" and context["pattern"] != _NAME_PATTERN:
        return f"must match {context['pattern']}"
    if kind in ("too_short", "too_long") and "1" in (context.get("min_length"), context.get("max_length")):
        return _PLAIN[kind].format(**context).removesuffix("entries") + "entry"
    if kind in _PLAIN:
        return _PLAIN[kind].format(**context)
    return str(error["msg"]).replace("Input should be", "must be")


def _number(value: Any) -> Any:
    """A number as people write it: 0 and not 0.0."""
    return f"{value:g}" if isinstance(value, int | float) else value


def _near_choice(expected: str, value: Any) -> str:
    """The choice nearest to a text, as a question."""
    choices = [choice.strip(" '") for choice in expected.replace(" or ", ",").split(",")]
    return nearest(value, choices) if isinstance(value, str) else ""


def _merge(faults: Iterable[Fault]) -> list[Fault]:
    """One fault a key and value: what the members of a union allow is joined by "or"."""
    merged: dict[tuple[str, str], list[str]] = {}
    for fault in faults:
        allowed = merged.setdefault((fault.key, fault.value), [])
        if fault.allowed not in allowed:
            allowed.append(fault.allowed)
    return [Fault(key, value, _any_of(allowed)) for (key, value), allowed in merged.items()]


def _any_of(allowed: list[str]) -> str:
    """Alternatives in one phrase: "must be a number or a list"."""
    return " or ".join([allowed[0], *(each.removeprefix("must be ") for each in allowed[1:])])


def _known_keys(model: type[BaseModel], keys: Iterable[int | str]) -> list[str]:
    """The fields of the record at a place."""
    records = [model]
    for key in keys:
        if isinstance(key, str):
            fields = [record.model_fields[key].annotation for record in records if key in record.model_fields]
            records = [found for annotation in fields for found in _records_in(annotation)]
    return [name for record in records for name in record.model_fields]


def _records_in(annotation: Any) -> list[type[BaseModel]]:
    """The records that an annotation is made of: optional, in a union, in a list or in a table of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, Annotated, tuple, list, dict):
        return [found for part in get_args(annotation) for found in _records_in(part)]
    return []
