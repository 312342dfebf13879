"""YAML text as plain data, with the line on which each value stands.

Stricter than ``yaml.safe_load``, because a configuration drives a car: a field given twice, an
anchor, a date or another tag is refused, and nesting is bounded (PyYAML's C loader crashes the
process on text that nests a hundred thousand deep). Scalars are those of YAML 1.2's core schema:
``1e-3`` is a number, and ``no``, ``on`` and ``12:30`` are text, where YAML 1.1 reads truth values
and minutes.
"""

import re
from typing import Any, Dict, List, NamedTuple, Tuple, Union

import yaml

from runtime.errors import ReidEdgeError

Path = Tuple[Union[str, int], ...]
MAX_BYTES = 1 << 18
MAX_DEPTH = 16

_Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PREFIX = "tag:yaml.org,2002:"


class _Loader(_Base):  # type: ignore[misc, valid-type]
    """PyYAML's parser with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: Dict[str, Any] = {}


for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_PREFIX + _kind, re.compile("^(?:%s)$" % _pattern), _first)


class Document(NamedTuple):
    """What a YAML text says.

    Attributes:
        data: Dictionaries, lists, text, numbers, truth values and None.
        lines: Line, from 1, of each value by its path; of a field, the line of its name.
    """

    data: Any
    lines: Dict[Path, int]


class _Open:
    """A mapping or sequence that is being read."""

    def __init__(self, value: Any, path: Path):
        self.value, self.path = value, path
        self.key: Any = None


def read_yaml(text: str, where: str) -> Document:
    """Parse one YAML document.

    Args:
        text: YAML; an empty one gives None.
        where: Named in errors, such as the file.

    Raises:
        ReidEdgeError: Not YAML, or more of it than a configuration needs (see above).
    """
    if len(text) > MAX_BYTES:
        raise ReidEdgeError(
            "%s has more than %d characters, which is no configuration; give another file."
            % (where, MAX_BYTES)
        )
    try:
        return _read(text, where)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = " line %d:" % (mark.line + 1) if mark else ""
        reason = " ".join((error.problem or error.context or "it cannot be parsed").split())
        raise ReidEdgeError(
            "%s:%s not valid YAML (%s); check indentation, quotes and colons."
            % (where, line, reason)
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: a character reference beyond Unicode, or an integer of thousands of digits.
        reason = " ".join(str(error).split())[:120]
        raise ReidEdgeError("%s: not valid YAML (%s); correct it." % (where, reason)) from None


def _read(text: str, where: str) -> Document:
    loader = _Loader(text)
    lines: Dict[Path, int] = {}
    stack: List[_Open] = []
    documents: List[Any] = []

    def refuse(event: Any, reason: str) -> None:
        raise ReidEdgeError("%s: line %d: %s." % (where, event.start_mark.line + 1, reason))

    def place(event: Any, value: Any) -> Path:
        """Put a value where the parser stands; its path."""
        if not stack:
            documents.append(value)
            return ()
        top = stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            path = (*top.path, len(top.value) - 1)
            lines[path] = event.start_mark.line + 1
            return path
        if top.key is None:
            if not isinstance(value, str):
                refuse(event, "a field's name must be text, got %s" % shown(value))
            if value in top.value:
                first = lines[(*top.path, value)]
                refuse(
                    event,
                    "%s is given twice (first on line %d); remove one" % (shown(value), first),
                )
            top.key = value
            lines[(*top.path, value)] = event.start_mark.line + 1
            return ()
        path = (*top.path, top.key)
        top.value[top.key] = value
        top.key = None
        return path

    try:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.DocumentStartEvent) and documents:
                refuse(event, "a second document begins (---); keep one")
            if getattr(event, "anchor", None) is not None:
                refuse(event, "anchors and aliases (& and *) are not supported; write it out")
            if isinstance(event, yaml.ScalarEvent):
                place(event, _scalar(loader, event, refuse))
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                mapping = isinstance(event, yaml.MappingStartEvent)
                if event.tag not in (None, "!", _PREFIX + ("map" if mapping else "seq")):
                    refuse(event, "the tag %s is not supported; remove it" % shown(event.tag))
                if len(stack) >= MAX_DEPTH:
                    refuse(event, "nested more than %d deep" % MAX_DEPTH)
                value: Any = {} if mapping else []
                stack.append(_Open(value, place(event, value)))
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                stack.pop()
    finally:
        loader.dispose()
    return Document(documents[0] if documents else None, lines)


def _scalar(loader: Any, event: Any, refuse: Any) -> Any:
    tag = event.tag
    if tag in (None, "!"):
        tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    value = event.value
    kind = tag[len(_PREFIX) :] if tag.startswith(_PREFIX) else None
    if kind == "str":
        return value
    if kind == "null" and value in ("", "~", "null", "Null", "NULL"):
        return None
    if kind == "bool" and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind == "int" and re.match(r"[-+]?[0-9]{1,18}$", value):
        return int(value)
    if kind in ("int", "float"):
        try:
            return float(value.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            pass
    refuse(event, "%s with the tag %s is not supported; remove the tag" % (shown(value), tag))


def shown(value: Any) -> str:
    """A value for a sentence: as YAML would write it, and short."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else None
    if text is None:
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
