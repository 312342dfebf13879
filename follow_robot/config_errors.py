"""Sentences about mistakes in a configuration: what is wrong, and what was probably meant."""

import difflib
import json
import re
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

from follow_robot.config_yaml import shown
from follow_robot.units import convert, splits, unit_of

_MUST = {
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
}
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def unknown_field(
    name: str, value: Any, known: Sequence[str], elsewhere: Mapping[str, Sequence[str]]
) -> str:
    """What to say of a field that does not exist, and which one was probably meant.

    Args:
        name: As it was given, with ``value``.
        known: Fields of that section.
        elsewhere: Sections that hold fields of each name.
    """
    said = "unknown field %s; " % plain(name)
    for stem, unit in splits(name):
        for field in known:
            for other, wanted in splits(field):
                if other == stem and wanted.dimension == unit.dimension and field != name:
                    example = ""
                    if isinstance(value, (int, float)) and not isinstance(value, bool):
                        example = " (%g %s is %.6g)" % (
                            value,
                            unit.symbol,
                            convert(value, unit, wanted),
                        )
                    return said + "give %s in %s%s" % (field, wanted.name, example)
    stems = [stem for stem, _ in splits(name)] + [name]
    for field in known:
        if any(stem in stems for stem, _ in splits(field)):
            wanted_unit = unit_of(field)
            assert wanted_unit is not None
            return said + "give %s in %s" % (field, wanted_unit.name)
    if name in elsewhere:
        return said + "it belongs in %s" % " or ".join(elsewhere[name])
    near = nearest(name, known)
    if near is not None:
        return said + "did you mean %s" % near
    return said + "known are %s" % ", ".join(sorted(known))


def plain(name: str) -> str:
    """A name as it is, if it looks like one, else quoted and short."""
    return name if re.fullmatch(r"[\w.-]{1,60}", name) else shown(name)


def nearest(name: str, known: Iterable[str]) -> Optional[str]:
    """The known name that ``name`` is probably a typing error of."""
    found = difflib.get_close_matches(name[:100], list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def wrong_value(error: Mapping[str, Any], fields: Sequence[str]) -> str:
    """What to say of a value of the wrong kind.

    Args:
        error: One of pydantic's errors.
        fields: Known fields, where a section was expected.
    """
    kind, value, context = error["type"], error.get("input"), error.get("ctx", {})
    if kind == "json_invalid":
        return "holds a character that is not valid text; remove it"
    got = "got %s" % shown(value)
    if kind in ("dataclass_type", "model_type", "dict_type"):
        return "must be a section with fields such as %s, %s" % (", ".join(fields[:3]), got)
    if kind == "missing":
        return "needs %d values or more, got fewer" % (int(error["loc"][-1]) + 1)
    if kind == "too_long":
        return "must have %s values, got more" % context.get("max_length")
    if kind == "literal_error":
        return "must be %s, %s" % (context.get("expected"), got)
    must = _MUST.get(kind)
    if must is None:
        return "%s, %s" % (str(error["msg"]).replace("Input should", "should"), got)
    if isinstance(value, str) and kind != "finite_number":
        return "%s, got the text %s%s" % (must, shown(value), _unquoted(value, must))
    if kind == "string_type" and (value is None or isinstance(value, (int, float, bool))):
        return "%s, %s; put it in quotes: %s" % (must, got, json.dumps(shown(value)))
    return "%s, %s" % (must, got)


def _unquoted(value: str, must: str) -> str:
    try:
        float(value)
    except ValueError:
        return ""
    return "; remove the quotes" if "number" in must else ""


def by_name(sections: Mapping[str, Sequence[str]]) -> Dict[str, List[str]]:
    """Sections by the fields they hold."""
    found: Dict[str, List[str]] = {}
    for section, fields in sections.items():
        for field in fields:
            found.setdefault(field, []).append(section)
    return found
