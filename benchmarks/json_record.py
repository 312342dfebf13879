"""Dataclasses to JSON and back, strictly: a file with other fields or types is refused by name."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Dict, Type, TypeVar, Union, get_type_hints

from runtime.errors import ReidEdgeError

_Record = TypeVar("_Record")


def to_plain(record: Any) -> Dict[str, Any]:
    """A dataclass as JSON-able dicts, lists, text, numbers, booleans and None.

    Raises:
        ReidEdgeError: A number is NaN or infinite, which JSON does not have.
    """
    plain = asdict(record)
    _refuse_nan(plain, type(record).__name__)
    return plain


def from_plain(kind: Type[_Record], data: Any, where: str) -> _Record:
    """Build a dataclass from what JSON gave, checking every field.

    Fields may be typed ``str``, ``int``, ``float`` (whole numbers are taken too), ``bool``, ``Any``,
    dataclasses, and ``List``, ``Dict[str, ...]`` and ``Optional`` of those.

    Args:
        kind: The dataclass.
        data: Parsed JSON.
        where: What is being read, as the message names it.

    Raises:
        ReidEdgeError: Unknown or missing fields, or a value of another type.
    """
    if not isinstance(data, dict):
        raise ReidEdgeError("%s must be a JSON object, got %s." % (where, _named(data)))
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    unknown, missing = sorted(set(data) - known), sorted(known - set(data))
    if unknown or missing:
        raise ReidEdgeError(
            "%s has unknown fields %s and lacks fields %s; measure again with this version."
            % (where, unknown, missing)
        )
    return kind(
        **{name: _value(hints[name], data[name], "%s.%s" % (where, name)) for name in known}
    )


def _value(hint: Any, data: Any, where: str) -> Any:
    origin: Any = getattr(hint, "__origin__", None)
    arguments: Any = getattr(hint, "__args__", ())
    if hint is Any:
        return data
    if origin is Union:  # Optional is the only union here
        return None if data is None else _value(arguments[0], data, where)
    if origin is list:
        if not isinstance(data, list):
            raise ReidEdgeError("%s must be a list, got %s." % (where, _named(data)))
        return [_value(arguments[0], item, "%s[%d]" % (where, i)) for i, item in enumerate(data)]
    if origin is dict:
        if not isinstance(data, dict):
            raise ReidEdgeError("%s must be a JSON object, got %s." % (where, _named(data)))
        return {
            key: _value(arguments[1], item, "%s.%s" % (where, key)) for key, item in data.items()
        }
    if is_dataclass(hint):
        return from_plain(hint, data, where)  # type: ignore[arg-type]
    if hint is float and type(data) in (int, float) and math.isfinite(data):
        return float(data)
    # Exactly: True is no number of queries, and infinity no measurement.
    if type(data) is not hint or hint is float:
        raise ReidEdgeError("%s must be %s, got %r." % (where, hint.__name__, data))
    return data


def _refuse_nan(data: Any, where: str) -> None:
    if isinstance(data, dict):
        for key, item in data.items():
            _refuse_nan(item, "%s.%s" % (where, key))
    elif isinstance(data, list):
        for i, item in enumerate(data):
            _refuse_nan(item, "%s[%d]" % (where, i))
    elif isinstance(data, float) and not math.isfinite(data):
        raise ReidEdgeError(
            "%s is %r, which is no measurement; check the embeddings and the clock." % (where, data)
        )


def _named(data: Any) -> str:
    return {type(None): "null", dict: "an object", list: "a list"}.get(
        type(data), type(data).__name__
    )
